"""A turn is over: its row, its last event and what the wallet then has are written down together."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select, update

from pantheon import metrics
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import turns, wallets
from pantheon.errors import PantheonError
from pantheon.money.amounts import format_credits
from pantheon.settings import Settings
from pantheon.workspace.turn import OpenTurn
from pantheon.workspace.turn_events import TurnEvent, TurnEvents, write_events
from pantheon.workspace.when_back import when_back


@dataclass(frozen=True)
class Ending:
    status: Literal["completed", "failed", "stopped"]
    failure: PantheonError | None
    output: str
    bill: dict[str, Any]
    seq: int
    """Of the last event."""


async def end_turn(database: Database, settings: Settings, events: TurnEvents, turn: OpenTurn, ending: Ending) -> None:
    """Waits for a database that is away. Does nothing where the recovery took the turn for dead and ended it."""

    async def end() -> TurnEvent | None:
        async with database.transaction() as tx:
            return await _end(tx, settings, turn, ending)

    event = await when_back(end)
    if event is not None:
        events.show(event)
        metrics.TURNS.labels(ending.status).inc()


async def _end(tx: Tx, settings: Settings, turn: OpenTurn, ending: Ending) -> TurnEvent | None:
    ended = await tx.scalar(
        update(turns)
        .where(turns.c.id == turn.id, turns.c.status == "running")
        .values(
            status=ending.status,
            error_code=ending.failure.code if ending.failure else None,
            assistant_output=ending.output,
            leased_by=None,
            leased_until=None,
            ended_at=func.now(),
        )
        .returning(turns.c.id)
    )
    if ended is None:
        return None
    available = int(await tx.scalar(select(wallets.c.available).where(wallets.c.user_id == turn.user_id)) or 0)
    data = {
        "turn_id": str(turn.id),
        "status": ending.status,
        "content": ending.output,
        **ending.bill,
        "balance_after": format_credits(available),
        "low_balance": available < settings.low_balance_nanocredits,
    }
    if ending.failure is not None:
        data |= {"code": ending.failure.code, "detail": ending.failure.message, **ending.failure.extras}
    event = TurnEvent(turn.id, ending.seq, "turn_failed" if ending.failure else "turn_completed", data)
    await write_events(tx, [event])
    return event
