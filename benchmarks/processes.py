"""Processes of the benchmark's own: servers on a port, and generators of load that print what they saw."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.rounds import Sample


@asynccontextmanager
async def serving_process(module: str, port: int, *arguments: object) -> AsyncIterator[int]:
    """Its id. Its log goes nowhere: a pipe that nobody reads would stop it once it is full."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(port), *map(str, arguments)),
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "APP_ENV": "test"},
    )
    try:
        async with asyncio.timeout(60):
            while not _listens(port):
                if process.returncode is not None:
                    raise RuntimeError(f"{module} did not start")
                await asyncio.sleep(0.05)
        yield process.pid
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


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
