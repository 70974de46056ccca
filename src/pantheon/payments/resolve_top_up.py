"""An operator decides what becomes of a top-up whose payment was not what was promised."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from pantheon import audit, clock
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import payments
from pantheon.errors import ConflictError, InvalidInputError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.amounts import format_credits
from pantheon.money.chart import Kind
from pantheon.money.price import pro_rata
from pantheon.money.top_up import State
from pantheon.payments.fulfil import NOTE
from pantheon.payments.top_ups import TopUp, lock_top_up, move_top_up

_LONGEST_REASON = 256


class Action(StrEnum):
    CREDIT = "credit"
    """Grant what was promised, whatever came in."""
    CREDIT_RECEIVED = "credit-received"
    """Grant in proportion to what came in."""
    REFUNDED_OUTSIDE = "refunded-outside"
    """Grant nothing: the money was given back at Stripe."""

    @property
    def code(self) -> str:
        """The top-up's reason from then on."""
        return f"resolved_{self.value.replace('-', '_')}"


async def resolve_top_up(
    database: Database, actor: audit.Actor, *, top_up_id: UUID, action: Action, reason: str
) -> tuple[TopUp, bool]:
    """The top-up as it is then, and whether this call made it so: the same decision again changes nothing.

    Raises NotFoundError, InvalidInputError, and ConflictError where another decision was made or this one cannot be.
    """
    if not 1 <= len(reason) <= _LONGEST_REASON or not reason.isprintable():
        raise InvalidInputError(f"reason must say why, in one line of at most {_LONGEST_REASON} characters")
    async with database.transaction() as tx:
        top_up = await lock_top_up(tx, top_up_id)
        if top_up.state is not State.REVIEW:
            if top_up.reason == action.code:
                return top_up, False
            raise ConflictError(f"This top-up is not in review: it is {top_up.state} ({top_up.reason}).")
        changes, details = await _credit(tx, top_up, action, actor)
        state = State.REFUNDED_UNMATCHED if action is Action.REFUNDED_OUTSIDE else State.CREDITED
        moved = await move_top_up(tx, top_up, state, reason=action.code, **changes)
        await audit.record(
            tx,
            actor,
            "top_up.resolved",
            subject=f"top_up:{top_up.id}",
            decision=action,
            reason=reason,
            was=top_up.reason,
            **details,
        )
        return moved, True


async def _credit(tx: Tx, top_up: TopUp, action: Action, actor: audit.Actor) -> tuple[dict[str, Any], dict[str, Any]]:
    """Grants what the decision is worth. Answers what changes in the row, and what the audit log tells of it."""
    if action is Action.REFUNDED_OUTSIDE:
        return {}, {}
    payment = (
        await tx.execute(
            select(payments).where(
                payments.c.payment_intent_id == top_up.payment_intent_id, payments.c.top_up_id == top_up.id
            )
        )
    ).one()
    if payment.livemode != top_up.livemode:
        raise ConflictError("Test payments never become credits for real money, nor the reverse.")
    same_currency = payment.currency == top_up.currency
    credits = top_up.credits
    if action is Action.CREDIT_RECEIVED:
        if not same_currency:
            raise ConflictError("Another currency came in, so there is no share of what was promised.")
        credits = pro_rata(top_up.credits, part=payment.received_minor, whole=top_up.amount_minor)
    if credits == 0 or payment.received_minor == 0:
        raise ConflictError("No money was received, so there is nothing to credit.")
    posting = await post.grant(
        tx,
        wallet_id=top_up.wallet_id,
        grant_id=uuid7(),
        kind=Kind.TOP_UP_GRANT,
        reference_id=payment.payment_intent_id,
        source="top_up",
        category="paid",
        amount=credits,
        cost_minor=payment.received_minor if same_currency else top_up.amount_minor,
        actor=actor.user_id,
        note=NOTE,
    )
    if posting.code == "amount_out_of_range":
        raise ConflictError("The wallet cannot hold that many credits more.")
    grant_id = posting.expect("ok").grant_id
    details = {"credits": format_credits(credits), "transfer_id": str(posting.transfer_id)}
    return {"grant_id": grant_id, "credited_at": clock.now()}, details
