"""S9, S10, S26: a limit is one limit, however many processes count and however many requests come at once."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from pantheon.db.engine import Database
from tests.crash.processes import Service, free_port, service
from tests.installation import Installation

SERVERS = 4
TOP_UP = "/api/v1/users/me/wallet/top-up"


@pytest.mark.prove
async def test_four_servers_and_a_crowd_at_once_share_one_limit(
    app_url: str, owner_url: str, database: Database
) -> None:
    """T-199, T-215: four processes. Asks for `database` so that the books are verified at the end."""
    limits: dict[str, Any] = {"rate_limit_top_ups_per_hour": 5, "top_up_max_open": 100}
    async with service(app_url, owner_url, failpoints=[], **limits) as (first, it), AsyncExitStack() as stack:
        servers = [first, *(Service(first.settings, free_port()) for _ in range(SERVERS - 1))]
        for server in servers:
            server.start()
            stack.callback(server.process.join)
            stack.callback(server.process.kill)
        ada = await it.person()

        answers = await asyncio.gather(
            *(
                servers[number % SERVERS].post(TOP_UP, json={"amount_usd": str(number)}, headers=ada.headers)
                for number in range(10, 34)
            )
        )

        assert sorted(answer.status_code for answer in answers if answer is not None) == [201] * 5 + [429] * 19
        assert len(it.rows("SELECT FROM top_ups")) == 5
        assert it.sandbox.store.count("payment_intent") == 5


@pytest.mark.parametrize("attempts", [150, pytest.param(1000, marks=pytest.mark.prove)])
@pytest.mark.parametrize(
    "kind",
    ["new amounts", *(pytest.param(kind, marks=pytest.mark.prove) for kind in ("the same amount", "the same key"))],
)
async def test_who_tries_cards_on_top_ups_soon_reaches_stripe_no_more_and_others_still_do(
    installation: Installation, kind: str, attempts: int
) -> None:
    """T-197, T-198: the other one comes from the same address."""
    eve, ada = await installation.person(email="eve@example.com"), await installation.person()
    headers = {"Idempotency-Key": "k"} if kind == "the same key" else {}
    turns = asyncio.Semaphore(20)

    async def attempt(number: int) -> httpx2.Response:
        async with turns:
            amount = str(10 + number % 400) if kind == "new amounts" else "10"
            return await installation.top_up(eve, amount, **headers)

    answers = await asyncio.gather(*(attempt(number) for number in range(attempts)))

    assert {answer.status_code for answer in answers} <= {200, 201, 409, 429}
    assert [answer.status_code for answer in answers].count(429) >= attempts - 60
    assert len(installation.sandbox.requests) < 60
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")
