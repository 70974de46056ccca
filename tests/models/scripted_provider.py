"""A provider that does as it is told, over HTTP: slow, cut, garbled, refusing. It keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from pantheon.api.server import bind

Json = dict[str, Any]


@dataclass(frozen=True)
class Script:
    """One answer: parts in order. Bytes are sent, a number is a pause in seconds, an event is waited for, None cuts."""

    parts: Sequence[bytes | float | asyncio.Event | None] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    body: Json
    headers: dict[str, str]
    at: float = field(default_factory=monotonic)
    closed_at: float | None = None
    """When the client was seen to be gone before the answer was whole."""


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def streamed(*texts: str, usage: Json | None = USAGE, pause: float = 0) -> Script:
    parts: list[bytes | float | None] = []
    for text in texts:
        parts += [delta(text), pause]
    parts.append(delta("", "stop"))
    if usage is not None:
        parts.append(event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": usage}))
    return Script([*parts, DONE])


def answered(value: Any, status: int = 200, **headers: str) -> Script:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Script([json.dumps(value).encode()], status, named)


def whole(text: str, usage: Json | None = USAGE) -> Script:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    answer: Json = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return answered(answer | ({"usage": usage} if usage is not None else {}))


class ScriptedProvider:
    """Plays its scripts in turn; the last one is played again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[Asked] = []
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Asked(json.loads(await _body(receive)), {k.decode(): v.decode() for k, v in scope["headers"]})
        self.asked.append(asked)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        playing = asyncio.create_task(_play(script, send))
        gone = asyncio.create_task(receive())
        await asyncio.wait({playing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            asked.closed_at = monotonic()
            playing.cancel()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        for error in await asyncio.gather(playing, return_exceptions=True):
            if isinstance(error, _CutError):
                raise error


class _CutError(Exception):
    """Leaves the answer without its end: the server closes the connection."""


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message: Message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _play(script: Script, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in script.headers.items()]
    await send({"type": "http.response.start", "status": script.status, "headers": headers})
    for part in script.parts:
        if part is None:
            raise _CutError
        if isinstance(part, asyncio.Event):
            await part.wait()
        elif isinstance(part, bytes):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        elif part:
            await asyncio.sleep(part)
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(provider: ScriptedProvider) -> AsyncIterator[ScriptedProvider]:
    listener = bind("127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    config = uvicorn.Config(provider, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield provider
    finally:
        server.should_exit = True
        await task
