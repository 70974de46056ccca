"""What a dead worker left behind is taken up by the next one."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.payments.stripe.sandbox import Crafted, Switch
from pantheon.worker.run import working
from tests.installation import Installation, eventually

Install = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.mark.parametrize("another_waits", [False, True])
async def test_a_stalled_job_is_retried_and_never_keeps_the_worker_from_starting(
    install: Install, another_waits: bool
) -> None:
    """T-065: the job of a killed worker, alone, or beside a later job for the same event that waits for its time."""
    async with install(worker=False) as it:
        ada = await it.person()
        top_up_id = (await it.top_up(ada)).json()["top_up_id"]
        it.sandbox.play(top_up_id, "pay")

        async def stored() -> bool:
            return bool(it.rows("SELECT FROM inbox_events WHERE state = 'received'"))

        await eventually(stored)
        it.execute("UPDATE inbox_events SET next_attempt_at = now() + interval '1 hour'")
        it.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        if another_waits:
            it.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, scheduled_at)"
                " SELECT queue_name, task_name, queueing_lock, args, now() FROM procrastinate_jobs"
            )

        async with working(it.runtime):
            await it.becomes(ada, top_up_id, "credited")

        assert it.rows("SELECT FROM procrastinate_jobs WHERE status = 'doing'") == []
        assert len(it.rows("SELECT FROM transfers")) == 1


PEOPLE = 12
STALE = [
    ("payment_intent.processing", {"status": "processing", "amount_received": 0}),
    ("payment_intent.canceled", {"status": "canceled", "amount_received": 0}),
]


async def test_ten_minutes_of_every_kind_of_event_are_worked_off_in_any_order(install: Install) -> None:
    """T-065: with half of the jobs lost as well. The rows are moved into the past instead of waiting."""
    async with install(worker=False) as it:
        it.sandbox.switches.add(Switch(name="hold_webhook", on="payment_intent.*", times=None))
        top_ups = {}
        for number in range(PEOPLE):
            person = await it.person(email=f"p{number}@example.com")
            top_ups[(await it.top_up(person)).json()["top_up_id"]] = person
        for top_up_id in top_ups:
            for play in ("decline", "decline", "pay"):
                it.sandbox.play(top_up_id, play)
        await it.sandbox.release("random")
        for top_up_id in top_ups:
            for type, fields in STALE:
                await it.sandbox.emit(top_up_id, Crafted(type=type, object=fields))
        await it.sandbox.release("random")

        async def stored() -> bool:
            return len(it.rows("SELECT FROM inbox_events WHERE state = 'received'")) == 5 * PEOPLE

        await eventually(stored)
        it.execute("UPDATE inbox_events SET received_at = received_at - interval '10 minutes'")
        it.execute("UPDATE inbox_events SET next_attempt_at = next_attempt_at - interval '10 minutes'")
        it.execute("DELETE FROM procrastinate_jobs WHERE id %% 2 = %s", 0)

        async with working(it.runtime):
            await eventually(lambda: _all_handled(it), seconds=30)

        assert it.rows("SELECT DISTINCT state FROM inbox_events WHERE outcome <> 'type_not_used'") == [
            {"state": "done"}
        ]
        assert it.rows("SELECT DISTINCT state FROM top_ups") == [{"state": "credited"}]
        assert len(it.rows("SELECT FROM transfers")) == PEOPLE
        balances = await asyncio.gather(*(it.balance(person) for person in top_ups.values()))
        assert balances == ["333.33"] * PEOPLE


async def _all_handled(it: Installation) -> bool:
    return not it.rows("SELECT FROM inbox_events WHERE state = 'received'")
