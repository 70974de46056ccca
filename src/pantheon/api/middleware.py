"""What happens to every request, as bare ASGI: it gets an id, safe headers, and one line in the log."""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pantheon import metrics
from pantheon.api.problems import problem_of
from pantheon.errors import RequestTooLargeError
from pantheon.ids import uuid7
from pantheon.tracing import span

_logger = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{8,64}")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""What an answer carries that does not say otherwise."""

_STRICT_TRANSPORT = {b"strict-transport-security": b"max-age=31536000"}


class RequestMiddleware:
    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = _HEADERS | (_STRICT_TRANSPORT if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        started = time.perf_counter_ns()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = message.get("headers", [])
                said = {name.lower() for name, _ in own}
                ours = [(name, value) for name, value in self._headers.items() if name not in said]
                message["headers"] = [*own, *ours, (b"x-request-id", request_id)]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        try:
            with span("request") as current:
                try:
                    await self._app(scope, receive, send_with_headers)
                finally:
                    current.update_name(f"{_method(scope)} {template_of(scope) or 'none'}")
                    current.set_attributes({"request_id": request_id.decode(), "http.response.status_code": status})
        except ClientDisconnect:
            # Before the request was whole: nobody is there to be answered, and nothing was done.
            pass
        except Exception as error:
            # Answered here, because what is further outside would answer without these headers.
            if status:
                raise
            response = await scope["app"].exception_handlers[Exception](Request(scope, receive), error)
            await response(scope, receive, send_with_headers)
        finally:
            seconds = (time.perf_counter_ns() - started) / 1_000_000_000
            metrics.HTTP_REQUESTS.labels(_method(scope), template_of(scope) or "none", status).observe(seconds)
            _logger.info(
                "request",
                method=scope["method"],
                route=route_of(scope),
                status=status,
                milliseconds=(time.perf_counter_ns() - started) // 1_000_000,
            )


class Uploads(NamedTuple):
    """Where files are taken, which are larger than other bodies and may take longer."""

    path: re.Pattern[str]
    limit: int
    seconds: float


class BodyLimitMiddleware:
    """Refuses bodies over the limit, by what they say of their length and by what really comes, and those too slow.

    FastAPI has a limit of its own, which answers in plain text where our callers are promised problem details.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int,
        limits: Mapping[str, int],
        seconds: float,
        uploads: Uploads | None = None,
    ) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds
        """How long a whole body may take to arrive."""
        self._limits = limits
        """Paths with another limit."""
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left, seconds = self._limits.get(scope["path"], self._limit), self._seconds
        if self._uploads is not None and self._uploads.path.fullmatch(scope["path"]):
            left, seconds = self._uploads.limit, self._uploads.seconds
        too_large = RequestTooLargeError(f"The request is too large: it may have at most {left} bytes.")
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > left:
            await problem_of(too_large)(scope, receive, send)
            return

        deadline = asyncio.get_running_loop().time() + seconds
        more = True

        async def receive_within_limits() -> Message:
            nonlocal left, more
            try:
                # Once the body is there, what is waited for is the caller going away.
                async with asyncio.timeout_at(deadline if more else None):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            more = bool(message.get("more_body"))
            left -= len(message.get("body", b""))
            if left < 0:
                # FastAPI lets only its own errors through.
                raise HTTPException(413, too_large.message)
            return message

        await self._app(scope, receive_within_limits, send)


def route_of(scope: Scope) -> str | None:
    """The path without what varies in it, which may be the secret of a one-time link; None where no route fits."""
    if "route" not in scope:
        return None
    path: str = scope["path"]
    for name, value in scope["path_params"].items():
        path = path.replace(str(value), f"{{{name}}}")
    return path


def template_of(scope: Scope) -> str | None:
    """The route as it was declared, so that there are only as many as there are routes, whatever callers ask for."""
    if "route" not in scope:
        return None
    # A route knows its own part; the segments before it belong to the routers that it is in.
    own: str = scope["route"].path
    asked = scope["path"].split("/")
    return "/".join(asked[: len(asked) - len(own.split("/")) + 1]) + own


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return uuid7().hex.encode()
