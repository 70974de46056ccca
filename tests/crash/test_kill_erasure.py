"""A process that erases somebody is killed (kill -9): either nobody has left, or all that was theirs goes."""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pantheon import logs
from pantheon import settings as all_settings
from pantheon.db.engine import Database
from pantheon.runtime import open_runtime
from pantheon.users.erase_user import erase_user
from pantheon.workspace.purge import purge
from tests.crash.processes import SECONDS, forks, settings
from tests.installation import TEST, Installation, Person, installed
from tests.turns.used import fund

LEFT = {
    "erasure.written": {"state": "active", "rooms": 1, "files": 3, "stored": 3},
    "erasure.committed": {"state": "deleted", "rooms": 1, "files": 3, "stored": 3},
    "purge.content_deleted:2": {"state": "deleted", "rooms": 1, "files": 3, "stored": 1},
}
"""What is there right after the kill. A row goes after its content, so that nothing is stored that no row leads to."""


def erase(settings: dict[str, Any], failpoint: str | None, user_id: UUID) -> None:
    os.environ["APP_ENV"] = "test"
    logs.configure("json", level=logging.ERROR)
    if failpoint is not None:
        os.environ["FAILPOINT"] = failpoint
    asyncio.run(_erase(settings, user_id))


async def _erase(settings: dict[str, Any], user_id: UUID) -> None:
    async with open_runtime(all_settings.load(_env_file=None, **settings)) as runtime:
        await erase_user(runtime.database, user_id=user_id, actor=TEST, forfeit=True)
        await purge(runtime.database, runtime.storage)


async def moved_in(it: Installation, email: str) -> Person:
    person = await it.person(email=email)
    await fund(it, person, 1)
    room = await it.client.post("/api/v1/rooms", json={"name": "Room"}, headers=person.headers)
    for number in range(3):
        file = {"file": (f"{number}.txt", email.encode())}
        path = f"/api/v1/rooms/{room.json()['id']}/files"
        assert (await it.client.post(path, files=file, headers=person.headers)).status_code == 201
    return person


def left_of(it: Installation, person: Person, folder: Path) -> dict[str, Any]:
    [user] = it.rows("SELECT state FROM users WHERE id = %s", person.id)
    return {
        "state": user["state"],
        "rooms": len(it.rows("SELECT FROM rooms WHERE user_id = %s", person.id)),
        "files": len(it.rows("SELECT FROM files WHERE user_id = %s", person.id)),
        "stored": sum(path.is_file() and path.read_text() == person.email for path in folder.rglob("*")),
    }


@pytest.mark.parametrize(
    "failpoint",
    [pytest.param("erasure.written", marks=pytest.mark.prove), "erasure.committed", "purge.content_deleted:2"],
)
async def test_an_erasure_that_was_cut_off_is_finished(
    failpoint: str, app_url: str, owner_url: str, database: Database, tmp_path: Path
) -> None:
    """Asks for `database` so that the books are verified at the end."""
    ours = settings(app_url, 1, "http://127.0.0.1:1", storage_url=str(tmp_path))
    async with installed(app_url=app_url, owner_url=owner_url, worker=False, storage_url=str(tmp_path)) as it:
        ada, bob = await moved_in(it, "ada@example.com"), await moved_in(it, "bob@example.com")

        assert await _dies(ours, failpoint, ada) == -signal.SIGKILL
        assert left_of(it, ada, tmp_path) == LEFT[failpoint]
        # Whoever did not get an answer asks again, and the worker does what it does every hour.
        assert await _dies(ours, None, ada) == 0

        assert left_of(it, ada, tmp_path) == {"state": "deleted", "rooms": 0, "files": 0, "stored": 0}
        assert left_of(it, bob, tmp_path) == {"state": "active", "rooms": 1, "files": 3, "stored": 3}
        kinds = it.rows("SELECT kind FROM transfers JOIN wallets w ON w.id = wallet_id WHERE user_id = %s", ada.id)
        assert [row["kind"] for row in kinds] == ["top_up_grant", "adjustment"]
        assert len(it.rows("SELECT FROM audit_log WHERE action = 'user.erased'")) == 1


async def _dies(ours: dict[str, Any], failpoint: str | None, person: Person) -> int | None:
    process = forks.Process(target=erase, args=(ours, failpoint, person.id), daemon=True)
    process.start()
    await asyncio.to_thread(process.join, SECONDS)
    return process.exitcode
