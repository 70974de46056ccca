"""Posting: each function calls one SQL function and joins the caller's transaction.

Every id and reference comes from the caller and is its idempotency key: the same call again answers `duplicate` and
changes nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import BindParameter, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import BigInteger, DateTime, SmallInteger, Text, TypeEngine, Uuid

from pantheon.db.engine import Tx
from pantheon.errors import InvariantError
from pantheon.money.chart import Kind

SetBy = Literal["user", "owner"]
"""Whose limit it is. What one of them sets, the other neither changes nor ends."""
SETTERS: tuple[SetBy, ...] = get_args(SetBy)


@dataclass(frozen=True)
class Posting:
    """What a ledger function answered. Amounts in nanocredits; the balances are those after the posting."""

    code: str
    wallet_id: UUID | None
    event_id: UUID | None
    transfer_id: UUID | None
    grant_id: UUID | None
    amount: int
    available: int
    held: int
    debt: int

    @property
    def balance(self) -> int:
        return self.available + self.held - self.debt

    def expect(self, *codes: str) -> "Posting":
        """This posting, if its code is one of `codes`; anything else is a bug of ours and raises InvariantError."""
        if self.code not in codes:
            raise InvariantError(f"the ledger answered {self.code}")
        return self


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What `grant` is told, for many at once."""

    wallet_id: UUID
    grant_id: UUID
    kind: Kind
    reference_id: str
    source: str
    category: str
    amount: int
    cost_minor: int = 0
    note: str | None = None


async def open_wallet(tx: Tx, *, wallet_id: UUID, user_id: UUID) -> Posting:
    """Codes: ok, duplicate (the user has one), conflict (the id is that of another user's wallet)."""
    return await _call(tx, "ledger_open_wallet", _id(wallet_id), _id(user_id))


async def grant(
    tx: Tx,
    *,
    wallet_id: UUID,
    grant_id: UUID,
    kind: Kind,
    reference_id: str,
    source: str,
    category: str,
    amount: int,
    cost_minor: int = 0,
    priority: int = 100,
    expires_at: datetime | None = None,
    effective_at: datetime | None = None,
    actor: UUID | None = None,
    note: str | None = None,
) -> Posting:
    """Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, not_yet_effective, already_expired.

    Beyond 32 open grants a promotional one may merge into its like; the answer names the grant that has the credits.
    """
    return await _call(
        tx,
        "ledger_grant",
        _id(wallet_id),
        _id(grant_id),
        (kind.value, Text()),
        (reference_id, Text()),
        (source, Text()),
        (category, Text()),
        (amount, BigInteger()),
        (cost_minor, BigInteger()),
        (priority, SmallInteger()),
        (expires_at, DateTime(timezone=True)),
        (effective_at, DateTime(timezone=True)),
        _id(actor),
        (note, Text()),
    )


async def grant_all(tx: Tx, grants: Sequence[Grant]) -> list[Posting]:
    """Many grants in one call, each answered with a code of `grant`. All their wallets are locked first."""
    statement = text("SELECT * FROM ledger_grant_batch(CAST(:items AS jsonb))")
    items = json.dumps([vars(grant) for grant in grants], default=str)
    return [Posting(*row) for row in await tx.execute(statement, {"items": items})]


async def adjust(
    tx: Tx, *, wallet_id: UUID, adjustment_id: UUID, amount: int, actor: UUID | None, note: str | None
) -> Posting:
    """Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, not_enough."""
    return await _call(
        tx, "ledger_adjust", _id(wallet_id), _id(adjustment_id), (amount, BigInteger()), _id(actor), (note, Text())
    )


async def expire(tx: Tx, *, wallet_id: UUID) -> Posting:
    """Codes: ok, nothing_due, wallet_not_found."""
    return await _call(tx, "ledger_expire", _id(wallet_id))


async def reverse_to_target(
    tx: Tx,
    *,
    grant_id: UUID,
    target: int,
    effective_at: datetime | None = None,
    actor: UUID | None = None,
    note: str | None = None,
) -> Posting:
    """Makes exactly `target` of the grant reversed; `amount` is by how much more, or less when negative.

    Codes: ok, unchanged, grant_not_found, not_reversible (an adjustment), amount_out_of_range.
    """
    return await _call(
        tx,
        "ledger_reverse_to_target",
        _id(grant_id),
        (target, BigInteger()),
        (effective_at, DateTime(timezone=True)),
        _id(actor),
        (note, Text()),
    )


async def place_hold(tx: Tx, *, wallet_id: UUID, hold_id: UUID, amount: int, expires_at: datetime) -> Posting:
    """Codes: ok, duplicate, conflict, wallet_not_found, amount_out_of_range, already_expired, wallet_not_active,
    in_debt, not_enough.
    """
    return await _call(
        tx,
        "ledger_place_hold",
        _id(wallet_id),
        _id(hold_id),
        (amount, BigInteger()),
        (expires_at, DateTime(timezone=True)),
    )


async def draw(
    tx: Tx, *, hold_id: UUID, draw_id: UUID, amount: int, scopes: Mapping[str, str] | None = None
) -> Posting:
    """Reserves a part of the hold for one call. `scopes` name for what, as in {"api_key": id}, and so its limits.

    Codes: ok, duplicate, conflict, hold_not_found, amount_out_of_range, hold_ended, wallet_not_active, not_enough,
    over_limit:SCOPE:PERIOD. With not_enough `amount` is what the hold could still give, with over_limit the limit.
    """
    return await _call(
        tx, "ledger_draw", _id(hold_id), _id(draw_id), (amount, BigInteger()), (dict(scopes or {}), JSONB())
    )


async def capture(tx: Tx, *, draw_id: UUID, used: int) -> Posting:
    """Ends a draw; `amount` is what was captured, at most what was drawn. The rest of `used` is the operator's overrun.

    Codes: ok, duplicate, conflict, draw_not_found, amount_out_of_range, draw_ended (its hold expired first).
    """
    return await _call(tx, "ledger_capture", _id(draw_id), (used, BigInteger()))


async def settle(tx: Tx, *, draw_id: UUID, used: int, receipt: Mapping[str, Any]) -> Posting:
    """A capture that leaves a receipt with the draw's id. Its codes are those of `capture`."""
    return await _call(tx, "ledger_settle", _id(draw_id), (used, BigInteger()), (dict(receipt), JSONB()))


async def settle_unfunded(
    tx: Tx, *, wallet_id: UUID, call_id: UUID, beyond: int, receipt: Mapping[str, Any]
) -> Posting:
    """The receipt of a call without a draw; `beyond` is the operator's loss.

    Codes: ok, duplicate, conflict (its draw can be captured), wallet_not_found, amount_out_of_range.
    """
    return await _call(
        tx,
        "ledger_settle_unfunded",
        _id(wallet_id),
        _id(call_id),
        (beyond, BigInteger()),
        (dict(receipt), JSONB()),
    )


async def set_spend_limit(
    tx: Tx,
    *,
    wallet_id: UUID,
    limit_id: UUID,
    scope: str,
    scope_id: str,
    period: str,
    amount: int,
    set_by: SetBy = "user",
) -> Posting:
    """Codes: ok, unchanged, wallet_not_found, amount_out_of_range."""
    return await _call(
        tx,
        "ledger_set_spend_limit",
        _id(wallet_id),
        _id(limit_id),
        (scope, Text()),
        (scope_id, Text()),
        (period, Text()),
        (amount, BigInteger()),
        (set_by, Text()),
    )


async def end_spend_limit(
    tx: Tx, *, wallet_id: UUID, scope: str, scope_id: str, period: str, set_by: SetBy = "user"
) -> Posting:
    """Codes: ok, unchanged (there is none)."""
    return await _call(
        tx,
        "ledger_end_spend_limit",
        _id(wallet_id),
        (scope, Text()),
        (scope_id, Text()),
        (period, Text()),
        (set_by, Text()),
    )


async def release(tx: Tx, *, hold_id: UUID) -> Posting:
    """Ends a hold; `amount` is what went back to the wallet.

    Codes: ok, unchanged (it had ended), hold_not_found, draws_open (capture them first, with 0 where nothing was used).
    """
    return await _call(tx, "ledger_release", _id(hold_id))


async def expire_hold(tx: Tx, *, hold_id: UUID) -> Posting:
    """Ends a hold whose time is over, with its open draws.

    Codes: ok, unchanged (it had ended), not_due, hold_not_found.
    """
    return await _call(tx, "ledger_expire_hold", _id(hold_id))


async def set_frozen(tx: Tx, *, wallet_id: UUID, frozen: bool) -> Posting:
    """Codes: ok, unchanged, wallet_not_found, wallet_closed."""
    return await _call(tx, "ledger_set_frozen", _id(wallet_id), (frozen, None))


async def close_wallet(tx: Tx, *, wallet_id: UUID) -> Posting:
    """For somebody who leaves; notes are redacted. Codes: ok, unchanged, wallet_not_found, not_empty."""
    return await _call(tx, "ledger_close_wallet", _id(wallet_id))


def _id(value: UUID | None) -> tuple[UUID | None, TypeEngine[Any]]:
    return value, Uuid()


async def _call(tx: Tx, function: str, *arguments: tuple[Any, TypeEngine[Any] | None]) -> Posting:
    """Each argument is cast to its type, because the driver alone cannot tell a NULL's."""
    parameters: list[BindParameter[Any]] = []
    casts = []
    for index, (value, type_) in enumerate(arguments):
        parameters.append(bindparam(f"p{index}", value, type_))
        casts.append(f"CAST(:p{index} AS {type_.compile(tx.dialect)})" if type_ is not None else f":p{index}")
    statement = text(f"SELECT * FROM {function}({', '.join(casts)})").bindparams(*parameters)  # noqa: S608 - our own name
    return Posting(*(await tx.execute(statement)).one())
