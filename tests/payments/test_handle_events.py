"""Many events at once: each comes to what it would have come to alone."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg

from pantheon.payments.handle_event import handle_event
from pantheon.payments.handle_events import handle_events
from tests.installation import Installation
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]

ONE_GRANT_FAILS = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE TRIGGER transfers_fail BEFORE INSERT ON transfers FOR EACH ROW
        WHEN (NEW.reference_id = '{payment}') EXECUTE FUNCTION fail();
"""


async def stored(it: Installation, people: int) -> list[dict[str, Any]]:
    """The payments of so many people, whose events are stored and not handled."""
    payments = []
    for number in range(people):
        person = await it.person(email=f"p{number}@example.com")
        top_up_id = (await it.top_up(person)).json()["top_up_id"]
        payment = succeeded(it.sandbox.payments.find(top_up_id))
        body = event_for(payment, id=f"evt_crafted_{number}")
        assert (await it.post_event(body, signed(body))).json() == {"status": "ok"}
        payments.append(payment)
    return payments


def states(it: Installation) -> list[tuple[str, str | None]]:
    rows = it.rows("SELECT state, last_error FROM inbox_events WHERE event_id LIKE 'evt_crafted%%' AND %s", True)
    return sorted((row["state"], row["last_error"]) for row in rows)


async def test_all_that_are_due_are_credited_in_one_transaction(install: Install) -> None:
    async with install(worker=False) as it:
        await stored(it, 3)

        found = await handle_events(it.runtime.database)

        assert (found.due, found.alone) == (3, [])
        assert states(it) == [("done", None)] * 3
        assert len(it.rows("SELECT DISTINCT xmin::text FROM inbox_events WHERE outcome = 'credited'")) == 1
        assert it.rows("SELECT DISTINCT state, reason FROM top_ups") == [
            {"state": "credited", "reason": "payment_succeeded"}
        ]
        assert len(it.rows("SELECT FROM top_up_history WHERE to_state = 'credited'")) == 3
        assert (await handle_events(it.runtime.database)).due == 0


async def test_one_that_fails_does_not_spoil_the_others(install: Install) -> None:
    async with install(worker=False) as it:
        bad, *_ = await stored(it, 3)
        it.execute(ONE_GRANT_FAILS.format(payment=bad["id"]))

        found = await handle_events(it.runtime.database)

        assert it.rows("SELECT FROM transfers") == []
        assert len(found.alone) == 3
        for inbox_event_id in found.alone:
            await handle_event(it.runtime.database, it.runtime.stripe, inbox_event_id)
        assert states(it) == [("done", None), ("done", None), ("received", "ProgrammingError")]
        # It is not tried together with others again.
        it.execute("DROP TRIGGER transfers_fail ON transfers")
        it.execute("UPDATE inbox_events SET next_attempt_at = now() WHERE state = 'received'")
        assert len((await handle_events(it.runtime.database)).alone) == 1


async def test_a_top_up_that_somebody_is_at_is_not_waited_for(install: Install, owner_url: str) -> None:
    async with install(worker=False) as it:
        held, *_ = await stored(it, 3)
        with psycopg.connect(owner_url) as blocker:
            blocker.execute("SELECT FROM top_ups WHERE id = %s FOR UPDATE", [held["metadata"]["top_up_id"]])

            found = await handle_events(it.runtime.database)

        assert states(it) == [("done", None), ("done", None), ("received", None)]
        (inbox_event_id,) = found.alone
        await handle_event(it.runtime.database, it.runtime.stripe, inbox_event_id)
        assert states(it) == [("done", None)] * 3


async def test_of_two_events_for_one_top_up_the_second_is_handled_after_the_first(install: Install) -> None:
    async with install(worker=False) as it:
        (payment,) = await stored(it, 1)
        body = event_for(payment, id="evt_crafted_again")
        await it.post_event(body, signed(body))

        found = await handle_events(it.runtime.database)

        assert (found.due, len(found.alone)) == (2, 1)
        await handle_event(it.runtime.database, it.runtime.stripe, found.alone[0])
        outcomes = it.rows("SELECT outcome FROM inbox_events WHERE state = 'done' ORDER BY handled_at")
        assert [row["outcome"] for row in outcomes] == ["credited", "unchanged"]
        assert len(it.rows("SELECT FROM transfers")) == 1
