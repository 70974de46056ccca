"""PostgreSQL dies while payments are booked, and comes back: every payment is credited once, and nobody has to help."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from pantheon.db import embedded
from pantheon.ledger.verify import verify
from tests.installation import Installation, eventually, installed

PEOPLE = 12

# A deferred trigger runs within COMMIT: there it waits until the test lets it go on.
COMMITS_OF_GRANTS_WAIT = """
    CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER transfers_wait_for_test AFTER INSERT ON transfers
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test();
"""


ENDS = [
    pytest.param(signal.SIGKILL, id="killed"),
    pytest.param(signal.SIGQUIT, id="shut down at once", marks=pytest.mark.prove),
]


@pytest.mark.parametrize("end", ENDS)
async def test_postgresql_ends_while_payments_are_booked(home: Path, end: signal.Signals) -> None:
    """T-099."""
    server = embedded.start(home)
    async with installed(app_url=server.app_url, owner_url=server.owner_url) as it:
        people = [await it.person(email=f"p{number}@example.com") for number in range(PEOPLE)]
        top_ups = [(await it.top_up(person)).json()["top_up_id"] for person in people]
        for top_up_id in top_ups:
            it.sandbox.play(top_up_id, "pay")
        # Some are booked and others are not: the end comes in the middle of it.
        await eventually(lambda: _booked(it, 1))

        os.kill(server.pid, end)
        answers = await asyncio.gather(
            *(it.client.get("/api/v1/users/me/wallet", headers=person.headers) for person in people)
        )
        assert {answer.status_code for answer in answers} <= {200, 503}
        again = await asyncio.to_thread(embedded.start, home)
        assert again.port == server.port

        await eventually(lambda: _booked(it, PEOPLE), seconds=60)
        await eventually(lambda: _handled(it), seconds=60)
        assert len(it.rows("SELECT FROM transfers")) == PEOPLE
        for person in people:
            assert await it.balance(person) == "333.33"
        async with it.runtime.database.transaction() as tx:
            assert await verify(tx) == []


async def _booked(it: Installation, number: int) -> bool:
    return len(it.rows("SELECT FROM transfers")) >= number


async def _handled(it: Installation) -> bool:
    return not it.rows("SELECT FROM inbox_events WHERE state = 'received'")


@pytest.mark.prove
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_durable", [False, True], ids=["before it is durable", "before it is answered"])
async def test_postgresql_ends_within_the_commit_of_a_grant(home: Path, end: signal.Signals, is_durable: bool) -> None:
    """T-099: with its commit record written or not, and in both cases without a word to who waits for it."""
    server = embedded.start(home)
    async with installed(app_url=server.app_url, owner_url=server.owner_url) as it:
        ada = await it.person()
        top_up_id = (await it.top_up(ada)).json()["top_up_id"]
        it.execute(COMMITS_OF_GRANTS_WAIT)
        settings = server.data_dir / "postgresql.auto.conf"
        with suppress(psycopg.OperationalError), psycopg.connect(server.owner_url, autocommit=True) as tester:
            tester.execute("SELECT pg_advisory_lock(1)")
            it.sandbox.play(top_up_id, "pay")
            await eventually(lambda: _committing(tester, "advisory"))
            (backend,) = await _committing(tester, "advisory")
            if is_durable:
                # A standby that never answers: from now on a commit is written, and then waits for it.
                settings.write_text("synchronous_standby_names = 'nobody'\n")
                os.kill(server.pid, signal.SIGHUP)
                await eventually(lambda: _standby_is_awaited(tester))
                tester.execute("SELECT pg_advisory_unlock(1)")
                # Whoever else commits now waits as well.
                await eventually(lambda: _is_committing(tester, backend, "SyncRep"))
            # Stopped first: it must not go on when the end of the tester's session lets go of the lock.
            os.kill(backend, signal.SIGSTOP)
            os.kill(server.pid, end)
            os.kill(backend, signal.SIGKILL)
        settings.write_text("")
        await asyncio.to_thread(embedded.start, home)

        with psycopg.connect(server.owner_url) as owner:
            survived = owner.execute("SELECT count(*) FROM transfers WHERE recorded_at < pg_postmaster_start_time()")
            assert survived.fetchone() == (int(is_durable),)
        await eventually(lambda: _booked(it, 1), seconds=60)
        await eventually(lambda: _handled(it), seconds=60)
        assert await it.status(ada, top_up_id) == "credited"
        assert len(it.rows("SELECT FROM transfers")) == 1
        assert it.rows("SELECT state FROM inbox_events WHERE outcome = 'credited'") == [{"state": "done"}]
        assert await it.balance(ada) == "333.33"
        async with it.runtime.database.transaction() as tx:
            assert await verify(tx) == []


async def _committing(tester: psycopg.Connection, wait: str) -> list[int]:
    """The processes that are within COMMIT and wait there for that."""
    query = "SELECT pid FROM pg_stat_activity WHERE upper(query) LIKE 'COMMIT%%' AND wait_event = %s"
    return [pid for (pid,) in tester.execute(query, [wait]).fetchall()]


async def _is_committing(tester: psycopg.Connection, backend: int, wait: str) -> bool:
    return backend in await _committing(tester, wait)


async def _standby_is_awaited(tester: psycopg.Connection) -> bool:
    return tester.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",)
