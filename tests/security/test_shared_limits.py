"""S10, S26: a limit is one limit, however many processes count and however many requests come at once."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import httpx2

from pantheon.api.server import bind, serving
from pantheon.runtime import open_runtime
from pantheon.web.app import create_app
from tests.installation import Installation

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_four_servers_and_a_crowd_at_once_share_one_limit(install: Install) -> None:
    """T-199, T-215. What a server keeps for itself is made four times here: runtime, connections, application."""
    async with install(rate_limit_top_ups_per_hour=5, top_up_max_open=100, worker=False) as installation:
        ada = await installation.person()
        async with AsyncExitStack() as stack:
            clients = []
            for _ in range(4):
                runtime = await stack.enter_async_context(open_runtime(installation.runtime.settings))
                listener = bind("127.0.0.1", 0)
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                await stack.enter_async_context(serving(create_app(runtime), listener))
                clients.append(await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=30)))

            answers = await asyncio.gather(
                *(
                    clients[number % 4].post(
                        "/api/v1/users/me/wallet/top-up", json={"amount_usd": str(number)}, headers=ada.headers
                    )
                    for number in range(10, 34)
                )
            )

        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 19
        assert len(installation.rows("SELECT FROM top_ups")) == 5
