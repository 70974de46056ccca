"""What the page of a top-up shows: one panel for where the top-up is."""

from enum import StrEnum

from pantheon.money.top_up import PaymentStatus, State
from pantheon.payments.stripe.objects import Payment
from pantheon.payments.top_ups import TopUp
from pantheon.web.amounts import credits_text


class Panel(StrEnum):
    PAY = "pay"
    WAITING = "waiting"
    """Paid as far as Stripe says; the credits follow within seconds."""
    SLOW = "slow"
    """The same for longer than people expect."""
    PROCESSING = "processing"
    NOT_PAID = "not_paid"
    """A payment that was on its way has failed."""
    CANCELING = "canceling"
    CANCELED = "canceled"
    EXPIRED = "expired"
    FAILED = "failed"
    CREDITED = "credited"
    REVIEW = "review"
    REVERSED = "reversed"
    REFUNDED = "refunded"


SECONDS_UNTIL_SLOW = 20

SECONDS_BETWEEN_LOOKS = {Panel.WAITING: 1, Panel.SLOW: 5, Panel.PROCESSING: 5, Panel.CANCELING: 1}
"""The panels that are not the end: the page looks again by itself."""

_PANELS = {
    State.PROCESSING: Panel.PROCESSING,
    State.CANCEL_REQUESTED: Panel.CANCELING,
    State.CANCELED: Panel.CANCELED,
    State.EXPIRED: Panel.EXPIRED,
    State.FAILED_TO_CREATE: Panel.FAILED,
    State.CREDITED: Panel.CREDITED,
    State.REVIEW: Panel.REVIEW,
    State.PARTIALLY_REVERSED: Panel.REVERSED,
    State.REVERSED: Panel.REVERSED,
    State.REFUNDED_UNMATCHED: Panel.REFUNDED,
}

_TITLES = {
    Panel.PAY: "Pay for your top-up",
    Panel.WAITING: "Payment received",
    Panel.SLOW: "Payment received",
    Panel.PROCESSING: "Your payment is on its way",
    Panel.NOT_PAID: "The payment did not go through",
    Panel.CANCELING: "We are canceling this top-up",
    Panel.CANCELED: "This top-up was canceled",
    Panel.EXPIRED: "This top-up has expired",
    Panel.FAILED: "The payment could not be opened",
    Panel.REVIEW: "We are checking this payment",
    Panel.REVERSED: "Credits of this top-up were taken back",
    Panel.REFUNDED: "This payment was refunded",
}


def title_of(panel: Panel, top_up: TopUp) -> str:
    return f"{credits_text(top_up.credits)} credits were added" if panel is Panel.CREDITED else _TITLES[panel]


def can_be_paid(state: State) -> bool:
    return state in (State.CREATING, State.AWAITING_PAYMENT)


def panel_for(state: State, payment: Payment | None) -> Panel:
    """The panel of a page that is opened. `payment` is what Stripe says, for a top-up that can be paid."""
    if payment is None or not can_be_paid(state):
        return _PANELS[state]
    match payment.status:
        case PaymentStatus.SUCCEEDED | PaymentStatus.PROCESSING:
            # Stripe knows already what its event has yet to tell our books.
            return Panel.WAITING
        case PaymentStatus.CANCELED:
            return Panel.CANCELING
        case _:
            return Panel.PAY


def next_panel(state: State, *, seen: str, seconds: int) -> Panel:
    """The panel that follows the one that was `seen` for `seconds`, by our books alone."""
    if not can_be_paid(state):
        return _PANELS[state]
    if seen == Panel.PROCESSING:
        return Panel.NOT_PAID
    if seen == Panel.CANCELING:
        return Panel.CANCELING
    return Panel.SLOW if seconds >= SECONDS_UNTIL_SLOW else Panel.WAITING
