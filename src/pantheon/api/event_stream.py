"""Server-sent events to one client, at the level of ASGI: each leaves at once, and silence is filled with comments."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from starlette.types import Message, Receive, Send

HEARTBEAT_SECONDS = 15
"""After so long without anything a proxy might think that the connection is dead."""

_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream:
    """The status leaves with the first event or comment: what fails before that can still be an answer of its own."""

    def __init__(self, send: Send, headers: Mapping[str, str], *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._send = send
        self._headers = {**_HEADERS, **headers}
        self._heartbeat_seconds = heartbeat_seconds
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self.started = False

    async def send(self, event: str) -> None:
        """`event` is the text of whole events, with their blank lines."""
        self._sent_at = self._loop.time()
        if not self.started:
            self.started = True
            headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": event.encode(), "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            pause = self._sent_at + self._heartbeat_seconds - self._loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            else:
                await self.send(": still there\n\n")


@asynccontextmanager
async def told_when_gone(receive: Receive, gone: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `gone` when the client hangs up within the block. The request's body must have been read."""

    async def watch() -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await receive()
        gone()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
