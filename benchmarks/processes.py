"""Processes of the benchmark's own: servers that say `ready`, and generators of load that print what they saw."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.rounds import Sample


@asynccontextmanager
async def serving_process(module: str, *arguments: object) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "APP_ENV": "test"},
    )
    try:
        assert process.stdout is not None
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError(f"{module} did not start")
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def load_from(module: str, *arguments: object) -> Sample:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{module} failed")
    return Sample(**json.loads(out))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
