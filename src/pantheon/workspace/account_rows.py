"""The rows that are about a user, kind by kind and page by page, as they are given to that user."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Table, literal, or_, select, tuple_

from pantheon.db.engine import Database
from pantheon.db.tables import (
    agents,
    api_keys,
    audit_log,
    calls,
    chat_sessions,
    chat_summaries,
    files,
    identities,
    messages,
    receipts,
    room_agents,
    rooms,
    sessions,
    spend_limits,
    stripe_customers,
    top_ups,
    transfers,
    turns,
    users,
    wallets,
)
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.money.currencies import CURRENCIES
from pantheon.wallets.list_transactions import select_transactions, transaction_of

_PAGE = 200
_SESSIONS_AT_ONCE = 50

Fields = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    name: str
    query: Select[Any]
    key: tuple[ColumnElement[Any], ...]
    """Columns that tell the rows apart: a page goes on after the last one."""
    shape: Callable[[Row[Any]], Fields] = lambda row: dict(row._mapping)
    of_session: ColumnElement[Any] | None = None
    """The column that names the session, for what is found by its session."""


async def rows_of(database: Database, kind: Kind, user_id: UUID) -> AsyncIterator[Row[Any]]:
    """Each page is read in a transaction of its own, and no row twice."""
    if kind.of_session is None:
        async for row in _pages(database, kind.query, kind.key, _PAGE):
            yield row
        return
    # Many sessions at once, and not all: their rows are sorted anew for each page.
    batch: list[UUID] = []
    async for session in _pages(database, *_sessions(user_id), _PAGE):
        batch.append(session.id)
        if len(batch) == _SESSIONS_AT_ONCE:
            async for row in _pages(database, kind.query.where(kind.of_session.in_(batch)), kind.key, _PAGE):
                yield row
            batch = []
    async for row in _pages(database, kind.query.where(kind.of_session.in_(batch)), kind.key, _PAGE):
        yield row


def _sessions(user_id: UUID) -> tuple[Select[Any], tuple[ColumnElement[Any], ...]]:
    return select(chat_sessions.c.id).where(chat_sessions.c.user_id == user_id), (chat_sessions.c.id,)


async def _pages(
    database: Database, query: Select[Any], key: tuple[ColumnElement[Any], ...], size: int
) -> AsyncIterator[Row[Any]]:
    ordered, page = query.order_by(*key).limit(size), query.order_by(*key).limit(size)
    while True:
        async with database.transaction() as tx:
            rows = (await tx.execute(page)).all()
        for row in rows:
            yield row
        if len(rows) < size:
            return
        last = [literal(rows[-1]._mapping[column], column.type) for column in key]
        page = ordered.where(tuple_(*key) > tuple_(*last))


def kinds(user_id: UUID) -> list[Kind]:
    """All but what only proves who somebody is, such as hashes, and what others are charged."""
    wallet = select(wallets.c.id).where(wallets.c.user_id == user_id).scalar_subquery()
    in_room = room_agents.c.room_id.in_(select(rooms.c.id).where(rooms.c.user_id == user_id))
    about = or_(audit_log.c.subject == f"user:{user_id}", audit_log.c.actor == user_id)
    return [
        Kind("profile", _columns(users, "password_hash").where(users.c.id == user_id), (users.c.id,)),
        Kind(
            "identities",
            _columns(identities, "user_id").where(identities.c.user_id == user_id),
            (identities.c.issuer, identities.c.subject),
        ),
        _own("sign_ins", sessions, user_id, "token_hash"),
        _own("api_keys", api_keys, user_id, "key_hash", "monthly_limit_credits"),
        _own("agents", agents, user_id),
        _own("rooms", rooms, user_id),
        Kind("room_agents", select(room_agents).where(in_room), (room_agents.c.id,)),
        _own("sessions", chat_sessions, user_id),
        _said("turns", turns, turns.c.id, leave_out=("roster", "leased_by", "leased_until", "cap")),
        _said("messages", messages, messages.c.id),
        _said("summaries", chat_summaries, chat_summaries.c.session_id, chat_summaries.c.through_turn_index),
        _own("files", files, user_id, "parse_leased_until", "parse_attempts"),
        Kind(
            "transactions",
            select_transactions().where(transfers.c.wallet_id == wallet),
            (transfers.c.wallet_seq,),
            _transaction,
        ),
        _own(
            "calls", calls, user_id, "wallet_id", "hold_id", "enforcement", "input_counted", "max_output", "expires_at"
        ),
        Kind(
            "receipts",
            select(receipts).where(receipts.c.wallet_id == wallet),
            (receipts.c.created_at, receipts.c.id),
            _receipt,
        ),
        _own("top_ups", top_ups, user_id, "request_params", "leased_until", "wallet_id", shape=_top_up),
        Kind(
            "stripe_customers",
            _columns(stripe_customers, "user_id", "generation").where(stripe_customers.c.user_id == user_id),
            (stripe_customers.c.customer_id,),
        ),
        Kind(
            "limits",
            _columns(spend_limits, "wallet_id").where(spend_limits.c.wallet_id == wallet),
            (spend_limits.c.id,),
            lambda row: dict(row._mapping) | {"amount": format_credits(row.amount)},
        ),
        Kind("audit", select(audit_log).where(about), (audit_log.c.seq,), lambda row: _audited(row, user_id)),
    ]


def stored_files(user_id: UUID) -> Kind:
    """Those of which there is a content, also when they were deleted and are not purged yet."""
    stored = select(files).where(files.c.user_id == user_id, files.c.stored_at.is_not(None))
    return Kind("stored_files", stored, (files.c.id,))


def _own(
    name: str, table: Table, user_id: UUID, *leave_out: str, shape: Callable[[Row[Any]], Fields] | None = None
) -> Kind:
    query = _columns(table, "user_id", *leave_out).where(table.c.user_id == user_id)
    return Kind(name, query, (table.c.id,)) if shape is None else Kind(name, query, (table.c.id,), shape)


def _said(name: str, table: Table, *key: ColumnElement[Any], leave_out: tuple[str, ...] = ()) -> Kind:
    return Kind(name, _columns(table, *leave_out), key, of_session=table.c.session_id)


def _columns(table: Table, *leave_out: str) -> Select[Any]:
    return select(*(column for column in table.c if column.name not in leave_out))


def _transaction(row: Row[Any]) -> Fields:
    told = transaction_of(row)
    return vars(told) | {
        # The ledger's own name where people are shown none.
        "kind": told.kind or row.kind,
        "amount": format_credits(told.amount),
        "balance_after": format_credits(told.balance_after),
    }


def _receipt(row: Row[Any]) -> Fields:
    """What a provider takes for the call is the operator's."""
    body = row.body
    return {
        "id": row.id,
        "created_at": row.created_at,
        "transaction_id": row.transfer_id,
        "total_credits": format_credits(row.charged),
        "balance_after": None if row.balance_after is None else format_credits(row.balance_after),
        **{name: body[name] for name in ("model_alias", "rate_card_version", "quality", "usage")},
        "lines": [
            {"meter": line["meter"], "quantity": line["quantity"], "credits": format_credits(line["amount"])}
            for line in body["lines"]
        ],
    }


def _top_up(row: Row[Any]) -> Fields:
    fields = dict(row._mapping)
    decimals = CURRENCIES[row.currency].decimals
    fields["amount"] = format_decimal(fields.pop("amount_minor"), decimals=decimals, least=decimals)
    return fields | {"credits": format_credits(row.credits)}


def _audited(row: Row[Any], user_id: UUID) -> Fields:
    """Who else acted, and from where, is not the user's to know."""
    fields = {name: row._mapping[name] for name in ("seq", "at", "actor_name", "action", "subject", "details")}
    return fields | ({"ip": row.ip} if row.actor == user_id else {})
