"""The whole proof, at one moment: the parts of the books and the chain of the audit log, two at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text

from pantheon import audit
from pantheon.db.engine import Database, Tx
from pantheon.ledger.verify import PARTS, Break, count_transfers, verify_part

_AT_ONCE = 2
"""Reading everything ever booked must leave the server room for the work of others."""


@dataclass(frozen=True)
class Proof:
    breaks: list[Break]
    transfers: int
    audit_rows: int

    @property
    def counted(self) -> str:
        return f"{self.transfers} transfers and {self.audit_rows} audit rows"


def _nobody_told(_: object) -> None:
    pass


async def prove(
    database: Database,
    *,
    counted: Callable[[int], None] = _nobody_told,
    proven: Callable[[str], None] = _nobody_told,
) -> Proof:
    """Tells how many transfers there are before it begins, and each part when it is done."""
    room = asyncio.Semaphore(_AT_ONCE)

    async with database.transaction() as tx:
        await _read_all(tx)
        transfers, audit_rows = await count_transfers(tx), await audit.count(tx)
        counted(transfers)
        # What is booked meanwhile is seen by no part, or one part would miss what another has seen.
        snapshot = await tx.scalar(text("SELECT pg_export_snapshot()"))

        async def one(name: str, check: Callable[[Tx], Awaitable[list[Break]]]) -> list[Break]:
            async with room, database.transaction() as beside:
                await _read_all(beside)
                await beside.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                breaks = await check(beside)
            proven(name)
            return breaks

        parts = [one(part, partial(verify_part, part=part)) for part in PARTS]
        found = await asyncio.gather(*parts, one("audit log", audit.verify))
    return Proof([each for breaks in found for each in breaks], transfers, audit_rows)


async def _read_all(tx: Tx) -> None:
    await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    # The application's role is cut off after seconds, which is not enough to read everything ever booked.
    await tx.execute(text("SET LOCAL statement_timeout = 0"))
    await tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
