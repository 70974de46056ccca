"""`pantheon chat`: what a person sees of a room in the terminal."""

import asyncio
from typing import Any

import pytest

from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from tests.cli.conftest import Install, Run
from tests.installation import TEST
from tests.models.scripted_provider import answered, streamed
from tests.workspace.test_turns import Workplace, workplace


async def chat(w: Workplace, run: Run, environment: dict[str, str], *arguments: str, stdin: str | None = None) -> Any:
    it = w.m.installation.runtime
    _, key = await create_api_key(
        it.database, it.settings, user_id=w.m.user_id, name="chat", scopes=[Scope.WORKSPACE], actor=TEST
    )
    environment |= {"PANTHEON_URL": w.m.installation.url, "PANTHEON_API_KEY": key}
    return await asyncio.to_thread(run, "chat", *arguments, stdin=stdin)


async def test_a_message_is_answered_as_it_is_written_with_names_and_cost(
    install: Install, run: Run, environment: dict[str, str]
) -> None:
    async with workplace(install, streamed("I say ", "one."), streamed("\x1b[31mI say two.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        told = await chat(w, run, environment, "--session", session, "-m", "What do you say?")

        assert told.returncode == 0, told.stderr
        assert "Ada › I say one.\n[0.000000039 credits]" in told.stdout
        # Nothing that a model writes may move the cursor or change colours.
        assert "Bob › \N{REPLACEMENT CHARACTER}[31mI say two." in told.stdout
        assert "[0.000000078 credits in all; 0.000999922 available, which is low]" in told.stdout


async def test_a_conversation_goes_on_line_by_line(install: Install, run: Run, environment: dict[str, str]) -> None:
    async with workplace(install, streamed("First."), streamed("Second.")) as w:
        await w.room("roundtable", "ada")
        [room] = w.m.installation.rows("SELECT id FROM rooms")
        told = await chat(w, run, environment, "--room", str(room["id"]), stdin="one\n\ntwo\n")

        assert told.returncode == 0, told.stderr
        assert told.stdout.index("First.") < told.stdout.index("Second.")


async def test_without_a_room_those_that_there_are_are_listed(
    install: Install, run: Run, environment: dict[str, str]
) -> None:
    async with workplace(install, streamed("x")) as w:
        assert "no rooms and no agents yet" in (await chat(w, run, environment)).stdout
        await w.room("manual", "ada")
        told = await chat(w, run, environment)
        assert "Room  (manual)" in told.stdout
        assert "@ada  Ada, scripted" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--room", "0197f0a0-0000-7000-8000-000000000000", "-m", "x"), "Room not found."),
        (("--session", "nonsense", "-m", "x"), "session_id"),
        (("--url", "http://127.0.0.1:9", "--room", "x"), "cannot be reached"),
    ],
)
async def test_what_is_wrong_is_said_in_one_line(
    install: Install, run: Run, environment: dict[str, str], arguments: tuple[str, ...], reason: str
) -> None:
    async with workplace(install, answered({})) as w:
        told = await chat(w, run, environment, *arguments)
        assert (told.returncode, told.stdout) == (1, "")
        assert reason in told.stderr
        assert "Traceback" not in told.stderr
