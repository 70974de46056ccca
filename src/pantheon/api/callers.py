"""Who is calling, as dependencies. A bearer token comes before the session cookie; a bad one never falls back to it.

`WithCaller` lets API keys of any scope through: it is for what people ask about themselves. A route that reads or
changes anything else says which scope it needs, `Depends(caller_with(Scope.WALLET_READ))`, or takes an admin.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from pantheon import audit
from pantheon.api import csrf
from pantheon.api.dependencies import WithRuntime, client_ip
from pantheon.api.middleware import route_of
from pantheon.errors import ForbiddenError, NotSignedInError
from pantheon.runtime import Runtime
from pantheon.settings import Settings
from pantheon.users import api_key, find_caller, sessions
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.users.sessions import Device, NewSession

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


async def _caller(request: Request, runtime: WithRuntime) -> Caller:
    bearer = _bearer(request)
    caller = await (session_caller(request, runtime) if bearer is None else _bearer_caller(request, runtime, bearer))
    if caller is None:
        raise NotSignedInError
    return caller


WithCaller = Annotated[Caller, Depends(_caller)]


def caller_with(scope: Scope) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    """A dependency: the caller, who if it is an API key has this scope."""

    async def with_scope(caller: WithCaller) -> Caller:
        caller.require_scope(scope)
        return caller

    return with_scope


async def _in_person(caller: WithCaller) -> Caller:
    caller.require_in_person()
    return caller


async def _admin_reader(request: Request, runtime: WithRuntime, caller: WithCaller) -> Caller:
    return await _admitted(request, runtime, caller, caller.require_admin_read)


async def _admin_owner(request: Request, runtime: WithRuntime, caller: WithCaller) -> Caller:
    return await _admitted(request, runtime, caller, caller.require_admin_change)


async def _admitted(request: Request, runtime: Runtime, caller: Caller, require: Callable[[], None]) -> Caller:
    """An attempt at what only admins may do is worth a line in the audit log."""
    try:
        require()
    except ForbiddenError:
        async with runtime.database.transaction() as tx:
            subject = f"{request.method} {route_of(request.scope)}"
            await audit.record(tx, caller.actor, "admin.refused", subject=subject)
        raise
    return caller


InPerson = Annotated[Caller, Depends(_in_person)]
AdminReader = Annotated[Caller, Depends(_admin_reader)]
AdminOwner = Annotated[Caller, Depends(_admin_owner)]


async def session_caller(request: Request, runtime: Runtime) -> Caller | None:
    """Who the session cookie stands for; None for nobody. Whatever may change something must also come from our pages.

    Raises CrossSiteRequestError.
    """
    token = request.cookies.get(cookie_name(runtime.settings))
    if token is None:
        return None
    caller = await find_caller.by_session(runtime.database, runtime.settings, token, ip=client_ip(request))
    if caller is not None and request.method not in _SAFE_METHODS:
        assert caller.session_id is not None
        await csrf.check(request, runtime.settings, caller.session_id)
    return caller


async def _bearer_caller(request: Request, runtime: Runtime, bearer: str) -> Caller | None:
    ip = client_ip(request)
    if bearer.startswith(api_key.PREFIX):
        return await find_caller.by_api_key(runtime.database, runtime.settings, bearer, ip=ip)
    if bearer.startswith(sessions.PREFIX):
        return await find_caller.by_session(runtime.database, runtime.settings, bearer, ip=ip)
    if runtime.tokens is None:
        return None
    return await find_caller.by_token(runtime.database, runtime.settings, runtime.tokens, bearer, ip=ip)


def uses_cookie(request: Request) -> bool:
    return _bearer(request) is None


def _bearer(request: Request) -> str | None:
    """What follows `Bearer`; empty for any other way to authorize, which is then refused and not ignored."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def device_of(request: Request) -> Device:
    return Device(client_ip(request), request.headers.get("user-agent"))


def cookie_name(settings: Settings) -> str:
    # With this prefix browsers refuse a cookie that a neighbouring host or a page without TLS tries to plant.
    return "__Host-pantheon_session" if settings.secure_cookies else "pantheon_session"


def set_session_cookie(response: Response, settings: Settings, session: NewSession) -> None:
    response.set_cookie(
        cookie_name(settings),
        session.token,
        expires=session.expires_at,
        path="/",
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


def clear_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path="/", secure=settings.secure_cookies, httponly=True, samesite="lax"
    )
