"""Creating an account for oneself, where registration is open or with an invitation."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon.api.callers import device_of
from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import CallerError, LinkInvalidError, RegistrationClosedError, TooManyRequestsError
from pantheon.runtime import Runtime
from pantheon.users.one_time_links import Purpose
from pantheon.users.sign_up import sign_up
from pantheon.web.forms import Form, read_form, sentence, wait_text
from pantheon.web.rendering import render
from pantheon.web.routes.sign_in import find_link, signed_in
from pantheon.web.visitors import FROM_OWN_PAGE

router = APIRouter()


@router.get("/sign-up")
async def get_sign_up(request: Request, runtime: WithRuntime) -> Response:
    if runtime.settings.registration == "invite":
        raise RegistrationClosedError("An invitation is needed to create an account here. Ask the operator for one.")
    if runtime.settings.registration == "closed":
        raise RegistrationClosedError
    return _page(request, Form(), email="")


@router.get("/sign-up/{token}")
async def get_invitation(request: Request, token: str, runtime: WithRuntime) -> Response:
    if runtime.settings.registration == "closed":
        raise RegistrationClosedError
    link = await find_link(runtime, Purpose.INVITATION, token)
    return _page(request, Form(), email=link.email or "")


@router.post("/sign-up", dependencies=FROM_OWN_PAGE)
async def post_sign_up(request: Request, runtime: WithRuntime) -> Response:
    return await _sign_up(request, runtime, invitation=None)


@router.post("/sign-up/{token}", dependencies=FROM_OWN_PAGE)
async def post_invitation(request: Request, token: str, runtime: WithRuntime) -> Response:
    return await _sign_up(request, runtime, invitation=token)


async def _sign_up(request: Request, runtime: Runtime, *, invitation: str | None) -> Response:
    form = await read_form(request)
    try:
        session = await sign_up(
            runtime.database,
            runtime.settings,
            email=form.secret("email"),
            password=form.secret("password"),
            invitation=invitation,
            device=device_of(request),
        )
    except (RegistrationClosedError, LinkInvalidError):
        raise
    except TooManyRequestsError as error:
        return _page(request, form, error=f"Too many attempts. {wait_text(error)}", status=status_of(error))
    except CallerError as error:
        return _page(request, form, error=sentence(error), status=status_of(error))
    return signed_in(runtime, session)


def _page(
    request: Request, form: Form, *, email: str | None = None, error: str | None = None, status: int = 200
) -> Response:
    shown = form.shown("email") if email is None else email
    return render(request, "sign_up.html", status=status, email=shown, error=error)
