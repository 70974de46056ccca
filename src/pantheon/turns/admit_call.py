"""Before a call: who pays, by which prices, how much it can use at most, and whether one more may begin."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, func, insert, select

from pantheon import clock, failpoints, ids
from pantheon.db import rate_limit
from pantheon.db.engine import Database, Tx
from pantheon.db.rate_limit import Limit
from pantheon.db.tables import calls, rates, wallets
from pantheon.errors import (
    ContextBudgetExceededError,
    InvariantError,
    ModelNotFoundError,
    TooManyRequestsError,
    WalletFrozenError,
)
from pantheon.models.tokens import input_tokens, most_input_tokens
from pantheon.settings import Settings
from pantheon.turns.enforcement import OVERRIDE, Mode, decided
from pantheon.turns.rate_cards import RATES_IN_FORCE, Model, model_of
from pantheon.turns.spender import Spender

LEAST_OUTPUT = 256
"""Tokens. A call that could only say less is not begun, unless less was asked for."""

LONGEST_CALL = timedelta(seconds=630)
"""A little more than a provider is given to answer."""

GRACE = timedelta(seconds=90)
"""What a hold outlives its call by, so that the recovery finds it open and can settle what is known."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A hold that was placed for a whole piece of work, in which each of its calls draws."""

    hold_id: UUID
    wallet_id: UUID
    expires_at: datetime
    """Of the hold. Its calls end GRACE before."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that was admitted, with the prices that it will be charged by whatever is published meanwhile."""

    id: UUID
    spender: Spender
    wallet_id: UUID
    mode: Mode
    card_version: int
    model: Model
    input_counted: int
    """By the measure that is charged by, where the provider does not tell."""
    input_most: int
    max_output: int
    run: Run | None
    started_at: datetime

    @property
    def hold_id(self) -> UUID:
        # A call by itself has a hold of its own, with its own id.
        return self.run.hold_id if self.run else self.id

    @property
    def expires_at(self) -> datetime:
        longest = self.started_at + LONGEST_CALL
        return min(longest, self.run.expires_at - GRACE) if self.run else longest

    @property
    def hold_expires_at(self) -> datetime:
        return self.run.expires_at if self.run else self.expires_at + GRACE

    @property
    def least_output(self) -> int:
        return min(LEAST_OUTPUT, self.max_output)


# This commit need not reach the disk by itself: what is written later, as the hold, takes everything before it along.
_UNHURRIED = func.set_config("synchronous_commit", "off", True)


def _standing_query() -> Select[Any]:
    mine = wallets.c.user_id == bindparam("user_id")
    # The time is there for the index alone.
    open_calls = (
        calls.c.user_id == wallets.c.user_id,
        calls.c.started_at > bindparam("since"),
        calls.c.state == "open",
    )
    under_way = select(func.count()).select_from(calls).where(*open_calls).scalar_subquery()
    return (
        select(wallets.c.id, wallets.c.state, under_way.label("under_way"), OVERRIDE.label("override"), _UNHURRIED)
        .add_columns(rates)
        .select_from(wallets.outerjoin(RATES_IN_FORCE, rates.c.model_alias == bindparam("alias")))
        .where(mine)
    )


# Built once, because that takes longer than to ask it. One statement for all, because of the round trips.
_STANDING = _standing_query()


@dataclass(frozen=True)
class _Standing:
    wallet_id: UUID
    mode: Mode
    card_version: int
    model: Model


async def admit_call(
    database: Database, settings: Settings, spender: Spender, body: dict[str, Any], *, run: Run | None = None
) -> Call:
    """Writes the call down before anything is set aside for it, so that whatever becomes of it is found.

    `body` is one of OpenAI's chat completions whose `model` is an alias of ours. Raises ModelNotFoundError,
    ContextBudgetExceededError, WalletFrozenError, TooManyRequestsError.
    """
    counted, most = input_tokens(body), most_input_tokens(body)
    async with database.transaction() as tx:
        # The counters' rows stay locked until the commit: of one user, calls are admitted one after the other.
        await _count(tx, settings, spender)
        standing = await _standing(tx, settings, spender, body["model"])
        model = standing.model
        call = Call(
            id=ids.uuid7(),
            spender=spender,
            wallet_id=standing.wallet_id,
            mode=standing.mode,
            card_version=standing.card_version,
            model=model,
            input_counted=counted,
            # What does not fit into the model cannot be charged for either.
            input_most=min(max(most, counted), model.context_tokens),
            max_output=_max_output(model, body, counted),
            run=run,
            started_at=clock.now(),
        )
        await tx.execute(insert(calls).values(_row(call)))
        failpoints.reach("call.inserted")
    return call


async def _count(tx: Tx, settings: Settings, spender: Spender) -> None:
    bucket = f"calls:{spender.user_id}"
    await rate_limit.hit_all(
        tx,
        Limit(bucket, settings.rate_limit_calls_per_minute, 60),
        Limit(f"{bucket}:hour", settings.rate_limit_calls_per_hour, 3600),
    )


async def _standing(tx: Tx, settings: Settings, spender: Spender, alias: Any) -> _Standing:
    asked = {
        "user_id": spender.user_id,
        "since": clock.now() - LONGEST_CALL,
        "alias": alias if isinstance(alias, str) else None,
    }
    found = (await tx.execute(_STANDING, asked)).mappings().one_or_none()
    if found is None:
        raise InvariantError(f"user {spender.user_id} has no wallet")
    if found["state"] != "active":
        raise WalletFrozenError
    if found["under_way"] >= settings.calls_max_open:
        raise TooManyRequestsError(
            f"{settings.calls_max_open} calls are under way already. Wait until one has ended.", retry_after=1
        )
    if found["version"] is None:
        raise ModelNotFoundError
    return _Standing(found["id"], decided(found["override"], settings).mode, found["version"], model_of(found))


def _max_output(model: Model, body: dict[str, Any], counted: int) -> int:
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or model.max_output_tokens
    room = model.context_tokens - counted
    if room < min(asked, LEAST_OUTPUT):
        raise ContextBudgetExceededError(
            f"{ContextBudgetExceededError.detail} They are about {counted} tokens of {model.context_tokens}.",
            counted=counted,
            context_tokens=model.context_tokens,
        )
    return min(asked, model.max_output_tokens, room)


def _row(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "user_id": call.spender.user_id,
        "wallet_id": call.wallet_id,
        "hold_id": call.hold_id,
        "api_key_id": call.spender.api_key_id,
        "turn_id": call.spender.turn_id,
        "agent_id": call.spender.agent_id,
        "room_id": call.spender.room_id,
        "model_alias": call.model.alias,
        "rate_card_version": call.card_version,
        "enforcement": call.mode,
        "input_counted": call.input_counted,
        "max_output": call.max_output,
        "started_at": call.started_at,
        "expires_at": call.expires_at,
    }
