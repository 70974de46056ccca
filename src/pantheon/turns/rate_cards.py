"""Rate cards: each is one published version of all prices. A model without a rate cannot be called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, bindparam, func, or_, select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import rate_cards, rates
from pantheon.errors import InvalidInputError, InvariantError, NotFoundError
from pantheon.money.rate_card import Meter, Rate

ALIAS = re.compile(r"[A-Za-z0-9._:/-]{1,64}")

_LONGEST_AHEAD = timedelta(days=3650)

_COLUMNS = {
    Meter.INPUT: "input",
    Meter.CACHED_INPUT: "cached_input",
    Meter.CACHE_WRITE: "cache_write",
    Meter.OUTPUT: "output",
    Meter.REASONING: "reasoning",
    Meter.TOOL_CALL: "tool_call",
}


@dataclass(frozen=True)
class Model:
    """A model as it can be called and is charged for."""

    rate: Rate
    provider: str
    provider_model: str
    context_tokens: int
    max_output_tokens: int

    @property
    def alias(self) -> str:
        return self.rate.model_alias


@dataclass(frozen=True)
class RateCard:
    version: int
    models: tuple[Model, ...]

    def find(self, alias: str) -> Model | None:
        return next((model for model in self.models if model.alias == alias), None)


@dataclass(frozen=True)
class Version:
    """A rate card without its prices."""

    number: int
    effective_at: datetime
    effective_until: datetime | None
    published_at: datetime
    published_by: UUID | None
    note: str
    models: int
    in_force: bool


async def view_rate_card(database: Database) -> RateCard:
    async with database.transaction() as tx:
        return await card_in_force(tx)


async def view_card_to_replace(database: Database, effective_at: datetime | None) -> RateCard:
    async with database.transaction() as tx:
        return (await card_to_replace(tx, effective_at))[0]


async def card_to_replace(tx: Tx, effective_at: datetime | None) -> tuple[RateCard, datetime]:
    """The card that a version from `effective_at` on (None: at once) takes over from, and when that is.

    Raises InvalidInputError.
    """
    # Not now(), which is when this transaction began: perhaps before another version that it waited for.
    now = await tx.scalar(select(func.clock_timestamp()))
    assert now is not None
    if effective_at is not None and not now < effective_at < now + _LONGEST_AHEAD:
        raise InvalidInputError("effective_at must be in the future, and within ten years")
    at = effective_at or now
    return await card_in_force(tx, at), at


async def card_in_force(tx: Tx, at: datetime | None = None) -> RateCard:
    """Now, by the database's clock, which is the same for all processes; or at a time that is to come."""
    card = await _find_card(tx, in_force(at))
    if card is None:
        raise InvariantError("no rate card is in force")
    return card


async def view_version(database: Database, number: int) -> tuple[Version, RateCard]:
    """Raises NotFoundError."""
    async with database.transaction() as tx:
        row = (await tx.execute(_VERSIONS.where(rate_cards.c.version == number))).one_or_none()
        card = await _find_card(tx, rate_cards.c.version == number)
        if row is None or card is None:
            raise NotFoundError(f"There is no rate card {number}.")
        return Version(*row), card


async def list_versions(database: Database, *, limit: int = 50, offset: int = 0) -> tuple[list[Version], int]:
    """Newest first, and how many there are."""
    async with database.transaction() as tx:
        query = _VERSIONS.order_by(rate_cards.c.version.desc()).limit(limit).offset(offset)
        rows = (await tx.execute(query)).all()
        total = await tx.scalar(select(func.count()).select_from(rate_cards))
        return [Version(*row) for row in rows], total or 0


async def _find_card(tx: Tx, which: ColumnElement[bool]) -> RateCard | None:
    query = (
        select(rates)
        .join(rate_cards, rate_cards.c.version == rates.c.version)
        .where(which)
        .order_by(rates.c.model_alias)
    )
    rows = (await tx.execute(query)).mappings().all()
    return RateCard(rows[0]["version"], tuple(model_of(row) for row in rows)) if rows else None


async def model_in_force(tx: Tx, alias: str) -> tuple[int, Model] | None:
    """The version of the card in force, and the model as it has it."""
    row = (await tx.execute(_MODEL_IN_FORCE, {"alias": alias})).mappings().one_or_none()
    return None if row is None else (row["version"], model_of(row))


async def model_of_version(tx: Tx, version: int, alias: str) -> Model:
    """Of any version that was published, in force or not."""
    query = select(rates).where(rates.c.version == version, rates.c.model_alias == alias)
    return model_of((await tx.execute(query)).mappings().one())


def in_force(at: datetime | None = None) -> ColumnElement[bool]:
    time = func.now() if at is None else at
    return (rate_cards.c.effective_at <= time) & or_(
        rate_cards.c.effective_until.is_(None), rate_cards.c.effective_until > time
    )


_VERSIONS = select(
    rate_cards.c.version,
    rate_cards.c.effective_at,
    rate_cards.c.effective_until,
    rate_cards.c.published_at,
    rate_cards.c.published_by,
    rate_cards.c.note,
    select(func.count()).where(rates.c.version == rate_cards.c.version).scalar_subquery(),
    in_force(),
)


def row_of(version: int, model: Model) -> dict[str, Any]:
    costs: Mapping[Meter, int | None] = model.rate.costs or dict.fromkeys(Meter)
    return {
        "version": version,
        "model_alias": model.alias,
        "provider": model.provider,
        "provider_model": model.provider_model,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "multiplier": model.rate.multiplier,
        **{f"{name}_price": model.rate.prices[meter] for meter, name in _COLUMNS.items()},
        **{f"{name}_cost": costs[meter] for meter, name in _COLUMNS.items()},
    }


def model_of(row: RowMapping) -> Model:
    costs = {meter: row[f"{name}_cost"] for meter, name in _COLUMNS.items()}
    return Model(
        Rate(
            model_alias=row["model_alias"],
            prices={meter: row[f"{name}_price"] for meter, name in _COLUMNS.items()},
            multiplier=row["multiplier"],
            costs=None if None in costs.values() else costs,
        ),
        row["provider"],
        row["provider_model"],
        row["context_tokens"],
        row["max_output_tokens"],
    )


RATES_IN_FORCE = rates.join(rate_cards, (rate_cards.c.version == rates.c.version) & in_force())

# Built once, because that takes longer than to ask it.
_MODEL_IN_FORCE = select(rates).select_from(RATES_IN_FORCE).where(rates.c.model_alias == bindparam("alias"))
