"""S5, S6: what is too large, too slow or too much is refused or cut off, and costs no memory."""

import asyncio
import json
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pantheon.api.middleware import BodyLimitMiddleware
from pantheon.api.server import bind, serving
from pantheon.users.rights import Role
from tests.installation import Installation

MEGABYTE = 1024 * 1024


async def _says(port: int, *parts: bytes, pause: float = 0.0, seconds: float = 20) -> bytes:
    """What the server answers until it closes the connection, which it has to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""

    async def listen() -> None:
        nonlocal answer
        # Piece by piece: the reset that answers a part sent after the end would take all of it away.
        with suppress(ConnectionError):
            while piece := await reader.read(2**16):
                answer += piece

    try:
        async with asyncio.timeout(seconds):
            listening = asyncio.create_task(listen())
            for part in parts:
                if listening.done():
                    break
                try:
                    writer.write(part)
                    await writer.drain()
                except ConnectionError:
                    break
                await asyncio.sleep(pause)
            await listening
            return answer
    finally:
        writer.close()


def _port(installation: Installation) -> int:
    return int(installation.url.rpartition(":")[2])


def _head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode()


async def test_a_body_over_the_limit_is_refused_however_it_is_sent(
    installation: Installation, subtests: pytest.Subtests
) -> None:
    """T-194: by its declared length, in chunks without one, and where more comes than was declared."""
    port = _port(installation)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in ("/webhooks/stripe", "/api/v1/auth/sign-in"):
        with subtests.test("declared", path=path):
            answer = await _says(port, _head(path, "Content-Length: 3145728"))
            assert answer.startswith(b"HTTP/1.1 413")
        with subtests.test("chunked", path=path):
            answer = await _says(port, _head(path, "Transfer-Encoding: chunked"), *[chunk] * 1600)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
        with subtests.test("more than declared", path=path):
            answer = await _says(port, _head(path, "Content-Length: 2") + b"{}" + b"x" * MEGABYTE)
            # What follows is no request; its refusal may overtake the answer.
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 422"))
    # 200 MB were sent.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
    assert (await installation.client.get("/api/v1/ready")).status_code == 200


async def test_no_route_breaks_on_a_huge_or_deep_body(installation: Installation, subtests: pytest.Subtests) -> None:
    """T-194, on every route of the API that takes a body, signed in as an owner."""
    owner = await installation.person(Role.OWNER)
    document = (await installation.client.get("/api/v1/openapi.json")).json()
    bodies = [json.dumps({"pad": "x" * 3 * MEGABYTE}).encode(), b"[" * 100_000, b'{"a":' * 50_000, b'"' + b"x" * 10**6]
    posts = [path for path, methods in document["paths"].items() if "post" in methods]
    assert len(posts) > 10
    for path in posts:
        filled = re.sub(r"{\w+}", str(owner.id), path)
        if filled.endswith("/sign-out"):
            continue
        for body in bodies:
            with subtests.test(path=path, body=body[:8]):
                answer = await installation.client.post(
                    filled, content=body, headers=owner.headers | {"Content-Type": "application/json"}
                )
                assert 400 <= answer.status_code < 500


async def test_a_thousand_headers_and_endless_ones_are_cut_off(installation: Installation) -> None:
    """T-195."""
    port = _port(installation)

    assert b" 400 " in await _says(port, _head("/api/v1/health", *(f"X-{n}: {n}" for n in range(1000))))
    assert b" 400 " in await _says(port, b"GET / HTTP/1.1\r\nX: ", *[b"x" * 10_000] * 50, pause=0.001)


@asynccontextmanager
async def _impatient(*, head_seconds: float, body_seconds: float) -> AsyncIterator[int]:
    async def read(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("read")

    app = Starlette(routes=[Route("/", read, methods=["POST"])])
    app.add_middleware(BodyLimitMiddleware, limit=1000, limits={}, seconds=body_seconds)
    listener = bind("127.0.0.1", 0)
    async with serving(app, listener, head_seconds=head_seconds):
        yield listener.getsockname()[1]


async def test_headers_that_do_not_arrive_in_time_are_not_waited_for() -> None:
    """T-195: a connection that says nothing, one that drips, and a second request that drips."""
    async with _impatient(head_seconds=0.3, body_seconds=30) as port:
        assert await _says(port, seconds=5) == b""
        assert await _says(port, b"POST / HTTP/1.1\r\nX: ", *[b"x"] * 80, pause=0.05, seconds=5) == b""
        second = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        answer = await _says(port, second, b"POST / HT", *[b"T"] * 50, pause=0.05, seconds=5)
        assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_body_that_does_not_arrive_in_time_is_not_waited_for() -> None:
    """T-195: however steadily it drips."""
    async with _impatient(head_seconds=30, body_seconds=0.3) as port:
        head = _head("/", "Content-Length: 900")

        answer = await _says(port, head, *[b"x"] * 200, pause=0.02, seconds=10)

        assert answer.startswith(b"HTTP/1.1 408")
        assert b"onnection: close" in answer
