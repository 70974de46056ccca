"""The page of one top-up: paying for it, and what becomes of it."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon import clock
from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import (
    CallerError,
    InvalidInputError,
    NotFoundError,
    PaymentDeclinedError,
    PaymentsNotConfiguredError,
)
from pantheon.payments.cancel_top_up import cancel_top_up
from pantheon.payments.create_top_up import open_payment
from pantheon.payments.declines import Category, category_of
from pantheon.payments.pay_in_sandbox import pay_in_sandbox
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import TopUp
from pantheon.payments.view_top_ups import view_top_up
from pantheon.runtime import Runtime
from pantheon.wallets.view_wallet import view_wallet
from pantheon.web.forms import Form, read_form
from pantheon.web.panels import SECONDS_BETWEEN_LOOKS, Panel, can_be_paid, next_panel, panel_for, title_of
from pantheon.web.rendering import STRIPE_POLICY, is_partial, policy, redirect, render
from pantheon.web.visitors import Visitor, WithVisitor

router = APIRouter()

DECLINES: dict[Category, str] = {
    "retry": "The payment could not be processed just now. Nothing was charged. Please try again in a moment.",
    "other_card": "The card was declined. Nothing was charged. Please try another card.",
    "authenticate": "Your bank could not confirm that it is you, so nothing was charged. "
    "Try again and follow your bank's steps, or use another card.",
    "contact_bank": "Your bank declined the payment. Nothing was charged. "
    "Your bank can tell you why, or you can use another card.",
}

TEST_CARDS = (
    ("4242 4242 4242 4242", "Pays at once"),
    ("4000 0000 0000 0002", "Is declined"),
    ("4000 0000 0000 9995", "Has too little money"),
    ("4000 0027 6000 3184", "Asks for 3-D Secure"),
)


@dataclass(frozen=True)
class Card:
    """The sandbox's card form: what its fields hold, and what is wrong with one of them."""

    number: str = TEST_CARDS[0][0]
    expiry: str = "12 / 34"
    cvc: str = "123"
    wrong_field: str | None = None
    problem: str | None = None


@router.get("/wallet/top-ups/{top_up_id}")
async def get_top_up(
    request: Request, top_up_id: UUID, visitor: WithVisitor, runtime: WithRuntime, card: str = ""
) -> Response:
    if "payment_intent_client_secret" in request.query_params:
        # Whoever comes back from their bank has it in the address, where it must not stay.
        return redirect(_address_of(top_up_id))
    top_up, _ = await view_top_up(runtime.database, user_id=visitor.caller.user_id, top_up_id=top_up_id)
    chosen = next((number for number, _ in TEST_CARDS if number.replace(" ", "") == card), Card.number)
    return await _page(request, visitor, runtime, top_up, card=Card(number=chosen))


@router.get("/wallet/top-ups/{top_up_id}/status")
async def get_status(
    request: Request, top_up_id: UUID, visitor: WithVisitor, runtime: WithRuntime, seen: str = "", since: str = ""
) -> Response:
    """The next panel, when it is another than the one that was seen. Asked each second, so only our books are read."""
    top_up, _ = await view_top_up(runtime.database, user_id=visitor.caller.user_id, top_up_id=top_up_id)
    started = int(since) if re.fullmatch(r"[0-9]{1,12}", since) else _now()
    panel = next_panel(top_up.state, seen=seen, seconds=_now() - started)
    if panel == seen:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return await _render(request, visitor, runtime, top_up, panel, since=started, announce=True)


@router.post("/wallet/top-ups/{top_up_id}/pay")
async def post_pay(request: Request, top_up_id: UUID, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    """Pays with a test card. There is no such thing with real payments: those never pass through here."""
    if runtime.stripe is None or not runtime.sandbox:
        raise NotFoundError
    user_id = visitor.caller.user_id
    top_up, _ = await view_top_up(runtime.database, user_id=user_id, top_up_id=top_up_id)
    card = _read_card(await read_form(request))
    if card.problem is not None:
        return await _page(request, visitor, runtime, top_up, card=card, status=422)
    try:
        payment = await pay_in_sandbox(
            runtime.database,
            runtime.stripe,
            user_id=user_id,
            top_up_id=top_up_id,
            card_number=card.number,
            return_url=runtime.settings.public_url + _address_of(top_up_id),
        )
    except InvalidInputError as error:
        # A number that is none of the test cards may be a real one: it is not shown again.
        card = Card(number="", wrong_field="number", problem="Only the test cards work here. Never use a real card.")
        return await _page(request, visitor, runtime, top_up, card=card, status=status_of(error))
    except PaymentDeclinedError as error:
        return await _page(request, visitor, runtime, top_up, card=card, declined=error)
    if payment.next_action_url is not None:
        return _go_to(request, payment.next_action_url)
    if not is_partial(request):
        return redirect(_address_of(top_up_id))
    top_up, _ = await view_top_up(runtime.database, user_id=user_id, top_up_id=top_up_id)
    return await _render(
        request, visitor, runtime, top_up, panel_for(top_up.state, payment), announce=True, takes_focus=True
    )


def _read_card(form: Form) -> Card:
    number, expiry, cvc = (form.shown(name) for name in ("number", "expiry", "cvc"))
    month_and_year = re.fullmatch(r"\s*(0?[1-9]|1[0-2])\s*/\s*(?:20)?([0-9]{2})\s*", expiry)
    if month_and_year is None:
        return Card(number, expiry, cvc, "expiry", "Write the expiry date as month and year, such as 12 / 34.")
    now = clock.now()
    if (2000 + int(month_and_year[2]), int(month_and_year[1])) < (now.year, now.month):
        return Card(number, expiry, cvc, "expiry", "This date is over. Any date to come will do.")
    if re.fullmatch(r"[0-9]{3,4}", cvc) is None:
        return Card(number, expiry, cvc, "cvc", "The security code has three or four digits.")
    return Card(number, expiry, cvc)


def _go_to(request: Request, address: str) -> Response:
    """To another site: the bank's page."""
    if is_partial(request):
        return Response(headers={"HX-Redirect": address, "Cache-Control": "no-store"})
    return redirect(address)


@router.post("/wallet/top-ups/{top_up_id}/cancel")
async def post_cancel(top_up_id: UUID, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    await cancel_top_up(runtime.database, runtime.stripe, user_id=visitor.caller.user_id, top_up_id=top_up_id)
    return redirect(_address_of(top_up_id))


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    top_up: TopUp,
    *,
    card: Card,
    status: int = 200,
    declined: PaymentDeclinedError | None = None,
) -> Response:
    payment = None
    if can_be_paid(top_up.state):
        if runtime.stripe is None or not (runtime.sandbox or runtime.settings.stripe_publishable_key):
            raise PaymentsNotConfiguredError
        top_up, payment = await open_payment(runtime.database, runtime.stripe, top_up, mine=False)
    panel = panel_for(top_up.state, payment)
    if panel is not Panel.PAY or payment is None:
        return await _render(request, visitor, runtime, top_up, panel)
    return await _render(
        request,
        visitor,
        runtime,
        top_up,
        panel,
        status=status if declined is None else status_of(declined),
        policy=_policy(runtime),
        # Some ways to pay open a window of their own, which has to report back to this page.
        headers={} if runtime.sandbox else {"Cross-Origin-Opener-Policy": "same-origin-allow-popups"},
        card=card,
        payment=payment,
        problem=_decline_text(payment, declined),
    )


def _decline_text(payment: Payment, declined: CallerError | None) -> str | None:
    """What to do about the last attempt, when it failed."""
    if declined is not None:
        return DECLINES[declined.extras["category"]]
    error = payment.last_payment_error
    return DECLINES[category_of(error.decline_code or error.code)] if error else None


def _policy(runtime: Runtime) -> str:
    if not runtime.sandbox:
        return STRIPE_POLICY
    # Browsers hold the form to this for the redirect to the bank's page too.
    return policy(form=runtime.settings.stripe_api_base or "")


async def _render(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    top_up: TopUp,
    panel: Panel,
    *,
    since: int | None = None,
    announce: bool = False,
    takes_focus: bool = False,
    **context: Any,
) -> Response:
    wallet = await view_wallet(runtime.database, user_id=visitor.caller.user_id) if panel is Panel.CREDITED else None
    return render(
        request,
        "parts/top_up.html" if is_partial(request) else "top_up.html",
        visitor=visitor,
        top_up=top_up,
        panel=panel,
        title=title_of(panel, top_up),
        again_in=SECONDS_BETWEEN_LOOKS.get(panel),
        since=_now() if since is None else since,
        announce=announce and is_partial(request),
        takes_focus=takes_focus,
        balance=None if wallet is None else wallet.balance,
        sandbox=runtime.sandbox,
        test_cards=TEST_CARDS,
        publishable_key=runtime.settings.stripe_publishable_key,
        return_url=runtime.settings.public_url + _address_of(top_up.id),
        **context,
    )


def _address_of(top_up_id: UUID) -> str:
    return f"/wallet/top-ups/{top_up_id}"


def _now() -> int:
    return int(clock.now().timestamp())
