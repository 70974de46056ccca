"""What routes are handed: the runtime, the caller's address, paging, the idempotency key."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from pantheon.errors import InvalidInputError
from pantheon.runtime import Runtime

# All are async, though none waits: the others would each cost a turn in a thread.


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


WithRuntime = Annotated[Runtime, Depends(_runtime)]


def client_ip(request: Request) -> str | None:
    return request.client.host if request.client else None


def socket_peer(request: Request) -> str | None:
    """Whose socket it is. A forwarded request comes from somewhere else, so it has no peer that could be trusted."""
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return None
    return request.client.host if request.client else None


@dataclass(frozen=True)
class Page:
    limit: int
    offset: int


async def _page(
    limit: Annotated[int, Query(ge=1, le=200)] = 50, offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0
) -> Page:
    return Page(limit, offset)


WithPage = Annotated[Page, Depends(_page)]

Deleted = Annotated[bool, Query(description="List what was deleted instead, as long as it can be restored.")]


async def _idempotency_key(
    key: Annotated[
        str | None, Header(alias="Idempotency-Key", description="1 to 255 visible ASCII characters.")
    ] = None,
) -> str | None:
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise InvalidInputError("Idempotency-Key must be 1 to 255 visible ASCII characters")
    return key


WithIdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
