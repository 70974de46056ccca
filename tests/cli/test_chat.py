"""`pantheon chat`: what a person sees of a room in the terminal."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest

from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from tests.cli.conftest import PROGRAM, Install, Run
from tests.installation import TEST
from tests.models.scripted_provider import Script, answered, delta, streamed
from tests.workspace.scenes import calls
from tests.workspace.test_following import begun
from tests.workspace.test_turns import Workplace, workplace


async def key_of(w: Workplace) -> str:
    it = w.m.installation.runtime
    _, key = await create_api_key(
        it.database, it.settings, user_id=w.m.user_id, name="chat", scopes=[Scope.WORKSPACE], actor=TEST
    )
    return key


async def chat(w: Workplace, run: Run, environment: dict[str, str], *arguments: str, stdin: str | None = None) -> Any:
    environment |= {"PANTHEON_URL": w.m.installation.url, "PANTHEON_API_KEY": await key_of(w)}
    return await asyncio.to_thread(run, "chat", *arguments, stdin=stdin)


@asynccontextmanager
async def chatting(
    w: Workplace, environment: dict[str, str], url: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program at work, for those who talk with it meanwhile."""
    variables = environment | {"PANTHEON_URL": url, "PANTHEON_API_KEY": await key_of(w), "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "chat", *arguments, env=variables, stdout=PIPE, stderr=PIPE, stdin=DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def shown(process: asyncio.subprocess.Process, word: str) -> str:
    """What it shows up to this word."""
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(60):
        while word not in text:
            part = await process.stdout.read(1000)
            assert part, text
            text += part.decode()
    return text


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """An address that leads to `url`, and a way to cut all connections that go through it."""
    open_writers: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(4096):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        open_writers.update((writer, there[1]))
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    def cut() -> None:
        for writer in open_writers:
            writer.transport.abort()
        open_writers.clear()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
        cut()


async def test_a_message_is_answered_as_it_is_written_with_names_and_cost(
    install: Install, run: Run, environment: dict[str, str]
) -> None:
    async with workplace(install, streamed("I say ", "one."), streamed("\x1b[31mI say two.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        told = await chat(w, run, environment, "--session", session, "-m", "What do you say?")

        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith(
            "[roundtable: @ada, @bob; 0.000021034 credits if each answers once at full length"
        )
        assert "Ada › I say one.\n[Ada: 0.000000039 credits]" in told.stdout
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


async def test_a_manager_is_named_again_when_others_have_spoken(
    install: Install, run: Run, environment: dict[str, str]
) -> None:
    plan = calls("ask_agent", ("ada", "Find facts."), says="I ask Ada.")
    async with workplace(install, plan, streamed("Facts."), streamed("The end.")) as w:
        session = await w.room("orchestrator", "ada")
        told = await chat(w, run, environment, "--session", session, "-m", "Why?")

        lines = [line for line in told.stdout.splitlines() if line][1:-1]
        assert lines == [
            "Manager › I ask Ada.",
            "[asks Ada: Find facts.]",
            "Ada › Facts.",
            "[Ada: 0.000000039 credits]",
            "Manager › The end.",
            "[Manager: 0.000000078 credits]",
        ]


async def test_what_is_refused_does_not_end_a_conversation(
    install: Install, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "plan.txt").write_text("Ship it.")
    commands = ["/room", "/mode roundtable", "/mode x", "/upload nowhere", "/upload plan.txt", "/x"]
    stdin = "\n".join(["Hello", *commands, "Hi", "/quit", "never"])
    async with workplace(install, streamed("Yes."), worker=True) as w:
        session = await w.room("manual", "ada", tool_permissions=["file_read"])
        told = await chat(w, run, environment, "--session", session, stdin=stdin)

        assert told.returncode == 0, told.stderr
        assert "Write one of @ada." in told.stderr
        assert "mode: Input should be 'manual', 'roundtable' or 'orchestrator'" in told.stderr
        parts = [
            "/help tells",
            "Room (manual)\n  @ada  Ada, scripted, may use file_read",
            "roundtable, from your next message on.",
            "nowhere cannot be read: No such file or directory.",
            "plan.txt, 8 bytes, parsed",
            "There is no command /x.",
            "Ada › Yes.",
        ]
        places = [told.stdout.find(part) for part in parts]
        assert places == sorted(places) and -1 not in places, told.stdout
        assert len(w.m.provider.asked) == 1


async def test_who_cannot_pay_is_told_what_is_missing_and_where_to_get_it(
    install: Install, run: Run, environment: dict[str, str]
) -> None:
    async with workplace(install, streamed("x"), funds=0) as w:
        session = await w.room("roundtable", "ada")
        told = await chat(w, run, environment, "--session", session, "-m", "Hi")

        assert told.returncode == 1
        assert "Please top up your account. Needed: 0.000002" in told.stderr
        assert f"available: 0. {w.m.installation.url}/wallet" in told.stderr


async def test_a_lost_connection_is_made_again_and_nothing_is_missing_or_told_twice(
    install: Install, environment: dict[str, str]
) -> None:
    rest = asyncio.Event()
    script = Script([delta("one "), rest, *streamed("two").parts])
    async with workplace(install, script) as w, wire(w.m.installation.url) as (url, cut):
        session = await w.room("roundtable", "ada")
        async with chatting(w, environment, url, "--session", session, "-m", "Count.") as process:
            text = await shown(process, "one ")
            cut()
            text += await shown(process, "the connection was lost")
            rest.set()
            text += (await process.communicate())[0].decode()

        assert process.returncode == 0
        assert "Ada › one \n[the connection was lost, trying again …]" in text
        assert (text.count("one "), text.count("two"), text.count("credits in all")) == (1, 1, 1)
        assert len(w.m.provider.asked) == 1


async def test_ctrl_c_stops_a_turn_also_one_that_was_begun_elsewhere(
    install: Install, environment: dict[str, str]
) -> None:
    async with workplace(install, Script([delta("abc"), asyncio.Event()])) as w:
        session = await w.room("roundtable", "ada")
        _, sending = await begun(w, session)
        async with chatting(w, environment, w.m.installation.url, "--session", session) as process:
            text = await shown(process, "abc")
            process.send_signal(SIGINT)
            text += (await process.communicate())[0].decode()

        assert "This is being answered: Count." in text
        assert "[stopping …]" in text and "[Ada: stopped, " in text and "[stopped; " in text
        assert process.returncode == 0
        assert (await sending).json()["status"] == "stopped"


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
