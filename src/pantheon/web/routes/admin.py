"""What operators see of users, and how they give credits. Analysts look; owners also give."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon import ids
from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import CallerError, IdempotencyKeyReusedError, InvalidInputError, NotFoundError
from pantheon.payments.view_top_ups import list_top_ups
from pantheon.runtime import Runtime
from pantheon.users.list_users import list_users
from pantheon.users.user import User
from pantheon.wallets.changes import Change
from pantheon.wallets.grant_credits import Category, grant_credits
from pantheon.wallets.view_wallet import view_wallet
from pantheon.web.forms import Form, read_form, sentence
from pantheon.web.history import page_number, read_history
from pantheon.web.rendering import is_partial, render
from pantheon.web.visitors import AdminOwner, AdminReader, Visitor

router = APIRouter()

_USERS_ON_A_PAGE = 20
_RECENT = 10
_LONGEST_NOTE = 256
_LONGEST_SEARCH = 320


@router.get("/admin")
async def get_users(
    request: Request, visitor: AdminReader, runtime: WithRuntime, search: str = "", page: str = "1"
) -> Response:
    number = page_number(page)
    wanted = search[:_LONGEST_SEARCH]
    found = await list_users(
        runtime.database, search=wanted, limit=_USERS_ON_A_PAGE, offset=(number - 1) * _USERS_ON_A_PAGE
    )
    return render(
        request,
        "admin_users.html",
        visitor=visitor,
        users=found.users,
        total=found.total,
        search=wanted.strip() if wanted.isprintable() else "",
        page=number,
        pages=max(1, -(-found.total // _USERS_ON_A_PAGE)),
    )


@router.get("/admin/users/{user_id}")
async def get_user(request: Request, user_id: UUID, visitor: AdminReader, runtime: WithRuntime) -> Response:
    user = await _find_user(runtime, user_id)
    return await _page(request, visitor, runtime, user)


@router.post("/admin/users/{user_id}/grant")
async def post_grant(request: Request, user_id: UUID, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    user = await _find_user(runtime, user_id)
    form = await read_form(request)
    try:
        change = await grant_credits(
            runtime.database,
            visitor.caller.actor,
            user_id=user_id,
            amount=form.text("amount", longest=40),
            note=_note(form),
            category=_category(form),
            expires_at=_end_of_day(form.text("expires_on", longest=40)),
            idempotency_key=_form_id(form),
        )
    except IdempotencyKeyReusedError as error:
        text = "This form was sent before with other figures. Look at the movements, then send it again if you mean it."
        return await _page(request, visitor, runtime, user, form=form, problem=text, status=status_of(error))
    except CallerError as error:
        return await _page(
            request,
            visitor,
            runtime,
            user,
            form=form,
            form_id=_form_id(form),
            problem=sentence(error),
            status=status_of(error),
        )
    return await _page(request, visitor, runtime, user, granted=change)


def _note(form: Form) -> str:
    note = form.text("note", longest=_LONGEST_NOTE)
    if not note:
        raise InvalidInputError("note must say why the credits are given")
    return note


def _category(form: Form) -> Category:
    return "paid" if form.text("category") == "paid" else "promotional"


def _end_of_day(written: str) -> datetime | None:
    """The moment at which the day is over, in UTC; None where no day was given."""
    if not written:
        return None
    try:
        return datetime.combine(date.fromisoformat(written), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidInputError("expires_on must be a date") from None


def _form_id(form: Form) -> str:
    """Made with each form, so that sending it twice gives credits once."""
    form_id = form.text("form_id", longest=64)
    if not form_id.isascii() or not form_id.isalnum():
        raise InvalidInputError("The form is incomplete. Reload the page and try again.")
    return form_id


async def _find_user(runtime: Runtime, user_id: UUID) -> User:
    found = await list_users(runtime.database, search=str(user_id), limit=1)
    if not found.users:
        raise NotFoundError("User not found.")
    return found.users[0]


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    user: User,
    *,
    form: Form | None = None,
    form_id: str | None = None,
    problem: str | None = None,
    granted: Change | None = None,
    status: int = 200,
) -> Response:
    wallet = await view_wallet(runtime.database, user_id=user.id)
    history = await read_history(runtime.database, user_id=user.id, size=_RECENT)
    top_ups, top_ups_total = await list_top_ups(runtime.database, user_id=user.id, limit=_RECENT, offset=0)
    return render(
        request,
        "parts/admin_wallet.html" if is_partial(request) else "admin_user.html",
        visitor=visitor,
        status=status,
        user=user,
        wallet=wallet,
        history=history,
        top_ups=top_ups,
        top_ups_total=top_ups_total,
        form=_filled(form),
        form_id=form_id or ids.uuid7().hex,
        problem=problem,
        granted=granted,
    )


def _filled(form: Form | None) -> dict[str, Any]:
    fields = ("amount", "note", "category", "expires_on")
    return {name: form.shown(name) if form else "" for name in fields}
