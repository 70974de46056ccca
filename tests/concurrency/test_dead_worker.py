"""What a dead worker left behind is taken up by the next one."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.payments.handle_events import handle_events
from pantheon.payments.stripe.sandbox import Crafted, Switch
from pantheon.worker.run import working
from tests.installation import Installation, eventually

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_an_event_that_a_dead_worker_had_to_itself_is_due_again(install: Install) -> None:
    """T-065: it asked Stripe about the payment when it died."""
    async with install(worker=False) as it:
        ada = await it.person()
        top_up_id = (await it.top_up(ada)).json()["top_up_id"]
        await it.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=ada.headers)
        # A payment that succeeded after it was canceled has to be looked up.
        await it.sandbox.emit(top_up_id, Crafted(object={"status": "succeeded", "amount_received": 1000}, keep=True))

        async def left_alone() -> bool:
            return bool((await handle_events(it.runtime.database)).alone)

        await eventually(left_alone)
        assert (await handle_events(it.runtime.database)).due == 0
        it.execute("UPDATE inbox_events SET next_attempt_at = next_attempt_at - interval '30 seconds'")

        async with working(it.runtime):
            await it.becomes(ada, top_up_id, "credited")

        assert len(it.rows("SELECT FROM transfers")) == 1


@pytest.mark.parametrize("another_waits", [False, True])
async def test_a_stalled_job_never_keeps_the_worker_from_starting(install: Install, another_waits: bool) -> None:
    """The job of a killed worker, alone, or beside a later one that waits for the same thing."""
    jobs = "(queue_name, task_name, queueing_lock, args, status)"
    values = "VALUES ('default', 'expire_holds', 'expire_holds', '{\"timestamp\": 0}', %s)"
    async with install(worker=False) as it:
        it.execute(f"INSERT INTO procrastinate_jobs {jobs} {values}", "doing")
        if another_waits:
            it.execute(f"INSERT INTO procrastinate_jobs {jobs} {values}", "todo")

        async def none_stalled() -> bool:
            query = "SELECT FROM procrastinate_jobs WHERE args = '{\"timestamp\": 0}'"
            return not it.rows(query)

        async with working(it.runtime):
            await eventually(none_stalled)


PEOPLE = 12
STALE = [
    ("payment_intent.processing", {"status": "processing", "amount_received": 0}),
    ("payment_intent.canceled", {"status": "canceled", "amount_received": 0}),
]


@pytest.mark.prove
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
