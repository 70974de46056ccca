"""Ends turns whose process died: what was said is kept, what was used is settled, the rest of the hold goes back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from pantheon import clock, ids, metrics
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import calls, chat_sessions, messages, receipts, turn_events, turns, wallets
from pantheon.errors import DatabaseBusyError, TurnInterruptedError
from pantheon.ledger import post
from pantheon.money.amounts import format_credits
from pantheon.settings import Settings
from pantheon.turns.recover_calls import recover_call
from pantheon.workspace.turn_events import TurnEvent, write_events

_BATCH = 100

_logger = structlog.get_logger(__name__)


async def recover_turns(database: Database, settings: Settings) -> int:
    """Answers how many were ended."""
    async with database.transaction() as tx:
        overdue = (turns.c.status.in_(("queued", "running")), turns.c.leased_until < clock.now())
        due = list(await tx.scalars(select(turns.c.id).where(*overdue).order_by(turns.c.leased_until).limit(_BATCH)))
    recovered = 0
    for turn_id in due:
        try:
            async with database.transaction() as tx:
                ended = await _recover(tx, settings, turn_id)
            recovered += ended
            metrics.TURNS.labels("interrupted").inc(ended)
        except DatabaseBusyError:
            pass
        except Exception as error:
            _logger.error("turn_not_recovered", turn_id=str(turn_id), exc_info=error)
    return recovered


async def _recover(tx: Tx, settings: Settings, turn_id: UUID) -> bool:
    overdue = (turns.c.status.in_(("queued", "running")), turns.c.leased_until < clock.now())
    query = select(turns).where(turns.c.id == turn_id, *overdue).with_for_update(skip_locked=True)
    turn = (await tx.execute(query)).one_or_none()
    if turn is None:
        return False
    open_calls = select(calls.c.id).where(calls.c.turn_id == turn_id, calls.c.state == "open").order_by(calls.c.id)
    for call_id in list(await tx.scalars(open_calls)):
        await recover_call(tx, call_id)
    if turn.hold_id is not None:
        await post.release(tx, hold_id=turn.hold_id)
    told = (await tx.execute(select(turn_events).where(turn_events.c.turn_id == turn_id))).all()
    output = await _keep_what_was_said(tx, turn, told)
    await tx.execute(
        update(turns)
        .where(turns.c.id == turn_id)
        .values(
            status="failed",
            error_code=TurnInterruptedError.code,
            assistant_output=output,
            leased_by=None,
            leased_until=None,
            ended_at=func.now(),
        )
    )
    await write_events(tx, [await _last_event(tx, settings, turn, told, output)])
    return True


async def _keep_what_was_said(tx: Tx, turn: Row[tuple[object, ...]], told: Sequence[Row[tuple[object, ...]]]) -> str:
    """The messages that were not yet written down, from what was shown of them. Answers the last one."""
    by_step: dict[int, str] = {}
    speakers = {}
    for event in sorted(told, key=lambda row: row.seq):
        step = event.data.get("step")
        if event.event == "step_started":
            speakers[step] = event.data
        elif event.event == "step_delta":
            by_step[step] = by_step.get(step, "") + event.data["text"]
    last = await tx.scalar(select(func.max(messages.c.position)).where(messages.c.turn_id == turn.id))
    written = {event.data["step"] for event in told if event.event == "step_completed"}
    position = int(last or 0)
    for step, text in by_step.items():
        if step in written:
            continue
        position += 1
        agent_id = speakers[step]["agent_id"]
        message = insert(messages).values(
            # One that was written down already, though it was not told any more, is not written a second time.
            id=UUID(speakers[step].get("message_id", ids.uuid7().hex)),
            session_id=turn.session_id,
            turn_id=turn.id,
            position=position,
            role="assistant",
            agent_id=UUID(agent_id) if agent_id else None,
            agent_name=speakers[step]["name"],
            content=text,
            state="failed",
            created_at=clock.now(),
        )
        await tx.execute(message.on_conflict_do_nothing())
    return next(reversed(by_step.values()), "")


async def _last_event(
    tx: Tx, settings: Settings, turn: Row[tuple[object, ...]], told: Sequence[Row[tuple[object, ...]]], output: str
) -> TurnEvent:
    owner = select(chat_sessions.c.user_id).where(chat_sessions.c.id == turn.session_id).scalar_subquery()
    available = int(await tx.scalar(select(wallets.c.available).where(wallets.c.user_id == owner)) or 0)
    data = {
        "turn_id": str(turn.id),
        "status": "failed",
        "content": output,
        "code": TurnInterruptedError.code,
        "detail": TurnInterruptedError.detail,
        **await _bill(tx, turn.id),
        "balance_after": format_credits(available),
        "low_balance": available < settings.low_balance_nanocredits,
    }
    seq = max((event.seq for event in told), default=0) + 1
    return TurnEvent(turn.id, seq, "turn_failed", data)


async def _bill(tx: Tx, turn_id: UUID) -> dict[str, Any]:
    """What its calls came to: those that it had settled itself, and those that were settled for it just now."""
    paid = select(receipts.c.id, receipts.c.charged, receipts.c.body["usage"].label("usage"))
    paid = paid.join(calls, calls.c.id == receipts.c.id).where(calls.c.turn_id == turn_id)
    rows = (await tx.execute(paid.order_by(receipts.c.created_at, receipts.c.id))).all()
    return {
        "usage": {f"{name}_tokens": sum(row.usage[name] for row in rows) for name in ("input", "output")},
        "credits": format_credits(sum(row.charged for row in rows)),
        "receipt_ids": [str(row.id) for row in rows],
    }
