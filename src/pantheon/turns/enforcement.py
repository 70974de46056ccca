"""Whether work needs credits: a stored switch, read in the transaction that it decides about, so that all agree.

`enforce`: without credits nothing runs. `warn`: it runs, and what the wallet lacks is the operator's. `off`: nothing is
charged.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from pantheon import audit
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import enforcement_override
from pantheon.settings import Settings

Mode = Literal["enforce", "warn", "off"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Enforcement:
    mode: Mode
    source: Literal["config", "override"]


OVERRIDE = select(enforcement_override.c.mode).scalar_subquery()
"""For a query that asks for more than this; see `decided`."""


async def enforcement(tx: Tx, settings: Settings) -> Enforcement:
    return decided(await tx.scalar(select(OVERRIDE)), settings)


def decided(override: str | None, settings: Settings) -> Enforcement:
    if override is not None:
        return Enforcement(cast(Mode, override), "override")
    return Enforcement("enforce" if settings.credit_enforcement_enabled else "off", "config")


async def view_enforcement(database: Database, settings: Settings) -> Enforcement:
    async with database.transaction() as tx:
        return await enforcement(tx, settings)


async def set_enforcement(database: Database, settings: Settings, actor: audit.Actor, mode: Mode | None) -> Enforcement:
    """Overrides the setting; with None the setting decides again."""
    async with database.transaction() as tx:
        before = await enforcement(tx, settings)
        if mode is None:
            await tx.execute(delete(enforcement_override))
        else:
            values = {"mode": mode, "set_at": func.now()}
            await tx.execute(
                insert(enforcement_override)
                .values(values)
                .on_conflict_do_update(constraint="enforcement_override_pkey", set_=values)
            )
        after = await enforcement(tx, settings)
        await audit.record(
            tx,
            actor,
            "enforcement.set",
            subject="enforcement",
            before=before.mode,
            after=after.mode,
            source=after.source,
        )
        return after
