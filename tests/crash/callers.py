"""Processes that call models and can be killed while they do. The provider and whoever looks on are not in them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from pantheon import settings as all_settings
from pantheon.runtime import Runtime, open_runtime
from pantheon.turns.recover_calls import recover_calls
from pantheon.turns.spender import Spender
from tests.crash.processes import forks
from tests.turns.metering import ALIAS, HELLO, Metering

BODY = {"model": ALIAS, "messages": HELLO, "stream": True, "max_tokens": 100}


def call(person: Metering, failpoint: str | None = None, *, takes: int | None = None) -> Any:
    """A process that makes one call, and leaves after so many chunks where that is told."""
    return started(_call, person, failpoint, person.spender, takes)


def recover(m: Metering, failpoint: str | None = None) -> Any:
    """A process that runs the recovery."""
    return started(_recover, m, failpoint)


async def _call(runtime: Runtime, spender: Spender, takes: int | None) -> None:
    chunks = (await runtime.meter.start(spender, BODY)).chunks()
    taken = 0
    async for _ in chunks:
        taken += 1
        if taken == takes:
            break
    await chunks.aclose()


async def _recover(runtime: Runtime) -> None:
    await recover_calls(runtime.database)


def started(work: Callable[..., Awaitable[None]], m: Metering, failpoint: str | None, *arguments: Any) -> Any:
    """A process that does this with a runtime of its own, unless it dies at the failpoint."""
    process = forks.Process(target=_run, args=(work, _settings(m), failpoint, *arguments), daemon=True)
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
    if failpoint is not None:
        os.environ["FAILPOINT"] = failpoint

    async def run() -> None:
        async with open_runtime(all_settings.load(_env_file=None, **settings)) as runtime:
            await work(runtime, *arguments)

    asyncio.run(run())
