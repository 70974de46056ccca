"""PostgreSQL dies while payments are booked, and comes back: every payment is credited once, and nobody has to help."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pantheon.db import embedded
from pantheon.db.migrate import migrate
from pantheon.ledger.verify import verify
from tests.conftest import new_home
from tests.installation import Installation, eventually, installed

PEOPLE = 12


@pytest.fixture
def home() -> Iterator[Path]:
    home = new_home()
    server = embedded.start(home)
    migrate(server.owner_url, app_url=server.app_url)
    yield home
    embedded.start(home).stop()
    shutil.rmtree(home)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGQUIT], ids=["killed", "shut down at once"])
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
