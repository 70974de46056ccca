"""Signing in and out, and choosing a new password with a link."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon.api.callers import clear_session_cookie, device_of, set_session_cookie
from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import InvalidInputError, TooManyRequestsError, WrongCredentialsError
from pantheon.runtime import Runtime
from pantheon.users import one_time_links, reset_password, sign_in, sign_in_with_link, sign_out
from pantheon.users.one_time_links import Link, Purpose
from pantheon.users.sessions import NewSession
from pantheon.web.forms import Form, read_form, sentence, wait_text
from pantheon.web.rendering import redirect, render
from pantheon.web.visitors import FROM_OWN_PAGE, HOME, MaybeVisitor, WithVisitor, safe_next

router = APIRouter()


@router.get("/")
async def get_start() -> Response:
    return redirect(HOME)


@router.get("/sign-in")
async def get_sign_in(
    request: Request, runtime: WithRuntime, visitor: MaybeVisitor, next: str | None = None, done: str = ""
) -> Response:
    if visitor is not None:
        return redirect(safe_next(next))
    return _sign_in_page(request, runtime, Form(), next=safe_next(next), password_is_new=done == "password")


@router.post("/sign-in", dependencies=FROM_OWN_PAGE)
async def post_sign_in(request: Request, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    next = safe_next(form.secret("next"))
    try:
        session = await sign_in.sign_in(
            runtime.database,
            runtime.settings,
            email=form.secret("email"),
            password=form.secret("password"),
            device=device_of(request),
        )
    except (WrongCredentialsError, InvalidInputError):
        # The same for an address that cannot be one: nobody has that account either.
        return _sign_in_page(request, runtime, form, next=next, error=WrongCredentialsError.detail, status=401)
    except TooManyRequestsError as error:
        text = f"Too many attempts. {wait_text(error)}"
        response = _sign_in_page(request, runtime, form, next=next, error=text, status=429)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    return signed_in(runtime, session, next)


def _sign_in_page(
    request: Request,
    runtime: Runtime,
    form: Form,
    *,
    next: str,
    error: str | None = None,
    status: int = 200,
    password_is_new: bool = False,
) -> Response:
    return render(
        request,
        "sign_in.html",
        status=status,
        email=form.shown("email"),
        next=next,
        error=error,
        password_is_new=password_is_new,
        may_sign_up=runtime.settings.registration == "open",
    )


def signed_in(runtime: Runtime, session: NewSession, next: str = HOME) -> Response:
    response = redirect(next)
    set_session_cookie(response, runtime.settings, session)
    return response


@router.get("/sign-in/link/{token}")
async def get_link(request: Request, token: str, runtime: WithRuntime) -> Response:
    """Only looks: whoever previews a link in a message must not use it up."""
    await find_link(runtime, Purpose.SIGN_IN, token)
    return render(request, "sign_in_link.html")


@router.post("/sign-in/link/{token}", dependencies=FROM_OWN_PAGE)
async def post_link(request: Request, token: str, runtime: WithRuntime) -> Response:
    session = await sign_in_with_link.sign_in_with_link(runtime.database, token=token, device=device_of(request))
    return signed_in(runtime, session)


async def find_link(runtime: Runtime, purpose: Purpose, token: str) -> Link:
    """Raises LinkInvalidError."""
    async with runtime.database.transaction() as tx:
        return await one_time_links.find_link(tx, purpose, token)


@router.post("/sign-out")
async def post_sign_out(visitor: WithVisitor, runtime: WithRuntime) -> Response:
    assert visitor.caller.session_id is not None
    await sign_out.sign_out(runtime.database, session_id=visitor.caller.session_id)
    response = redirect("/sign-in")
    clear_session_cookie(response, runtime.settings)
    return response


@router.get("/password-reset/{token}")
async def get_password_reset(request: Request, token: str, runtime: WithRuntime) -> Response:
    await find_link(runtime, Purpose.PASSWORD_RESET, token)
    return render(request, "password_reset.html", error=None)


@router.post("/password-reset/{token}", dependencies=FROM_OWN_PAGE)
async def post_password_reset(request: Request, token: str, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        await reset_password.reset_password(runtime.database, token=token, password=form.secret("password"))
    except InvalidInputError as error:
        return render(request, "password_reset.html", status=status_of(error), error=sentence(error))
    return redirect("/sign-in?done=password")
