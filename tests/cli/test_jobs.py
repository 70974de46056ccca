"""What operators do about work that was given up, and about people who leave; a worker is running."""

import json

import pytest

from tests.cli.conftest import Run
from tests.installation import Installation, Person, eventually


async def _with_a_file(installation: Installation) -> tuple[Person, str]:
    ada = await installation.person()
    room = (await installation.client.post("/api/v1/rooms", json={"name": "R"}, headers=ada.headers)).json()["id"]
    sent = await installation.client.post(
        f"/api/v1/rooms/{room}/files", files={"file": ("a.txt", b"A.")}, headers=ada.headers
    )

    async def parsed() -> bool:
        return bool(installation.rows("SELECT FROM files WHERE parse_status = 'parsed'"))

    await eventually(parsed)
    return ada, str(sent.json()["id"])


@pytest.mark.prove
async def test_a_file_that_was_given_up_is_retried_and_then_read(installation: Installation, run: Run) -> None:
    _, file_id = await _with_a_file(installation)
    installation.execute(
        "UPDATE files SET parse_status = 'failed', text_size = NULL, error_message = 'Tried 3 times.',"
        " parse_attempts = 3"
    )

    told = run("jobs", "list", "--kind", "file")
    assert file_id in told.stdout and told.stdout.endswith("1 of 1 given up\n")
    assert run("jobs", "retry", file_id).stdout == "The worker does this file now.\n"

    async def parsed_again() -> bool:
        return bool(installation.rows("SELECT FROM files WHERE parse_status = 'parsed'"))

    await eventually(parsed_again)


async def test_a_person_is_erased_once_somebody_has_said_yes(installation: Installation, run: Run) -> None:
    ada, _ = await _with_a_file(installation)

    asked = run("users", "erase", ada.email, stdin="n\n")
    assert asked.returncode == 1 and installation.rows("SELECT FROM rooms") != []
    told = run("users", "erase", ada.email, "--json", stdin="y\n")
    assert json.loads(told.stdout) == {"id": str(ada.id), "state": "deleted", "forfeited": "0"}, told.stderr

    async def nothing_is_left() -> bool:
        return not installation.rows("SELECT id FROM rooms UNION ALL SELECT id FROM files")

    await eventually(nothing_is_left)
