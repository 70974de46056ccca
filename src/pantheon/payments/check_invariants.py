"""The alarm: every five minutes, what must always hold between payments, top-ups, grants and wallets is looked at.

It compares rows that are there anyway and reads no history: the whole proof is `pantheon ledger verify`. A change of
what is broken goes into the audit log, so that it can be seen later, and by processes that did not look themselves.
"""

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import select, text

from pantheon import audit, clock
from pantheon.audit import Actor
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import audit_log

_SUBJECT = "invariants"
_ROWS_SHOWN = 20
_LATEST_EVENT = timedelta(minutes=5)
_LATEST_HOLD = timedelta(minutes=2)

_logger = structlog.get_logger(__name__)

_CHECKS = {
    "wallet_differs_from_its_last_transfer": """
        SELECT w.id FROM wallets w LEFT JOIN LATERAL (
            SELECT * FROM transfers WHERE wallet_id = w.id ORDER BY wallet_seq DESC LIMIT 1
        ) t ON true
        WHERE (w.seq, w.available, w.held, w.debt, w.head_hash) IS DISTINCT FROM
              (coalesce(t.wallet_seq, 0), coalesce(t.available_after, 0), coalesce(t.held_after, 0),
               coalesce(t.debt_after, 0), coalesce(t.hash, ''::bytea))""",
    "wallet_differs_from_its_grants": """
        SELECT w.id FROM wallets w LEFT JOIN (
            SELECT wallet_id, sum(remaining) AS available, sum(held) AS held FROM grants GROUP BY wallet_id
        ) g ON g.wallet_id = w.id
        WHERE (w.available, w.held) IS DISTINCT FROM (coalesce(g.available, 0), coalesce(g.held, 0))""",
    # INV-3 and INV-7: what was credited was paid, exactly, in the same currency and mode, or an operator decided so.
    "grant_without_its_payment": """
        SELECT g.id FROM grants g
        LEFT JOIN top_ups t ON t.grant_id = g.id AND t.wallet_id = g.wallet_id
        LEFT JOIN payments p ON p.payment_intent_id = t.payment_intent_id AND p.top_up_id = t.id
            AND p.status = 'succeeded' AND p.received_minor > 0 AND p.livemode = t.livemode
        WHERE g.source = 'top_up' AND (
            p.id IS NULL OR
            (p.received_minor, p.currency, g.amount) IS DISTINCT FROM (t.amount_minor, t.currency, t.credits)
            AND NOT EXISTS (SELECT FROM top_up_history h WHERE h.top_up_id = t.id AND h.from_state = 'review'))""",
    "grant_reversed_beyond_its_amount": "SELECT id FROM grants WHERE reversed < 0 OR reversed > amount",
    "payment_granted_twice": """
        SELECT reference_id FROM grants WHERE source = 'top_up' GROUP BY reference_id HAVING count(*) > 1""",
    # The worker ends a hold within a minute of its time.
    "hold_open_past_its_end": "SELECT id FROM holds WHERE state = 'placed' AND expires_at < :latest_hold",
    "event_done_without_an_outcome": "SELECT id FROM inbox_events WHERE state = 'done' AND outcome IS NULL",
    "event_unhandled_for_too_long": """
        SELECT id FROM inbox_events WHERE state = 'received' AND received_at < :latest_event""",
}


async def check_invariants(database: Database) -> dict[str, list[str]]:
    """What is broken: the names of the checks and rows, some of each. An empty answer is what one hopes for."""
    async with database.transaction() as tx:
        # It reads every wallet, and no lock: what is slow here keeps nobody waiting.
        await tx.execute(text("SET LOCAL statement_timeout = '4min'"))
        broken = {name: rows for name, query in _CHECKS.items() if (rows := await _rows(tx, query))}
        for name, rows in broken.items():
            _logger.critical("invariant_broken", check=name, rows=rows)
        # Told once and not every five minutes: the log is the place for repeating it.
        if sorted(broken) != sorted(await last_broken(tx)):
            action = "invariants.broken" if broken else "invariants.hold_again"
            await audit.record(tx, Actor(None, "worker"), action, subject=_SUBJECT, broken=broken)
    return broken


async def last_broken(tx: Tx) -> dict[str, list[str]]:
    """What was broken when it last changed."""
    details: dict[str, Any] | None = await tx.scalar(
        select(audit_log.c.details).where(audit_log.c.subject == _SUBJECT).order_by(audit_log.c.seq.desc()).limit(1)
    )
    return dict(details["broken"]) if details else {}


def names() -> list[str]:
    return list(_CHECKS)


async def _rows(tx: Tx, query: str) -> list[str]:
    limited = text(f"{query} LIMIT {_ROWS_SHOWN}")
    times = {"latest_event": clock.now() - _LATEST_EVENT, "latest_hold": clock.now() - _LATEST_HOLD}
    parameters = {name: time for name, time in times.items() if f":{name}" in query}
    return [str(row) for row in await tx.scalars(limited, parameters)]
