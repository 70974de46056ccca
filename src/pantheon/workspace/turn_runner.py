"""The turns that this process works on: begun here, told of here, stopped from anywhere."""

import asyncio
import importlib
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import case, func, select, update

from pantheon import ids
from pantheon.db import idempotency
from pantheon.db.engine import Database
from pantheon.db.tables import chat_sessions, turns
from pantheon.errors import NotFoundError
from pantheon.settings import Settings
from pantheon.turns.meter import Meter
from pantheon.workspace.start_turn import start_turn
from pantheon.workspace.storage import Storage
from pantheon.workspace.turn import LEASE, OpenTurn
from pantheon.workspace.turn_events import TurnEvents
from pantheon.workspace.web_search import web_search

if TYPE_CHECKING:
    from pantheon.workspace.play_turn import TurnPlay

_BEAT_SECONDS = 1
_SHUT_DOWN_SECONDS = 10

_logger = structlog.get_logger(__name__)


class TurnRunner:
    """One of each process. `close` it at the end."""

    def __init__(self, settings: Settings, database: Database, meter: Meter, storage: Storage | None) -> None:
        self.events = TurnEvents(database)
        self._settings = settings
        self._database = database
        self._meter = meter
        self._storage = storage
        self._search = web_search(settings)
        self._name = ids.uuid7().hex
        self._plays: dict[UUID, tuple[TurnPlay, asyncio.Task[None]]] = {}
        self._beating: asyncio.Task[None] | None = None

    async def start(
        self,
        *,
        user_id: UUID,
        api_key_id: UUID | None,
        session_id: UUID,
        message: str,
        context: str = "",
        model_alias_override: str | None = None,
        request: idempotency.Request | None = None,
    ) -> tuple[UUID, bool]:
        """The id of the turn, which is under way whatever becomes of the caller, and whether it was begun before.

        Raises what start_turn.py says.
        """
        await self.preload()
        turn = await start_turn(
            self._database,
            self._settings,
            self._meter,
            worker=self._name,
            user_id=user_id,
            api_key_id=api_key_id,
            session_id=session_id,
            message=message,
            context=context,
            model_alias_override=model_alias_override,
            request=request,
        )
        if isinstance(turn, UUID):
            return turn, True
        self._play(turn)
        return turn.id, False

    async def preload(self) -> None:
        """The framework takes seconds to import: in a thread, so that others are served meanwhile."""
        await asyncio.to_thread(importlib.import_module, "pantheon.workspace.play_turn")

    def _play(self, turn: OpenTurn) -> None:
        from pantheon.workspace.play_turn import TurnPlay

        play = TurnPlay(
            turn,
            settings=self._settings,
            database=self._database,
            meter=self._meter,
            events=self.events,
            storage=self._storage,
            search=self._search,
        )
        task = asyncio.create_task(play.run())
        self._plays[turn.id] = (play, task)
        task.add_done_callback(lambda done: self._ended(turn.id, done))
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    async def stop(self, *, user_id: UUID, turn_id: UUID, agent_key: str | None = None) -> None:
        """Stops it, or one of its agents. Nothing happens where it has ended. Raises NotFoundError."""
        mine = select(chat_sessions.c.id).where(chat_sessions.c.user_id == user_id)
        async with self._database.transaction() as tx:
            query = select(turns.c.id).where(turns.c.id == turn_id, turns.c.session_id.in_(mine))
            if await tx.scalar(query) is None:
                raise NotFoundError("Turn not found.")
            if turn_id not in self._plays:
                # The process that works on it looks for this each second.
                running = (turns.c.id == turn_id, turns.c.status == "running")
                # Who wants all of it stopped is not overruled by who then wants less.
                all_of_it = turns.c.stop_requested_at.is_not(None) & turns.c.stop_agent_key.is_(None)
                key = None if agent_key is None else case((all_of_it, None), else_=agent_key)
                await tx.execute(update(turns).where(*running).values(stop_requested_at=func.now(), stop_agent_key=key))
        self.stop_here(turn_id, agent_key)

    def stop_here(self, turn_id: UUID, agent_key: str | None = None) -> None:
        """The same for whoever began it in this process."""
        if turn_id in self._plays:
            self._plays[turn_id][0].stop(agent_key)

    async def interrupt(self) -> None:
        """Ends what runs because this process ends, so that it is told and settled. What is too slow is left to the
        recovery. Whoever follows a turn of another process has to ask another one.
        """
        for play, _ in self._plays.values():
            play.interrupt()
        if self._plays:
            await asyncio.wait([task for _, task in self._plays.values()], timeout=_SHUT_DOWN_SECONDS)
        self.events.close()

    async def close(self) -> None:
        await self.interrupt()
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        if self._search is not None:
            await self._search.close()

    def _ended(self, turn_id: UUID, task: asyncio.Task[None]) -> None:
        del self._plays[turn_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("turn_not_ended", turn_id=str(turn_id), exc_info=error)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if not self._plays:
                continue
            try:
                wishes = await self._renew()
            except Exception as error:
                # It is tried again: without it each turn would be believed dead.
                _logger.warning("turn_leases_not_renewed", error=type(error).__name__)
                continue
            for turn_id, agent_key in wishes:
                self.stop_here(turn_id, agent_key)

    async def _renew(self) -> list[tuple[UUID, str | None]]:
        """Says that this process lives; answers what people asked other processes to stop."""
        # Not what only bears this process's name: a turn whose work broke off is left to the recovery.
        mine = (turns.c.leased_by == self._name, turns.c.status == "running", turns.c.id.in_(self._plays))
        async with self._database.transaction() as tx:
            rows = await tx.execute(
                update(turns)
                .where(*mine)
                .values(leased_until=func.now() + LEASE)
                .returning(turns.c.id, turns.c.stop_agent_key, turns.c.stop_requested_at)
            )
            wished = [(row.id, row.stop_agent_key) for row in rows if row.stop_requested_at is not None]
            if wished:
                seen = turns.c.id.in_([turn_id for turn_id, _ in wished])
                await tx.execute(update(turns).where(seen).values(stop_requested_at=None, stop_agent_key=None))
        return wished
