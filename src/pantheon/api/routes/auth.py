"""Sign up, sign in, sign out, and passwords."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from pantheon.api import csrf
from pantheon.api.callers import (
    InPerson,
    WithCaller,
    clear_session_cookie,
    device_of,
    set_session_cookie,
    uses_cookie,
)
from pantheon.api.dependencies import WithRuntime
from pantheon.api.strict_json import PlainText, RequestModel, strict_router
from pantheon.errors import ConflictError, ForbiddenError
from pantheon.exact_json import NumberLiteral
from pantheon.runtime import Runtime
from pantheon.users import change_password, reset_password, sign_in, sign_out, sign_up
from pantheon.users.passwords import MAX_LENGTH, MIN_LENGTH
from pantheon.users.rights import Role, Scope
from pantheon.users.sessions import NewSession

router = strict_router("auth")


def _text(value: Any) -> Any:
    if isinstance(value, NumberLiteral):
        raise ValueError("must be a text")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_text), Field(max_length=MAX_LENGTH)]
NewPassword = Annotated[SecretStr, BeforeValidator(_text), Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH)]
Email = Annotated[PlainText, Field(max_length=320)]


class SignIn(RequestModel):
    email: Email
    password: Secret
    use: Literal["cookie", "token"] = "cookie"
    """`token` answers a bearer token and sets no cookie."""


class SignUp(RequestModel):
    email: Email
    password: NewPassword
    invitation: Secret | None = None
    use: Literal["cookie", "token"] = "cookie"


class PasswordChange(RequestModel):
    current_password: Secret | None = None
    new_password: NewPassword


class PasswordReset(RequestModel):
    token: Secret
    password: NewPassword


class SignedIn(BaseModel):
    user_id: UUID
    expires_at: datetime
    csrf_token: str | None = None
    """To be sent as X-CSRF-Token with everything that the cookie's session changes."""
    token: str | None = None


class Me(BaseModel):
    user_id: UUID
    email: str | None
    role: Role
    via: Literal["session", "api_key", "token"]
    scopes: list[Scope] | None
    """What an API key may do; null for everything."""
    csrf_token: str | None


@router.post("/auth/sign-up", status_code=201, response_model_exclude_none=True)
async def post_sign_up(body: SignUp, request: Request, response: Response, runtime: WithRuntime) -> SignedIn:
    csrf.check_origin(request, runtime.settings)
    session = await sign_up.sign_up(
        runtime.database,
        runtime.settings,
        email=body.email,
        password=body.password.get_secret_value(),
        invitation=_revealed(body.invitation),
        device=device_of(request),
    )
    return _signed_in(response, runtime, session, use=body.use)


@router.post("/auth/sign-in", response_model_exclude_none=True)
async def post_sign_in(body: SignIn, request: Request, response: Response, runtime: WithRuntime) -> SignedIn:
    csrf.check_origin(request, runtime.settings)
    session = await sign_in.sign_in(
        runtime.database,
        runtime.settings,
        email=body.email,
        password=body.password.get_secret_value(),
        device=device_of(request),
    )
    return _signed_in(response, runtime, session, use=body.use)


def _signed_in(
    response: Response, runtime: Runtime, session: NewSession, *, use: Literal["cookie", "token"]
) -> SignedIn:
    response.headers["Cache-Control"] = "no-store"
    if use == "token":
        return SignedIn(user_id=session.user_id, expires_at=session.expires_at, token=session.token)
    set_session_cookie(response, runtime.settings, session)
    csrf_token = csrf.token_for(runtime.settings, session.id)
    return SignedIn(user_id=session.user_id, expires_at=session.expires_at, csrf_token=csrf_token)


@router.post("/auth/sign-out", status_code=204)
async def post_sign_out(caller: WithCaller, request: Request, response: Response, runtime: WithRuntime) -> None:
    if caller.session_id is None:
        raise ConflictError("There is no session to end.")
    await sign_out.sign_out(runtime.database, session_id=caller.session_id)
    if uses_cookie(request):
        clear_session_cookie(response, runtime.settings)


@router.post("/auth/password", status_code=204)
async def post_password(body: PasswordChange, caller: InPerson, runtime: WithRuntime) -> None:
    """Ends all other sessions. `current_password` may be left out only where there is none yet."""
    if caller.session_id is None:
        raise ForbiddenError("Your account is managed where you sign in.")
    await change_password.change_password(
        runtime.database,
        runtime.settings,
        user_id=caller.user_id,
        session_id=caller.session_id,
        current_password=_revealed(body.current_password),
        new_password=body.new_password.get_secret_value(),
    )


@router.post("/auth/password-reset", status_code=204)
async def post_password_reset(body: PasswordReset, request: Request, runtime: WithRuntime) -> None:
    """With the token of a link that an operator made. Ends all sessions."""
    csrf.check_origin(request, runtime.settings)
    await reset_password.reset_password(
        runtime.database, token=body.token.get_secret_value(), password=body.password.get_secret_value()
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@router.get("/auth/me")
async def get_me(caller: WithCaller, request: Request, response: Response, runtime: WithRuntime) -> Me:
    response.headers["Cache-Control"] = "no-store"
    csrf_token = None
    if caller.session_id is not None and uses_cookie(request):
        csrf_token = csrf.token_for(runtime.settings, caller.session_id)
    return Me(
        user_id=caller.user_id,
        email=caller.email,
        role=caller.role,
        via=caller.via,
        scopes=None if caller.scopes is None else sorted(caller.scopes),
        csrf_token=csrf_token,
    )
