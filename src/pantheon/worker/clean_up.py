"""Books what ran out and drops what nobody needs any more."""

from datetime import timedelta

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.sql import ColumnElement

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import idempotency_keys, inbox_events, one_time_links, rate_limits, sessions, turn_events, turns
from pantheon.wallets.expire_grants import expire_grants

IDEMPOTENCY_KEYS_KEPT = timedelta(days=30)
_LOOKED_BACK = timedelta(days=2)
_RATE_LIMITS_KEPT = timedelta(days=2)
EVENT_BODIES_KEPT = timedelta(days=400)
_DELTAS_KEPT = timedelta(minutes=15)
"""Of a turn that has ended: its message and its last events stay."""


async def clean_up(database: Database) -> None:
    await expire_grants(database)
    now = clock.now()
    outdated: list[tuple[Table, ColumnElement[bool]]] = [
        (sessions, sessions.c.expires_at < now),
        (one_time_links, one_time_links.c.expires_at < now),
        (rate_limits, rate_limits.c.window_started_at < now - _RATE_LIMITS_KEPT),
        (idempotency_keys, idempotency_keys.c.created_at < now - IDEMPOTENCY_KEYS_KEPT),
    ]
    ended = select(turns.c.id).where(turns.c.ended_at.between(now - _LOOKED_BACK, now - _DELTAS_KEPT))
    outdated.append((turn_events, (turn_events.c.event == "step_delta") & turn_events.c.turn_id.in_(ended)))
    async with database.transaction() as tx:
        for table, condition in outdated:
            await tx.execute(delete(table).where(condition))
        # The row itself stays for ever, so that an event is known whenever it comes again.
        await tx.execute(
            update(inbox_events)
            .where(
                inbox_events.c.received_at < now - EVENT_BODIES_KEPT,
                inbox_events.c.state.in_(["done", "ignored"]),
                func.octet_length(inbox_events.c.body) > 0,
            )
            .values(body=b"")
        )
