"""The stream of a turn as rows: nobody is shown what is not stored, so any process can replay it and go on with it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, or_, select
from sqlalchemy.exc import IntegrityError

from pantheon import clock
from pantheon.db.engine import Database, Tx
from pantheon.db.group_commit import GroupCommit
from pantheon.db.tables import turn_events
from pantheon.errors import OutsideError
from pantheon.workspace.when_back import when_back

LAST = frozenset({"turn_completed", "turn_failed"})
"""After one of these nothing comes."""

_LOOK_SECONDS = 0.5
"""How often a turn is looked at that runs in another process."""
_LOOK_AGAIN_SECONDS = 5
"""And one that was heard here: only when this process was taken for dead, its end comes from another."""


@dataclass(frozen=True)
class TurnEvent:
    turn_id: UUID
    seq: int
    event: str
    data: dict[str, Any]

    @property
    def is_last(self) -> bool:
        return self.event in LAST


class TakenOverError(Exception):
    """Another process took this one for dead, and has ended the turn."""


class TurnEvents:
    """One of each process. A turn has one writer, which numbers its events."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._commits: GroupCommit[TurnEvent, None] = GroupCommit(self._write)
        self._followers: dict[UUID, set[asyncio.Queue[TurnEvent]]] = defaultdict(set)
        self._closed = False

    def close(self) -> None:
        """Nobody can follow here any longer, also not a turn that goes on elsewhere."""
        self._closed = True

    async def append(self, event: TurnEvent) -> None:
        """Stored, and then shown to those who follow. Waits for a database that is away. Raises TakenOverError."""

        async def store() -> None:
            try:
                await self._commits.put(event)
            except IntegrityError:
                # The connection may have broken after an earlier try was committed.
                if event not in await self._look(event.turn_id, event.seq - 1):
                    raise TakenOverError from None

        await when_back(store)
        self.show(event)

    def show(self, event: TurnEvent) -> None:
        """To those who follow here, once it is stored."""
        for follower in self._followers.get(event.turn_id, ()):
            follower.put_nowait(event)

    async def follow(self, turn_id: UUID, *, after: int = 0) -> AsyncGenerator[TurnEvent | None]:
        """What came after event number `after`, and then what comes, to the last. None where nothing came for a while.

        Nothing is left out and nothing comes twice, whichever process writes the turn. Where this process ends before
        the turn does, it stops short of the last one.
        """
        pause: float = _LOOK_SECONDS
        with self._following(turn_id) as arrivals:
            while True:
                for event in await self._look(turn_id, after):
                    if event.seq > after:
                        yield event
                        after = event.seq
                    if event.is_last:
                        return
                try:
                    async with asyncio.timeout(pause):
                        event = await arrivals.get()
                except TimeoutError:
                    if self._closed:
                        return
                    yield None
                    continue
                pause = _LOOK_AGAIN_SECONDS
                # What is told here, in order and without a gap, does not have to be read.
                while event is not None and event.seq == after + 1:
                    yield event
                    after = event.seq
                    if event.is_last:
                        return
                    event = await arrivals.get() if not arrivals.empty() else None  # type: ignore[assignment]

    @contextmanager
    def _following(self, turn_id: UUID) -> Iterator[asyncio.Queue[TurnEvent]]:
        arrivals: asyncio.Queue[TurnEvent] = asyncio.Queue()
        self._followers[turn_id].add(arrivals)
        try:
            yield arrivals
        finally:
            self._followers[turn_id].discard(arrivals)
            if not self._followers[turn_id]:
                del self._followers[turn_id]

    async def _look(self, turn_id: UUID, after: int) -> list[TurnEvent]:
        """What is stored, and the end in any case. A database that is away does not end a stream: it is asked again."""
        try:
            return await self._read(turn_id, after)
        except OutsideError:
            return []

    async def _read(self, turn_id: UUID, after: int) -> list[TurnEvent]:
        is_due = or_(turn_events.c.seq > after, turn_events.c.event.in_(LAST))
        query = select(turn_events).where(turn_events.c.turn_id == turn_id, is_due)
        async with self._database.transaction() as tx:
            rows = (await tx.execute(query.order_by(turn_events.c.seq))).all()
        return [TurnEvent(row.turn_id, row.seq, row.event, row.data) for row in rows]

    async def _write(self, events: Sequence[TurnEvent]) -> list[None]:
        async with self._database.transaction() as tx:
            await write_events(tx, events)
        return [None] * len(events)


async def write_events(tx: Tx, events: Sequence[TurnEvent]) -> None:
    now = clock.now()
    await tx.execute(insert(turn_events), [asdict(event) | {"created_at": now} for event in events])
