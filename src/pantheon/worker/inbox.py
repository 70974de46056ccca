"""Handles Stripe's events as they come in. Their rows are the queue, so nothing is lost or stalled with a process."""

import asyncio
from uuid import UUID

from pantheon.db.wake_ups import INBOX, listening
from pantheon.payments.handle_event import handle_event
from pantheon.payments.handle_events import handle_events
from pantheon.runtime import Runtime

_ALONE_AT_ONCE = 8
_LOOK_EVERY_SECONDS = 1
"""A call can be lost, and nobody calls when the time of another attempt has come."""


async def handle_inbox(runtime: Runtime, stop: asyncio.Event) -> None:
    """Until `stop`, or until the database is lost. What has begun is finished."""
    turns = asyncio.Semaphore(_ALONE_AT_ONCE)

    async def alone(inbox_event_id: UUID) -> None:
        async with turns:
            if not stop.is_set():
                await handle_event(runtime.database, runtime.stripe, inbox_event_id)

    async with listening(runtime.database.url, INBOX) as wait, asyncio.TaskGroup() as group:
        while not stop.is_set():
            found = await handle_events(runtime.database)
            for inbox_event_id in found.alone:
                group.create_task(alone(inbox_event_id))
            if not found.due:
                await wait(stop, _LOOK_EVERY_SECONDS)
