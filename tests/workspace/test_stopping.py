"""Whatever ends a turn early, in any mode: what was said is kept and paid for, and the rest is given back."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest

from tests.installation import Installation, eventually
from tests.models.scripted_provider import Script, answered, delta, streamed
from tests.workspace.scenes import scenes, some_and_all
from tests.workspace.test_following import begun, tab, until
from tests.workspace.test_tools import search_engine, uses
from tests.workspace.test_turns import Workplace, asks, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def heard(w: Workplace, turn_id: str, word: str) -> None:
    """Until somebody has said it."""
    async with asyncio.timeout(30), aclosing(tab(w, turn_id)) as shown:
        await until(shown, word)


async def settled(w: Workplace) -> None:
    """What was used is paid, nothing is held, and soon every call is written down as over."""
    assert w.m.balances == (10**6 - sum(receipt["charged"] for receipt in w.m.receipts), 0)
    await w.m.ended()


async def states(w: Workplace, session: str) -> list[tuple[str, str, str]]:
    messages = (await w.get(f"/sessions/{session}/messages")).json()["messages"]
    return [(each["agent_name"], each["content"], each["state"]) for each in messages[1:]]


@some_and_all
async def test_a_turn_of_any_mode_is_stopped_at_once(
    install: Install, subtests: pytest.Subtests, chosen: Callable[[str], bool]
) -> None:
    never = asyncio.Event()
    async with workplace(install, streamed("x")) as w:
        for scene in filter(lambda scene: chosen(scene.name), scenes(never)):
            with subtests.test(scene.name):
                w.m.installation.execute("UPDATE agents SET deleted_at = now()")
                session = await scene.session(w)
                turn_id, sending = await begun(w, session, scene.message)
                await heard(w, turn_id, "\n\none " if scene.tools else "one ")
                await w.post(f"/turns/{turn_id}/stop")
                turn = (await asyncio.wait_for(sending, 10)).json()

                assert (turn["status"], turn["error_code"]) == ("stopped", None)
                said = {name: (text, state) for name, text, state in await states(w, session)}
                assert said["Ada"] == ("I look. \n\none " if scene.tools else "one ", "stopped")
                if scene.mode == "orchestrator":
                    assert said["Manager"] == ("Ada begins. ", "stopped")
                assert ("Bob" in said) == (scene.mode == "manual")
                events = await w.events(turn_id)
                assert events[-1][1] == "turn_completed"
                assert len(turn["receipt_ids"]) == len(events[-1][2]["receipt_ids"])
                await settled(w)


async def test_one_agent_is_stopped_and_the_manager_goes_on_with_what_it_said(install: Install) -> None:
    """The first agent too, whose model is also the manager's."""
    scripts = [asks(("ada", "Begin.")), Script([delta("abc"), asyncio.Event()]), streamed("Done.")]
    async with workplace(install, *scripts) as w:
        session = await w.room("orchestrator", "ada", "bob")
        turn_id, sending = await begun(w, session)
        await heard(w, turn_id, "abc")
        await w.post(f"/turns/{turn_id}/stop", agent_key="Ada")
        turn = (await asyncio.wait_for(sending, 10)).json()

        assert (turn["status"], turn["assistant_output"]) == ("completed", "Done.")
        assert await states(w, session) == [("Ada", "abc", "stopped"), ("Manager", "Done.", "completed")]
        assert w.m.provider.asked[-1].body["messages"][-1]["content"] == "abc"
        await settled(w)


async def test_a_manager_that_is_stopped_has_answered_what_it_said_so_far(install: Install) -> None:
    scripts = [asks(("ada", "Find facts.")), streamed("Facts."), Script([delta("The ans"), asyncio.Event()])]
    async with workplace(install, *scripts) as w:
        session = await w.room("orchestrator", "ada")
        turn_id, sending = await begun(w, session)
        await heard(w, turn_id, "The ans")
        await w.post(f"/turns/{turn_id}/stop")
        turn = (await asyncio.wait_for(sending, 10)).json()

        assert (turn["status"], turn["assistant_output"]) == ("stopped", "The ans")
        assert await states(w, session) == [("Ada", "Facts.", "completed"), ("Manager", "The ans", "stopped")]
        await settled(w)


@pytest.mark.parametrize("mode", ["direct", "manual"])
async def test_where_only_one_agent_speaks_its_stop_ends_the_turn(install: Install, mode: str) -> None:
    async with workplace(install, streamed("x")) as w:
        [scene] = [each for each in scenes(asyncio.Event()) if each.mode == mode and not each.tools]
        session = await scene.session(w)
        turn_id, sending = await begun(w, session, scene.message)
        await heard(w, turn_id, "one ")
        for key in ("nobody", "ADA"):
            assert (await w.post(f"/turns/{turn_id}/stop", agent_key=key)).status_code == 202
        turn = (await asyncio.wait_for(sending, 10)).json()

        assert (turn["status"], turn["assistant_output"]) == ("completed", "one ")
        assert ("Ada", "one ", "stopped") in await states(w, session)
        await settled(w)


async def test_a_stop_between_two_agents_lets_nobody_else_speak(install: Install) -> None:
    async with workplace(install, streamed("One."), Script([asyncio.Event()])) as w:
        session = await w.room("roundtable", "ada", "bob")
        turns = w.m.installation.runtime.turns
        turn_id, sending = await begun(w, session)
        async with asyncio.timeout(30):
            async for event in turns.events.follow((await w.get(f"/turns/{turn_id}")).json()["id"]):
                if event is not None and event.event == "step_completed":
                    turns.stop_here(event.turn_id)
        turn = (await sending).json()

        assert turn["status"] == "stopped"
        assert await states(w, session) == [("Ada", "One.", "completed")]
        await settled(w)


async def test_a_turn_is_stopped_while_a_tool_works(install: Install) -> None:
    async with (
        search_engine(Script([asyncio.Event()])) as (engine, settings),
        workplace(install, uses("search", query="x"), streamed("never"), **settings) as w,
    ):
        session = await w.room("roundtable", "ada", tool_permissions=["search"])
        turn_id, sending = await begun(w, session)

        async def searches() -> bool:
            return bool(engine.asked)

        await eventually(searches)
        await w.post(f"/turns/{turn_id}/stop")

        assert (await asyncio.wait_for(sending, 10)).json()["status"] == "stopped"
        assert len(w.m.provider.asked) == 1
        await settled(w)


@pytest.mark.prove
@pytest.mark.parametrize("mode", ["roundtable", "orchestrator"])
async def test_the_time_of_a_turn_ends_while_a_tool_works(install: Install, mode: str) -> None:
    look = [Script([delta("I look."), *uses("search", query="x").parts]), streamed("never")]
    scripts = look if mode == "roundtable" else [asks(("ada", "Look.")), *look]
    async with (
        search_engine(Script([asyncio.Event()])) as (_, settings),
        workplace(install, *scripts, turn_max_seconds=5, **settings) as w,
    ):
        session = await w.room(mode, "ada", "bob", tool_permissions=["search"])
        turn = (await w.send(session, "Weather?")).json()

        assert (turn["status"], turn["error_code"]) == ("failed", "turn_too_long")
        assert await states(w, session) == [("Ada", "I look.", "stopped")]
        await settled(w)


LONG = "word " * 3000


async def with_a_past(w: Workplace, *scripts: Script) -> str:
    """A session in which the next answer needs a summary first."""
    w.m.provider.scripts[:] = [streamed("Noted.")]
    session = await w.room("roundtable", "ada")
    await w.send(session, LONG)
    w.m.provider.asked.clear()
    w.m.provider.scripts[:] = scripts
    return session


@pytest.mark.parametrize("ended_by", ["stop", pytest.param("time", marks=pytest.mark.prove)])
async def test_a_turn_is_ended_while_what_was_said_before_is_summarised(install: Install, ended_by: str) -> None:
    limits = {"turn_max_seconds": 5} if ended_by == "time" else {}
    async with workplace(install, streamed("x"), **limits) as w:
        session = await with_a_past(w, Script([asyncio.Event()]), streamed("never"))
        turn_id, sending = await begun(w, session, LONG)

        async def summarises() -> bool:
            return bool(w.m.provider.asked)

        await eventually(summarises)
        if ended_by == "stop":
            await w.post(f"/turns/{turn_id}/stop")
        turn = (await asyncio.wait_for(sending, 10)).json()

        assert turn["status"] == ("stopped" if ended_by == "stop" else "failed")
        assert len(w.m.provider.asked) == 1
        await settled(w)
        # What the summary has cost is in the turn's bill.
        bill = (await w.get(f"/turns/{turn_id}/receipt")).json()
        assert [receipt["id"] for receipt in bill["receipts"]] == turn["receipt_ids"] == [str(w.m.receipts[-1]["id"])]
        assert bill["total_credits"] == turn["credits"]


@pytest.mark.prove
@pytest.mark.parametrize("cut", [Script([delta("abc"), None]), answered({}, status=500)], ids=["cut", "refused"])
async def test_a_provider_that_fails_in_the_middle_of_any_mode_fails_the_turn(
    install: Install, subtests: pytest.Subtests, cut: Script
) -> None:
    async with workplace(install, streamed("x")) as w:
        for scene in scenes():
            with subtests.test(scene.name):
                w.m.installation.execute("UPDATE agents SET deleted_at = now()")
                session = await scene.session(w)
                # In Ada's place when she speaks for the last time.
                at = {"direct": 0, "manual": 1, "roundtable": 0, "orchestrator": 1}[scene.mode] + scene.tools
                w.m.provider.scripts[at:] = [cut]
                turn = (await w.send(session, scene.message)).json()

                assert turn["status"] == "failed"
                code = "provider_unavailable" if cut.status == 500 else "stream_cut"
                assert turn["error_code"] == code
                text = (
                    "I look. " * scene.tools
                    + "\n\n" * (scene.tools and cut.status == 200)
                    + "abc" * (cut.status == 200)
                )
                found = [(said, state) for name, said, state in await states(w, session) if name == "Ada"]
                assert found == ([(text, "failed")] if text else [])
                events = await w.events(turn["id"])
                assert (events[-1][1], events[-1][2]["code"]) == ("turn_failed", code)
                await settled(w)


async def test_what_no_database_takes_does_not_end_a_turn(install: Install) -> None:
    nul: Any = {"results": [{"title": "a\0b", "url": "u", "content": "c"}]}
    async with (
        search_engine(answered(nul)) as (_, settings),
        workplace(install, uses("search", query="a\0b"), streamed("a\0b"), **settings) as w,
    ):
        session = await w.room("roundtable", "ada", tool_permissions=["search"])
        turn = (await w.send(session, "Weather?")).json()

        assert (turn["status"], turn["assistant_output"]) == ("completed", "a\N{REPLACEMENT CHARACTER}b")
        await settled(w)
