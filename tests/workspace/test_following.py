"""Whoever follows a turn, wherever and however often: each event once, in order, as soon as it happened."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import httpx2
import pytest

from pantheon.api.server import bind
from tests.crash.callers import serve, started
from tests.installation import NO_TLS, Installation, eventually
from tests.models.scripted_provider import Script, delta, streamed
from tests.workspace.scenes import Scene, calls, scenes, some_and_all
from tests.workspace.test_turns import Workplace, _events, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]
Event = tuple[int, str, dict[str, object]]


async def tab(w: Workplace, turn_id: str, *, after: int = 0, url: str = "") -> AsyncGenerator[Event]:
    """What somebody is shown who opens the turn, here or at the process at `url`."""
    headers = w.headers | ({"Last-Event-ID": str(after)} if after else {})
    async with (
        httpx2.AsyncClient(base_url=url or w.m.installation.url, timeout=30, verify=NO_TLS) as client,
        client.stream("GET", f"/api/v1/turns/{turn_id}/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        frame = ""
        async for line in answer.aiter_lines():
            if line:
                frame += line + "\n"
            else:
                for event in _events(frame):
                    yield event
                frame = ""


async def until(tab: AsyncGenerator[Event], word: str) -> list[Event]:
    """Of a tab that stays open."""
    seen = []
    async for event in tab:
        seen.append(event)
        if event[2].get("text") == word:
            return seen
    raise AssertionError(seen)


async def rest(tab: AsyncGenerator[Event]) -> list[Event]:
    return [event async for event in tab]


async def begun(w: Workplace, session: str, message: str = "Count.") -> tuple[str, asyncio.Task[httpx2.Response]]:
    """A turn that was sent and runs, and its answer to come."""
    sending = asyncio.create_task(w.send(session, message))
    query = "SELECT id FROM turns WHERE session_id = %s AND status = 'running'"

    async def runs() -> bool:
        return bool(w.m.installation.rows(query, session))

    await eventually(runs)
    return str(w.m.installation.rows(query, session)[0]["id"]), sending


@asynccontextmanager
async def another_process(w: Workplace) -> AsyncIterator[str]:
    """A second server of the same installation."""
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = started(serve, w.m, None, listener)
    listener.close()
    try:
        yield url
    finally:
        process.kill()
        await asyncio.to_thread(process.join, 30)


async def test_any_number_of_tabs_in_any_process_are_told_the_same_at_the_same_time(install: Install) -> None:
    wait = asyncio.Event()
    script = Script([delta("one "), wait, *streamed("two ", "three").parts])
    async with workplace(install, script) as w, another_process(w) as elsewhere:
        turn_id, sending = await begun(w, await w.room("roundtable", "ada"))
        tabs = [tab(w, turn_id), tab(w, turn_id), tab(w, turn_id, url=elsewhere), tab(w, turn_id, url=elsewhere)]
        async with asyncio.timeout(30):
            seen = await asyncio.gather(*(until(each, "one ") for each in tabs))
            # All of them are shown the first word before there is a second. One is closed then, and one of each comes.
            assert seen == [seen[0]] * 4
            last = seen[0][-1][0]
            await tabs.pop().aclose()
            tabs += [tab(w, turn_id, after=last), tab(w, turn_id, after=last, url=elsewhere)]
            wait.set()
            rests = await asyncio.gather(*map(rest, tabs))

        assert rests == [rests[0]] * 5
        told = [*seen[0], *rests[0]]
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        assert "".join(str(data["text"]) for _, name, data in told if name == "step_delta") == "one two three"
        assert told[-1][1] == "turn_completed"
        assert told == await w.events(turn_id)
        assert (await sending).json()["status"] == "completed"


async def test_a_browser_that_has_seen_the_end_is_told_to_stay_away(install: Install) -> None:
    """It connects again whenever a stream ends, and would wait for ever."""
    async with workplace(install, streamed("x")) as w:
        turn = (await w.send(await w.room("roundtable", "ada"), "Hello")).json()["id"]
        last = len(await w.events(turn))

        for number in (last, last + 1, 999_999_999):
            answer = await w.get(f"/turns/{turn}/events", **{"Last-Event-ID": str(number)})
            assert (answer.status_code, answer.content) == (204, b"")
        assert len(await w.events(turn, **{"Last-Event-ID": str(last - 1)})) == 1
        for wrong in ("-1", "x", "9" * 10):
            refused = await w.get(f"/turns/{turn}/events", **{"Last-Event-ID": wrong})
            assert refused.status_code == 422


async def test_a_number_that_no_event_has_does_not_keep_a_stream_open(install: Install) -> None:
    wait = asyncio.Event()
    async with workplace(install, Script([wait, *streamed("x").parts])) as w:
        turn_id, sending = await begun(w, await w.room("roundtable", "ada"))
        waiting = asyncio.create_task(rest(tab(w, turn_id, after=1000)))
        wait.set()

        await sending
        assert await asyncio.wait_for(waiting, 10) == []


async def test_each_word_of_an_agent_with_tools_is_told_as_it_comes(install: Install) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    looks = calls("file_read")
    scripts = [
        Script([delta("I "), first, delta("look."), *looks.parts]),
        Script([delta("It "), second, *streamed("rains.").parts]),
    ]
    async with workplace(install, *scripts) as w:
        session = await w.room("roundtable", "ada", tool_permissions=["file_read"])
        turn_id, sending = await begun(w, session)
        async with asyncio.timeout(30), aclosing(tab(w, turn_id)) as shown:
            # Each comes before its model says more.
            await until(shown, "I ")
            first.set()
            await until(shown, "look.")
            await until(shown, "\n\nIt ")
            second.set()
            last = await rest(shown)

        assert [name for _, name, _ in last] == ["step_delta", "step_completed", "turn_completed"]
        assert last[1][2]["content"] == "I look.\n\nIt rains."
        assert (await sending).json()["assistant_output"] == "I look.\n\nIt rains."


@some_and_all
async def test_who_leaves_a_turn_of_any_mode_lets_it_go_on_and_finds_all_of_it(
    install: Install, subtests: pytest.Subtests, chosen: Callable[[str], bool]
) -> None:
    async with workplace(install, streamed("x")) as w:
        for wait, scene in _with_waits():
            if not chosen(scene.name):
                continue
            with subtests.test(scene.name):
                w.m.installation.execute("UPDATE agents SET deleted_at = now()")
                session = await scene.session(w)
                path = f"/api/v1/sessions/{session}/turns/stream"
                text = ""
                async with w.client.stream("POST", path, json={"message": scene.message}, headers=w.headers) as stream:
                    async for line in stream.aiter_lines():
                        text += line + "\n"
                        if "one " in line:
                            break
                seen = _events(text)
                turn_id = seen[0][2]["turn_id"]
                wait.set()

                found = await w.events(turn_id, **{"Last-Event-ID": str(seen[-1][0])})
                assert found[-1][1:] == ("turn_completed", found[-1][2])
                assert seen + found == await w.events(turn_id)
                assert ("Ada", "I look. \n\none two" if scene.tools else "one two") in await w.said(session)
                assert w.m.balances == (10**6 - sum(receipt["charged"] for receipt in w.m.receipts), 0)


def _with_waits() -> list[tuple[asyncio.Event, Scene]]:
    found = []
    for number in range(8):
        wait = asyncio.Event()
        found.append((wait, list(scenes(wait))[number]))
    return found
