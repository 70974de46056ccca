"""Processes that call models and can be killed while they do. The provider and whoever looks on are not in them."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2

from pantheon import logs
from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.runtime import Runtime, open_runtime
from pantheon.turns.recover_calls import recover_calls
from pantheon.turns.spender import Spender
from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from pantheon.web.app import create_app
from tests.crash.processes import SECONDS, forks
from tests.installation import TEST
from tests.turns.metering import ALIAS, HELLO, Metering

BODY = {"model": ALIAS, "messages": HELLO, "stream": True, "max_tokens": 100}


@asynccontextmanager
async def call(person: Metering, failpoint: str | None = None, *, takes: int | None = None) -> AsyncIterator[Any]:
    """A process that makes one call, and leaves after so many chunks where that is told."""
    yield started(call_once, person, failpoint, person.spender, takes)


def recover(m: Metering, failpoint: str | None = None) -> Any:
    """A process that runs the recovery."""
    return started(_recover, m, failpoint)


@asynccontextmanager
async def call_over_http(
    person: Metering, failpoint: str | None = None, *, takes: int | None = None
) -> AsyncIterator[Any]:
    """The same through the gateway: the process serves it, and the caller is here."""
    it, listener = person.installation.runtime, bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    _, key = await create_api_key(
        it.database, it.settings, user_id=person.user_id, name="client", scopes=[Scope.MODELS_CALL], actor=TEST
    )
    process = started(serve, person, failpoint, listener)
    # Now it is the process's alone: nobody waits for an answer once that is dead.
    listener.close()
    reading = asyncio.create_task(_read(url, key, takes))
    yield process
    await reading


async def _read(url: str, key: str, takes: int | None) -> None:
    taken, headers = 0, {"Authorization": f"Bearer {key}"}
    with suppress(httpx2.TransportError):
        async with (
            httpx2.AsyncClient(base_url=url, headers=headers, timeout=SECONDS) as client,
            client.stream("POST", "/v1/chat/completions", json=BODY) as answer,
        ):
            async for line in answer.aiter_lines():
                taken += '"content"' in line
                if taken == takes:
                    return


async def serve(runtime: Runtime, listener: socket.socket) -> None:
    # A thousand callers at once are slow to say what they want.
    async with serving(create_app(runtime), listener, head_seconds=600):
        await asyncio.Event().wait()


async def call_once(runtime: Runtime, spender: Spender, takes: int | None) -> None:
    chunks = (await runtime.meter.start(spender, BODY)).chunks()
    taken = 0
    async for _ in chunks:
        taken += 1
        if taken == takes:
            break
    await chunks.aclose()


async def _recover(runtime: Runtime) -> None:
    await recover_calls(runtime.database)


def started(
    work: Callable[..., Awaitable[None]], m: Metering, failpoint: str | None, *arguments: Any, **settings: Any
) -> Any:
    """A process that does this with a runtime of its own, unless it dies at the failpoint."""
    process = forks.Process(target=_run, args=(work, _settings(m) | settings, failpoint, *arguments), daemon=True)
    process.start()
    return process


def _settings(m: Metering) -> dict[str, Any]:
    settings = m.installation.runtime.settings
    assert settings.database_url is not None
    return {
        "app_env": "test",
        "database_url": settings.database_url.get_secret_value(),
        "database_pool_size": 5,
        "public_url": settings.public_url,
        "model_providers": f"scripted={m.provider.url}",
    }


def _run(
    work: Callable[..., Awaitable[None]], settings: dict[str, Any], failpoint: str | None, *arguments: Any
) -> None:
    os.environ["APP_ENV"] = "test"
    logs.configure("json", level=logging.ERROR)
    if failpoint is not None:
        os.environ["FAILPOINT"] = failpoint

    async def run() -> None:
        async with open_runtime(all_settings.load(_env_file=None, **settings)) as runtime:
            await work(runtime, *arguments)

    asyncio.run(run())
