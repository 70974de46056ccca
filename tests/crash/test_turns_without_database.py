"""PostgreSQL is away in the middle of a turn: it goes on when that is back, and not a word is missing or told twice."""

import asyncio
import os
import signal
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest

from pantheon.db import embedded
from tests.installation import eventually, installed
from tests.models.scripted_provider import Script, delta, streamed
from tests.workspace.scenes import calls
from tests.workspace.test_following import begun, rest, tab, until
from tests.workspace.test_stopping import settled, states
from tests.workspace.test_turns import workplace


@pytest.mark.prove
async def test_a_turn_survives_a_database_that_is_away(home: Path) -> None:
    server, second_half = embedded.start(home), asyncio.Event()
    install = partial(installed, app_url=server.app_url, owner_url=server.owner_url)
    script = Script([delta("one "), second_half, *streamed("two ", "three").parts])
    scripts = [calls("ask_agent", ("ada", "Count."), says="Ada counts."), script, streamed("Done.")]
    async with workplace(install, *scripts, payments=False) as w:
        session = await w.room("orchestrator", "ada")
        turn_id, sending = await begun(w, session)

        async def is_away() -> bool:
            return (await w.get("/auth/me")).status_code == 503

        async with asyncio.timeout(100), aclosing(tab(w, turn_id)) as shown:
            seen = await until(shown, "one ")
            os.kill(server.pid, signal.SIGQUIT)
            await eventually(is_away)
            second_half.set()
            await asyncio.to_thread(embedded.start, home)
            seen += await rest(shown)

        turn = (await sending).json()
        assert (turn["status"], turn["assistant_output"]) == ("completed", "Done.")
        assert seen == await w.events(turn_id)
        assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
        assert await states(w, session) == [
            ("Ada", "one two three", "completed"),
            ("Manager", "Ada counts.\n\nDone.", "completed"),
        ]
        await settled(w)
