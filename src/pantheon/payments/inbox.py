"""Where Stripe's events are kept: many deliveries in one commit, each of them stored once."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from pantheon import failpoints
from pantheon.db.engine import Database
from pantheon.db.group_commit import GroupCommit
from pantheon.db.many_rows import given
from pantheon.db.tables import inbox_events, installation
from pantheon.db.wake_ups import INBOX, wake_up

Row = dict[str, Any]
"""A row of inbox_events."""


class Inbox:
    def __init__(self, database: Database) -> None:
        self.database = database
        self._deliveries = GroupCommit(self._write)
        self._installation_id: UUID | None = None

    async def add(self, row: Row) -> bool:
        """Whether the event is new; then it is stored, durable, and a worker is awake. Otherwise nothing changed."""
        return await self._deliveries.put(row)

    async def installation_id(self) -> UUID | None:
        """Asked once: it never changes."""
        if self._installation_id is None:
            async with self.database.transaction() as tx:
                self._installation_id = await tx.scalar(select(installation.c.id))
        return self._installation_id

    async def _write(self, rows: Sequence[Row]) -> list[bool]:
        # In one order everywhere: two processes with the same events never wait for each other.
        ordered = sorted(rows, key=lambda row: (row["event_id"], row["livemode"]))
        names = list(ordered[0])
        table = given(ordered, *(inbox_events.c[name] for name in names))
        statement = (
            insert(inbox_events)
            .from_select(names, select(table))
            .on_conflict_do_nothing(constraint="inbox_events_event_is_stored_once")
            .returning(inbox_events.c.id)
        )
        async with self.database.transaction() as tx:
            new = set(await tx.scalars(statement))
            await wake_up(tx, INBOX)
            failpoints.reach("event.inserted")
        return [row["id"] in new for row in rows]
