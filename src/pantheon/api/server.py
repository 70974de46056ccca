"""Runs an ASGI application on a socket inside a running event loop."""

import asyncio
import functools
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_HEAD_SECONDS = 10
DRAIN_SECONDS = 10
"""How long a running request may go on by itself once the end was asked for."""
_INTERRUPTED_SECONDS = 15
"""And how long after it was interrupted, before it is cut off without a word."""


class _Protocol(HttpToolsProtocol):
    """Uvicorn's, which by itself waits for ever for a request to begin and keeps as many headers as anybody sends."""

    def __init__(self, *arguments: Any, head_seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_seconds = head_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_is_there()
        if len(self.headers) > MAX_HEADERS:
            # The parser makes a 400 of it and closes the connection.
            raise ValueError("too many headers")
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_is_there()
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self._head_seconds, self.transport.close)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the business of whoever runs the loop: several servers and a worker share it.
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends small answers without delay only on sockets that name it.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serving(
    app: Any,
    listener: socket.socket,
    *,
    proxies: list[str] | None = None,
    head_seconds: float = MAX_HEAD_SECONDS,
    drain_seconds: float = DRAIN_SECONDS,
    interrupt: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    """Serves until the block ends, then accepts nothing new and lets running requests finish.

    Those that take longer than `drain_seconds` are ended in order by `interrupt`. `proxies` may name the client's
    address. A request whose headers are not there after `head_seconds` is cut off.
    """
    protocol: Any = functools.partial(_Protocol, head_seconds=head_seconds)
    config = uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or [],
        timeout_graceful_shutdown=math.ceil(drain_seconds + _INTERRUPTED_SECONDS),
        lifespan="off",
        ws="none",
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # The socket listens already, so whoever connects before the server runs is only kept waiting.
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            ended, _ = await asyncio.wait([task], timeout=drain_seconds)
            if not ended and interrupt is not None:
                await interrupt()
            await task
        listener.close()
