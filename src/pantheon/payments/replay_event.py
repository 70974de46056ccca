"""An operator lets a stored event be handled once more, as another delivery by Stripe would."""

from uuid import UUID

from sqlalchemy import select

from pantheon import audit, clock
from pantheon.db.engine import Database
from pantheon.db.tables import inbox_events
from pantheon.errors import NotFoundError
from pantheon.payments.receive_event import wake

_GIVEN_UP = ("parked", "dead")


async def replay_event(database: Database, actor: audit.Actor, *, inbox_event_id: UUID) -> tuple[str, bool]:
    """The state in which the event was, and whether it is handled anew. One that is done or ignored stays as it is.

    Raises NotFoundError.
    """
    async with database.transaction() as tx:
        event = (
            await tx.execute(select(inbox_events).where(inbox_events.c.id == inbox_event_id).with_for_update())
        ).one_or_none()
        if event is None:
            raise NotFoundError("Event not found.")
        # One that failed waits for its next attempt; one that is due is about to be handled anyway.
        waits = event.state == "received" and event.next_attempt_at > clock.now()
        if event.state not in _GIVEN_UP and not waits:
            return event.state, False
        await wake(tx, inbox_event_id)
        await audit.record(
            tx,
            actor,
            "event.replayed",
            subject=f"event:{inbox_event_id}",
            event_id=event.event_id,
            state=event.state,
            was=event.outcome or event.last_error,
        )
        return event.state, True
