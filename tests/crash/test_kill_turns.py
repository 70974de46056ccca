"""A process that works on a turn is killed (kill -9): what was said is kept, what was noted is paid, none is held."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest

from pantheon.money.amounts import format_credits
from pantheon.runtime import Runtime
from pantheon.workspace.recover_turns import recover_turns
from tests.crash.callers import started
from tests.crash.processes import SECONDS
from tests.installation import Installation, eventually
from tests.models.scripted_provider import Script, delta, streamed
from tests.workspace.scenes import Scene, scenes
from tests.workspace.test_turns import workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def work_on(runtime: Runtime, user_id: UUID, session_id: str, message: str) -> None:
    """Begins a turn and works on it for as long as the process lives."""
    await runtime.turns.start(user_id=user_id, api_key_id=None, session_id=UUID(session_id), message=message)
    await asyncio.Event().wait()


# A pause and no event: an event belongs to the loop of the first test that waits for it.
SPEAKS_FOR_EVER = Script([delta("I say "), delta("this"), 3600])


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(scene, id=scene.name, marks=() if scene.name == "orchestrator_with_tools" else pytest.mark.prove)
        for scene in scenes(3600)
    ],
)
async def test_a_turn_whose_process_dies_is_ended_by_another(install: Install, scene: Scene) -> None:
    async with workplace(install, streamed("x")) as w:
        m, database = w.m, w.m.installation.runtime.database
        session = await scene.session(w)
        process = started(work_on, m, None, m.user_id, session, scene.message)

        async def is_noted() -> bool:
            noted = m.installation.rows("SELECT FROM calls WHERE state = 'open' AND delivered_output > 0")
            deltas = m.installation.rows("SELECT FROM turn_events WHERE data ->> 'text' LIKE '%%one '")
            return bool(noted and deltas)

        await eventually(is_noted, seconds=SECONDS)
        [turn] = m.installation.rows("SELECT id FROM turns")
        following = asyncio.create_task(w.events(str(turn["id"])))
        process.kill()
        process.join(SECONDS)

        settings = m.installation.runtime.settings
        assert await recover_turns(database, settings) == 0
        m.installation.execute("UPDATE turns SET leased_until = now() - interval '1 second'")
        assert await recover_turns(database, settings) == 1
        assert await recover_turns(database, settings) == 0

        told = (await w.get(f"/turns/{turn['id']}")).json()
        assert (told["status"], told["error_code"]) == ("failed", "turn_interrupted")
        ada = "I look. \n\none " if scene.tools else "one "
        assert told["assistant_output"] == ada
        messages = (await w.get(f"/sessions/{session}/messages")).json()["messages"]
        said = {each["agent_name"]: (each["content"], each["state"]) for each in messages[1:]}
        before = {
            "manual": {"Bob": ("And I say three.", "completed")},
            "orchestrator": {"Manager": ("Ada begins. ", "failed")},
        }
        assert said == {"Ada": (ada, "failed"), **before.get(scene.mode, {})}
        # Everything that was noted is paid, nothing is held, and whoever followed has seen the end.
        spent = sum(receipt["charged"] for receipt in m.receipts)
        assert m.balances == (10**6 - spent, 0)
        assert (told["credits"], told["receipt_ids"]) == (
            format_credits(spent),
            [str(receipt["id"]) for receipt in m.receipts],
        )
        assert m.installation.rows("SELECT FROM calls WHERE state = 'open'") == []
        assert m.receipts[-1]["body"]["quality"] == "estimated"
        events: list[Any] = await following
        assert (events[-1][1], [number for number, _, _ in events]) == ("turn_failed", list(range(1, len(events) + 1)))
        # The session is free for the next message.
        m.provider.scripts[:] = [streamed("Again.")]
        assert (await w.send(session, "@ada again")).json()["status"] == "completed"


async def test_what_was_written_down_but_not_told_is_not_written_twice(install: Install) -> None:
    async with workplace(install, streamed("First."), SPEAKS_FOR_EVER) as w:
        m = w.m
        session = await w.room("roundtable", "ada", "bob")
        process = started(work_on, m, "turn.message_stored", m.user_id, session, "Speak")
        await asyncio.to_thread(process.join, SECONDS)
        assert process.exitcode == -signal.SIGKILL

        m.installation.execute("UPDATE turns SET leased_until = now() - interval '1 second'")
        assert await recover_turns(m.installation.runtime.database, m.installation.runtime.settings) == 1

        assert await w.said(session) == [(None, "Speak"), ("Ada", "First.")]
        [turn] = m.installation.rows("SELECT status, error_code, assistant_output FROM turns")
        assert tuple(turn.values()) == ("failed", "turn_interrupted", "First.")
        assert m.balances == (10**6 - 39, 0)


async def test_a_stop_from_another_process_is_heard(install: Install) -> None:
    async with workplace(install, SPEAKS_FOR_EVER) as w:
        m = w.m
        session = await w.room("roundtable", "ada")
        process = started(work_on, m, None, m.user_id, session, "Speak")

        async def speaks() -> bool:
            return bool(m.installation.rows("SELECT FROM turn_events WHERE event = 'step_delta'"))

        await eventually(speaks, seconds=SECONDS)
        [turn] = m.installation.rows("SELECT id FROM turns")
        await w.post(f"/turns/{turn['id']}/stop")

        async def is_over() -> bool:
            return bool((await w.get(f"/turns/{turn['id']}")).json()["status"] == "stopped")

        await eventually(is_over, seconds=SECONDS)
        assert m.balances == (10**6 - m.receipts[0]["charged"], 0)
        process.kill()
        process.join(SECONDS)
