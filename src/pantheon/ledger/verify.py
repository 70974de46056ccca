"""Proof that the books are right: everything that is stored is computed again from the transfers and compared."""

from dataclasses import dataclass
from importlib.resources import files

from sqlalchemy import text

from pantheon.db.engine import Tx

PARTS = ("chain", "holds", "grants", "receipts")
"""Of the proof, the longest first: a statement each, which reads nothing of the others."""


@dataclass(frozen=True)
class Break:
    """Something that does not add up: which check, in which row, and what is wrong with it."""

    check: str
    row: str
    detail: str


async def verify(tx: Tx) -> list[Break]:
    """Every break in the books; an empty list is the proof that they are whole."""
    return [found for part in PARTS for found in await verify_part(tx, part)]


async def verify_part(tx: Tx, part: str) -> list[Break]:
    query = files("pantheon.ledger").joinpath("sql", "verify", f"{part}.sql").read_text()
    return [Break(*row) for row in await tx.execute(text(query))]


async def count_transfers(tx: Tx) -> int:
    return int(await tx.scalar(text("SELECT count(*) FROM transfers")) or 0)
