"""Why is this in the state that it is in? Any id of ours or of Stripe's, answered with the rows that led there."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Table, func, or_, select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import (
    audit_log,
    draws,
    grant_moves,
    grants,
    holds,
    inbox_events,
    payments,
    receipts,
    top_up_history,
    top_ups,
    transfer_notes,
    transfers,
    wallets,
)
from pantheon.errors import NotFoundError
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.money.chart import KINDS, Kind
from pantheon.money.currencies import CURRENCIES
from pantheon.money.top_up import State

_MOST_ROWS = 100

Line = dict[str, str | None]


@dataclass(frozen=True)
class Section:
    title: str
    rows: list[Line]
    """All with the same columns; amounts as decimal strings, times in ISO 8601."""


@dataclass(frozen=True)
class Explanation:
    kind: str
    id: str
    conclusion: str
    sections: list[Section]


async def explain(database: Database, name: str) -> Explanation:
    """Takes our id of a top-up, event, grant, transfer or hold, or Stripe's of an event or a payment.

    Raises NotFoundError.
    """
    async with database.transaction() as tx:
        for condition, table, explained in _places(name):
            row = (await tx.execute(select(table).where(condition).limit(1))).one_or_none()
            if row is not None:
                return await explained(tx, row)
    raise NotFoundError("Nothing has this id: no top-up, event, payment, grant, transfer or hold.")


_Explain = Callable[[Tx, Row[Any]], Awaitable[Explanation]]


def _places(name: str) -> list[tuple[ColumnElement[bool], Table, _Explain]]:
    our_id = _id(name)
    if our_id is None:
        if not name.isprintable():
            return []
        return [
            (inbox_events.c.event_id == name, inbox_events, _event),
            (payments.c.payment_intent_id == name, payments, _payment),
        ]
    return [
        (top_ups.c.id == our_id, top_ups, _top_up),
        (inbox_events.c.id == our_id, inbox_events, _event),
        (grants.c.id == our_id, grants, _grant),
        (transfers.c.id == our_id, transfers, _transfer),
        (holds.c.id == our_id, holds, _hold),
    ]


def _id(written: str) -> UUID | None:
    try:
        return UUID(written)
    except ValueError:
        return None


async def _top_up(tx: Tx, top_up: Row[Any]) -> Explanation:
    history = await _rows(tx, top_up_history, top_up_history.c.top_up_id == top_up.id, by="at")
    facts = await _rows(tx, payments, payments.c.top_up_id == top_up.id, by="first_seen_at")
    # Events that were stored before they named their top-up are known by what they changed.
    changed_it = inbox_events.c.id.in_({step.inbox_event_id for step in history})
    events = await _rows(tx, inbox_events, or_(inbox_events.c.top_up_id == top_up.id, changed_it), by="received_at")
    grant = await _rows(tx, grants, grants.c.id == top_up.grant_id)
    moved = await _moved(tx, top_up.grant_id)
    sections = [
        _shown(
            "top-up",
            [top_up],
            "id user_id state reason amount currency credits payment_intent_id created_at credited_at",
        ),
        _shown("history", history, "at from_state to_state reason inbox_event_id"),
        _shown("events", events, "received_at event_id type state outcome attempts last_error id"),
        _shown(
            "payments at Stripe",
            facts,
            "payment_intent_id status amount received currency failures failure_category review_reason",
        ),
        *await _credits(tx, grant, moved, top_up.wallet_id),
        await _audited(tx, f"top_up:{top_up.id}", *(f"event:{event.id}" for event in events)),
    ]
    why = _why(top_up, history, events, facts, moved)
    if grant and (since := await _since(tx, grant[0])):
        why = f"{why} Since then {since}; {format_credits(grant[0].remaining)} of them are left."
    return Explanation("top-up", str(top_up.id), why, sections)


def _why(
    top_up: Row[Any], history: list[Row[Any]], events: list[Row[Any]], facts: list[Row[Any]], moved: list[Row[Any]]
) -> str:
    """One sentence."""
    granted = next((row for row in moved if row.kind == Kind.TOP_UP_GRANT), None)
    if granted is not None:
        because = _why_credited(top_up, history, events)
        return (
            f"Credited once, by transfer {granted.id} of {format_credits(granted.amount)} credits, because {because}."
        )
    if top_up.state == State.REVIEW:
        came = "; ".join(_money(fact.received_minor, fact.currency) for fact in facts) or "nothing"
        promised = _money(top_up.amount_minor, top_up.currency)
        return (
            f"Nothing is credited, because the payment is not what was promised ({top_up.reason}): {came} came in,"
            f" {promised} was expected; an operator has to decide."
        )
    if top_up.state == State.REFUNDED_UNMATCHED:
        return "Nothing is credited, because an operator decided that the money was given back at Stripe."
    last = history[-1]
    return f"Nothing is credited: it is {top_up.state} since {_text(last.at)} ({last.reason})."


def _why_credited(top_up: Row[Any], history: list[Row[Any]], events: list[Row[Any]]) -> str:
    step = next(step for step in history if step.to_state == State.CREDITED)
    if step.from_state == State.REVIEW:
        return "an operator decided so; the audit rows say who and why"
    told = next((event.event_id for event in events if event.id == step.inbox_event_id), None)
    source = "Stripe answered" if told is None else f"event {told} reported"
    return f"{source} that payment {top_up.payment_intent_id} succeeded"


async def _event(tx: Tx, event: Row[Any]) -> Explanation:
    steps = await _rows(tx, top_up_history, top_up_history.c.inbox_event_id == event.id, by="at")
    about = await _rows(tx, top_ups, top_ups.c.id.in_({event.top_up_id, *(step.top_up_id for step in steps)}))
    failed = event.last_error and f"the last one failed with {event.last_error}"
    why = {
        "received": f"It waits for an attempt at {_text(event.next_attempt_at)}; {failed or 'there was none yet'}.",
        "done": f"It was handled with the outcome {event.outcome}.",
        "ignored": f"It is none of this installation's business ({event.outcome}).",
        "parked": f"Nothing could be done with it ({event.outcome}); mend that, then replay it.",
        "dead": f"It failed for three days, at last with {event.outcome}; mend that, then replay it.",
    }[event.state]
    sections = [
        _shown(
            "event",
            [event],
            "id event_id type state outcome attempts last_error received_count received_at handled_at verified",
        ),
        _shown("what it changed", steps, "at top_up_id from_state to_state reason"),
        _shown("top-ups", about, "id user_id state amount currency credits payment_intent_id"),
        await _audited(tx, f"event:{event.id}"),
    ]
    return Explanation("event", str(event.id), why, sections)


async def _payment(tx: Tx, payment: Row[Any]) -> Explanation:
    """Explained by its top-up; one that another payment was made for is explained by itself."""
    top_up = (await tx.execute(select(top_ups).where(top_ups.c.id == payment.top_up_id))).one()
    explanation = await _top_up(tx, top_up)
    if top_up.payment_intent_id == payment.payment_intent_id:
        return explanation
    claimed = f"it claims top-up {top_up.id}, whose payment is {top_up.payment_intent_id}"
    why = f"Set aside ({payment.review_reason}): {claimed}."
    return Explanation("payment", payment.payment_intent_id, why, explanation.sections)


async def _grant(tx: Tx, grant: Row[Any]) -> Explanation:
    bought = (await tx.execute(select(top_ups).where(top_ups.c.grant_id == grant.id))).one_or_none()
    if bought is not None:
        return await _top_up(tx, bought)
    moved = await _moved(tx, grant.id)
    given = next((row for row in moved if row.debit_account not in ("available", "held")), None)
    by = f" by transfer {given.id}" if given else ""
    left = f"{format_credits(grant.remaining)} of {format_credits(grant.amount)} credits are left"
    since = await _since(tx, grant)
    why = f"Given as {grant.source}{by}; {since and f'{since}; '}{left}."
    sections = await _credits(tx, [grant], moved, grant.wallet_id)
    if given is not None:
        sections += [await _noted(tx, given), await _audited_transfer(tx, given.id)]
    return Explanation("grant", str(grant.id), why, sections)


async def _transfer(tx: Tx, transfer: Row[Any]) -> Explanation:
    drawn = await _rows(tx, grant_moves, grant_moves.c.transfer_id == transfer.id)
    bought = await _rows(tx, top_ups, top_ups.c.payment_intent_id == transfer.reference_id)
    named = _id(transfer.reference_id)
    held, paid, about = [await _rows(tx, table, table.c.id == named) for table in (holds, receipts, grants)]
    because = f"{transfer.kind} {transfer.reference_id}"
    if bought:
        because = f"top-up {bought[0].id}"
    elif paid:
        because = f"a call of {paid[0].body['model_alias']}, with receipt {paid[0].id}"
    way = f"from {transfer.debit_account} to {transfer.credit_account}"
    meaning = KINDS[Kind(transfer.kind)].meaning
    why = f"{format_credits(transfer.amount)} credits went {way}, because of {because}. {meaning}"
    sections = [
        _shown("transfer", [transfer], _TRANSFER),
        _shown("grants that it moved", drawn, "grant_id available held"),
        _shown("grant", about, _GRANT),
        _shown("top-ups", bought, "id user_id state amount currency credits"),
        _shown("hold", held, _HOLD),
        _shown("receipt", paid, "id charged overrun balance_after created_at"),
        await _noted(tx, transfer),
        await _audited_transfer(tx, transfer.id),
    ]
    return Explanation("transfer", str(transfer.id), why, sections)


async def _hold(tx: Tx, hold: Row[Any]) -> Explanation:
    drawn = await _rows(tx, draws, draws.c.hold_id == hold.id, by="created_at")
    moved = await _rows(
        tx,
        transfers,
        transfers.c.wallet_id == hold.wallet_id,
        transfers.c.reference_id.in_([str(hold.id), *(str(draw.id) for draw in drawn)]),
        by="wallet_seq",
    )
    why = f"It is {hold.state}: {format_credits(hold.captured)} of {format_credits(hold.amount)} credits were used."
    sections = [
        _shown("hold", [hold], _HOLD),
        _shown("draws", drawn, "id state amount captured overrun created_at ended_at"),
        _shown("transfers", moved, _TRANSFER),
    ]
    return Explanation("hold", str(hold.id), why, sections)


_HOLD = "id wallet_id state amount reserved captured created_at expires_at ended_at"
_GRANT = "id source category amount remaining held reversed expires_at"
_TRANSFER = "id recorded_at kind debit_account credit_account amount reference_id actor"


async def _credits(tx: Tx, grant: list[Row[Any]], moved: list[Row[Any]], wallet_id: UUID) -> list[Section]:
    """The grant, where its credits went, and what the wallet owes."""
    owing = await _rows(tx, wallets, wallets.c.id == wallet_id)
    return [
        _shown("grant", grant, _GRANT),
        _shown("transfers of the grant", moved, _TRANSFER),
        _shown("wallet", owing, "id user_id available held debt"),
    ]


async def _moved(tx: Tx, grant_id: UUID | None) -> list[Row[Any]]:
    of_grant = select(grant_moves.c.transfer_id).where(grant_moves.c.grant_id == grant_id)
    # What was spent and is taken back all the same moves no credits of the grant: such a transfer only names it.
    return await _rows(
        tx, transfers, or_(transfers.c.id.in_(of_grant), transfers.c.reference_id == str(grant_id)), by="wallet_seq"
    )


_CHANGES = {
    Kind.REVERSAL: "{} unspent credits were taken back",
    Kind.DEBT_RAISED: "{} spent credits were taken back, which became debt",
    Kind.EXPIRY_REVERSED: "{} credits that had run out were taken back",
    Kind.RESTORE: "{} credits that had been taken back were given back",
    Kind.ADJUSTMENT: "{} credits were taken by corrections",
}
"""What can become of a grant besides being used or running out."""


async def _since(tx: Tx, grant: Row[Any]) -> str:
    """What was taken back of a grant, and corrected; empty where nothing was."""
    named = (transfers.c.reference_id == str(grant.id), transfers.c.kind.in_(_CHANGES))
    query = select(transfers.c.kind, func.sum(transfers.c.amount)).where(*named).group_by(transfers.c.kind)
    sums: dict[str, int] = {kind: int(amount) for kind, amount in await tx.execute(query)}
    corrected = (
        select(func.sum(-grant_moves.c.available))
        .join(transfers, transfers.c.id == grant_moves.c.transfer_id)
        .where(grant_moves.c.grant_id == grant.id, grant_moves.c.available < 0, transfers.c.kind == Kind.ADJUSTMENT)
    )
    sums[Kind.ADJUSTMENT] = int(await tx.scalar(corrected) or 0)
    return ", ".join(text.format(format_credits(sums[kind])) for kind, text in _CHANGES.items() if sums.get(kind))


async def _noted(tx: Tx, transfer: Row[Any]) -> Section:
    return _shown("note", await _rows(tx, transfer_notes, transfer_notes.c.event_id == transfer.event_id), "note")


async def _audited(tx: Tx, *subjects: str) -> Section:
    return _shown_audit(await _rows(tx, audit_log, audit_log.c.subject.in_(subjects), by="seq"))


async def _audited_transfer(tx: Tx, transfer_id: UUID) -> Section:
    return _shown_audit(
        await _rows(tx, audit_log, audit_log.c.details["transfer_id"].astext == str(transfer_id), by="seq")
    )


def _shown_audit(rows: list[Row[Any]]) -> Section:
    return _shown("audit", rows, "at action actor actor_name details")


async def _rows(tx: Tx, table: Table, *conditions: ColumnElement[bool], by: str | None = None) -> list[Row[Any]]:
    query = select(table).where(*conditions).limit(_MOST_ROWS)
    return list(await tx.execute(query if by is None else query.order_by(table.c[by])))


def _shown(title: str, rows: list[Row[Any]], names: str) -> Section:
    return Section(title, [{name: _value(row, name) for name in names.split()} for row in rows])


_CREDITS = frozenset(
    {"credits", "remaining", "held", "reversed", "available", "debt", "reserved", "captured", "overrun"}
    | {"charged", "balance_after"}
)


def _value(row: Row[Any], name: str) -> str | None:
    fields = row._mapping
    if f"{name}_minor" in fields:
        return _money(fields[f"{name}_minor"], fields["currency"])
    value = fields[name]
    if name in _CREDITS or name == "amount":
        return format_credits(value)
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _money(minor: int, currency: str) -> str:
    # A currency that we do not sell in may have come in: then the minor units are all that is known.
    decimals = CURRENCIES[currency].decimals if currency in CURRENCIES else 0
    return format_decimal(minor, decimals=decimals, least=decimals)
