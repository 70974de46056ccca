"""The wallet: what is there, buying more, and where it went."""

from contextlib import suppress

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.db.tables import top_ups
from pantheon.errors import (
    CallerError,
    InvalidInputError,
    NotFoundError,
    OutsideError,
    PantheonError,
    PaymentsNotConfiguredError,
)
from pantheon.money.periods import Period
from pantheon.money.top_up import OPEN
from pantheon.payments.create_top_up import create_top_up
from pantheon.payments.view_top_ups import list_top_ups
from pantheon.runtime import Runtime
from pantheon.turns.remove_limit import remove_limit
from pantheon.turns.set_limit import set_limit
from pantheon.wallets.list_transactions import PUBLIC_KINDS
from pantheon.wallets.view_wallet import view_wallet
from pantheon.web.forms import Form, read_form, sentence
from pantheon.web.history import KINDS, page_number, read_history
from pantheon.web.limits import parse_choice, read_choices, read_lines
from pantheon.web.offers import bounds_text, preferred_amount, read_offer, suggested_offers
from pantheon.web.rendering import redirect, render
from pantheon.web.visitors import Visitor, WithVisitor

router = APIRouter()

_OWN_AMOUNT = "own"
_MOST_OPEN_SHOWN = 10
_MOST_EXPIRING_SHOWN = 3


@router.get("/wallet")
async def get_wallet(
    request: Request, visitor: WithVisitor, runtime: WithRuntime, kind: str = "", page: str = "1"
) -> Response:
    return await _page(request, visitor, runtime, kind=kind, page=page)


@router.get("/wallet/quote")
async def get_quote(
    request: Request, visitor: WithVisitor, runtime: WithRuntime, choice: str = "", amount: str = ""
) -> Response:
    """What the chosen amount buys, while it is being chosen."""
    own = choice == _OWN_AMOUNT
    if own and not amount.strip():
        return render(request, "parts/quote.html", offer=None, problem=None)
    try:
        offer = read_offer(runtime.settings, amount if own else choice)
    except InvalidInputError as error:
        return render(request, "parts/quote.html", offer=None, problem=error.message)
    return render(request, "parts/quote.html", offer=offer, problem=None)


@router.post("/wallet/top-ups")
async def post_top_up(request: Request, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    choice = form.secret("choice")
    try:
        offer = read_offer(runtime.settings, form.secret("amount") if choice == _OWN_AMOUNT else choice)
        opened = await create_top_up(
            runtime.database,
            runtime.stripe,
            runtime.settings,
            user_id=visitor.caller.user_id,
            amount=offer.amount,
        )
    except PaymentsNotConfiguredError:
        raise
    except (CallerError, OutsideError) as error:
        return await _page(request, visitor, runtime, form=form, error=error)
    return redirect(f"/wallet/top-ups/{opened.top_up.id}")


@router.post("/wallet/limits")
async def post_limit(request: Request, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        scope, scope_id = parse_choice(form.text("what"))
        await set_limit(
            runtime.database,
            visitor.caller.actor,
            user_id=visitor.caller.user_id,
            set_by="user",
            scope=scope,
            scope_id=scope_id,
            period=_period(form),
            amount=form.text("amount", longest=40),
        )
    except CallerError as error:
        return await _page(request, visitor, runtime, limit_form=form, limit_error=error)
    return redirect("/wallet#limits")


@router.post("/wallet/limits/remove")
async def post_limit_removal(request: Request, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    scope, scope_id = parse_choice(form.text("what"))
    # One that is gone already was removed in another window.
    with suppress(NotFoundError):
        await remove_limit(
            runtime.database,
            visitor.caller.actor,
            user_id=visitor.caller.user_id,
            set_by="user",
            scope=scope,
            scope_id=scope_id,
            period=_period(form),
        )
    return redirect("/wallet#limits")


def _period(form: Form) -> Period:
    return "day" if form.text("period") == "day" else "month"


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    *,
    kind: str = "",
    page: str = "1",
    form: Form | None = None,
    error: PantheonError | None = None,
    limit_form: Form | None = None,
    limit_error: PantheonError | None = None,
) -> Response:
    user_id, settings = visitor.caller.user_id, runtime.settings
    wallet = await view_wallet(runtime.database, user_id=user_id)
    is_open = (top_ups.c.state.in_(OPEN),)
    unpaid, _ = await list_top_ups(
        runtime.database, user_id=user_id, limit=_MOST_OPEN_SHOWN, offset=0, conditions=is_open
    )
    chosen_kind = kind if kind in PUBLIC_KINDS else None
    history = await read_history(runtime.database, user_id=user_id, kind=chosen_kind, page=page_number(page))
    offers = suggested_offers(settings)
    failed = error or limit_error
    return render(
        request,
        "wallet.html",
        visitor=visitor,
        status=200 if failed is None else status_of(failed),
        headers={} if failed is None or failed.retry_after is None else {"Retry-After": str(failed.retry_after)},
        wallet=wallet,
        is_low=wallet.available < settings.low_balance_nanocredits,
        expiring=[grant for grant in wallet.grants if grant.expires_at is not None][:_MOST_EXPIRING_SHOWN],
        can_top_up=runtime.stripe is not None,
        offers=offers,
        choice=(form.shown("choice") if form else None) or preferred_amount(offers) or _OWN_AMOUNT,
        amount=form.shown("amount") if form else "",
        bounds=bounds_text(settings),
        error=None if error is None else sentence(error),
        unpaid=unpaid,
        limits={
            "lines": await read_lines(runtime.database, user_id),
            "choices": await read_choices(runtime.database, user_id),
            "problem": None if limit_error is None else sentence(limit_error),
            "form": {name: limit_form.shown(name) if limit_form else "" for name in ("what", "amount", "period")},
        },
        history=history,
        kinds=KINDS,
        kind=chosen_kind,
    )
