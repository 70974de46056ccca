"""Locks on things that have no row yet. All numbers that are used in this database are listed here."""

from enum import IntEnum

from sqlalchemy import text

from pantheon.db.engine import Tx


class Lock(IntEnum):
    """What is locked. The migration (…000) and the ledger's business keys (…003) are taken outside of this file."""

    AUDIT_LOG = 5_064_361_001
    IDEMPOTENCY_KEY = 5_064_361_002
    TOP_UPS_OF_USER = 5_064_361_004
    SUBJECT = 5_064_361_005
    RATE_CARD = 5_064_361_006
    TURNS_OF_USER = 5_064_361_007


async def take(tx: Tx, lock: Lock, name: str = "") -> None:
    """Waits for its turn, and keeps it until `tx` ends."""
    await tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, :lock))"), {"name": name, "lock": lock})


async def try_take(tx: Tx, lock: Lock, name: str) -> bool:
    """Whether it was free; then it is ours until `tx` ends."""
    query = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, :lock))")
    return bool(await tx.scalar(query, {"name": name, "lock": lock}))
