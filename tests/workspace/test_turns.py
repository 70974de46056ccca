"""Turns over HTTP, with scripted models: who speaks in which mode, what is told, and what it costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

# It takes seconds, which an installation takes at its first turn; here no test should have to wait for it.
import pantheon.workspace.play_turn  # noqa: F401
from tests.installation import Installation, eventually
from tests.models.scripted_provider import DONE, USAGE, Script, answered, delta, event, streamed, whole
from tests.turns.metering import ALIAS, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]


@dataclass(frozen=True)
class Workplace:
    m: Metering
    headers: dict[str, str]

    @property
    def client(self) -> httpx2.AsyncClient:
        return self.m.installation.client

    async def post(self, path: str, **body: Any) -> httpx2.Response:
        return await self.client.post(f"/api/v1{path}", json=body, headers=self.headers)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(f"/api/v1{path}", headers=self.headers | headers)

    async def agent(self, key: str, **changes: Any) -> str:
        body = {"agent_key": key, "name": key.title(), "model_alias": ALIAS, "role_prompt": f"You are {key}."}
        made = await self.post("/agents", **body | {"tool_permissions": []} | changes)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def room(self, mode: str, *keys: str, **changes: Any) -> str:
        """A session in a new room with these agents."""
        room = (await self.post("/rooms", name="Room", current_mode=mode)).json()["id"]
        for key in keys:
            await self.post(f"/rooms/{room}/agents", agent_id=await self.agent(key, **changes))
        return str((await self.post(f"/rooms/{room}/sessions")).json()["id"])

    async def send(self, session: str, message: str, **changes: Any) -> httpx2.Response:
        return await self.post(f"/sessions/{session}/turns", message=message, **changes)

    async def said(self, session: str) -> list[tuple[str | None, str]]:
        messages = (await self.get(f"/sessions/{session}/messages")).json()["messages"]
        return [(message["agent_name"], message["content"]) for message in messages]

    async def events(self, turn_id: str, **headers: str) -> list[tuple[int, str, Any]]:
        return _events((await self.get(f"/turns/{turn_id}/events", **headers)).text)


def _events(text: str) -> list[tuple[int, str, Any]]:
    found = []
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


@asynccontextmanager
async def workplace(install: Install, *scripts: Script, **named: Any) -> AsyncIterator[Workplace]:
    async with metering(install, *scripts, **named) as m:
        yield Workplace(m, m.headers)


def heard(m: Metering, number: int) -> list[tuple[str, str]]:
    """Role and text of what the model was told in one of its calls."""
    return [(each["role"], each["content"]) for each in m.provider.asked[number].body["messages"]]


def asks(*calls: tuple[str, str]) -> Script:
    """A manager that asks agents."""
    told = [
        {"index": n, "id": f"t{n}", "type": "function",
         "function": {"name": "ask_agent", "arguments": json.dumps({"agent_key": key, "task": task})}}
        for n, (key, task) in enumerate(calls)
    ]  # fmt: skip
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return Script(
        [
            event(chunk | {"choices": [{"index": 0, "delta": {"tool_calls": told}, "finish_reason": None}]}),
            event(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            event({"id": "c", "choices": [], "usage": USAGE}),
            DONE,
        ]
    )


async def test_in_a_roundtable_all_speak_in_order_and_hear_those_before(install: Install) -> None:
    async with workplace(install, streamed("I say ", "one."), streamed("I say two.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        turn = await w.send(session, "What do you say?")

        assert turn.status_code == 201
        told = turn.json()
        assert (told["status"], told["mode"], told["assistant_output"]) == ("completed", "roundtable", "I say two.")
        assert await w.said(session) == [(None, "What do you say?"), ("Ada", "I say one."), ("Bob", "I say two.")]
        assert heard(w.m, 0) == [("system", "You are ada."), ("user", "What do you say?")]
        assert heard(w.m, 1) == [("system", "You are bob."), ("user", "What do you say?\n\n[Ada] I say one.")]
        # Both calls are paid for, and what was set aside for the turn is back.
        assert w.m.balances == (10**6 - 78, 0)
        assert (told["credits"], told["balance_after"], told["low_balance"]) == ("0.000000078", "0.000999922", True)
        assert told["receipt_ids"] == [str(receipt["id"]) for receipt in w.m.receipts]


async def test_in_the_next_turn_each_agent_takes_its_own_words_for_its_own(install: Install) -> None:
    async with workplace(install, streamed("Yes.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        await w.send(session, "First?")
        await w.send(session, "Second?")

        assert heard(w.m, 2) == [
            ("system", "You are ada."),
            ("user", "First?"),
            ("assistant", "Yes."),
            ("user", "[Bob] Yes.\n\nSecond?"),
        ]


async def test_in_manual_mode_only_tagged_agents_speak_in_the_order_of_their_tags(install: Install) -> None:
    async with workplace(install, streamed("Here.")) as w:
        session = await w.room("manual", "ada", "bob", "eve")
        await w.send(session, "@Eve and @ada, and mail me at x@bob.example")

        assert [name for name, _ in await w.said(session)] == [None, "Eve", "Ada"]


@pytest.mark.parametrize("message", ["Hello", "Hello @nobody", "mail@ada.example"])
async def test_manual_mode_without_a_valid_tag_is_refused_and_nothing_is_kept(install: Install, message: str) -> None:
    async with workplace(install, streamed("x")) as w:
        session = await w.room("manual", "ada")
        refused = await w.send(session, message)

        assert (refused.status_code, refused.json()["code"]) == (422, "no_valid_tagged_agents")
        assert "@ada" in refused.json()["detail"]
        assert (await w.said(session), w.m.balances) == ([], (10**6, 0))


async def test_an_empty_room_is_refused(install: Install) -> None:
    async with workplace(install, streamed("x")) as w:
        refused = await w.send(await w.room("roundtable"), "Hello")
        assert (refused.status_code, refused.json()["code"]) == (422, "no_room_agents")


async def test_a_manager_plans_asks_and_writes_the_answer(install: Install) -> None:
    scripts = [asks(("ada", "Find facts.")), streamed("Facts."), asks(("bob", "Check them.")), streamed("Checked."),
               streamed("The ", "answer.")]  # fmt: skip
    async with workplace(install, *scripts) as w:
        session = await w.room("orchestrator", "ada", "bob")
        turn = (await w.send(session, "Why?")).json()

        assert (turn["status"], turn["assistant_output"]) == ("completed", "The answer.")
        assert await w.said(session) == [
            (None, "Why?"),
            ("Ada", "Facts."),
            ("Bob", "Checked."),
            ("Manager", "The answer."),
        ]
        assert heard(w.m, 1)[-1] == ("user", "Why?\n\n[Task for Ada] Find facts.")
        assert w.m.balances == (10**6 - 5 * 39, 0)


async def test_a_manager_that_goes_round_in_circles_is_stopped(install: Install) -> None:
    loops: list[Script] = []
    for _ in range(2):
        loops += [asks(("ada", "Again.")), streamed("Yes.")]
    async with workplace(install, *loops, asks(("ada", "Again.")), streamed("Enough.")) as w:
        session = await w.room("orchestrator", "ada", "bob")
        turn = (await w.send(session, "Why?")).json()

        assert turn["assistant_output"] == "Enough."
        assert [name for name, _ in await w.said(session)] == [None, "Ada", "Ada", "Manager"]
        assert "was asked 2 times in a row" in w.m.provider.asked[-1].body["messages"][-1]["content"]


async def test_one_agent_answers_in_a_direct_conversation(install: Install) -> None:
    async with workplace(install, streamed("Hi.")) as w:
        agent = await w.agent("ada")
        session = (await w.post(f"/agents/{agent}/sessions")).json()["id"]
        turn = (await w.send(session, "Hello")).json()
        assert (turn["mode"], turn["assistant_output"]) == ("direct", "Hi.")
        assert 'pantheon_turns_total{status="completed"}' in (await w.client.get("/metrics")).text


async def test_everything_is_told_as_it_happens_and_can_be_told_again_from_anywhere(install: Install) -> None:
    async with workplace(install, streamed("one ", "two")) as w:
        session = await w.room("roundtable", "ada")
        path = f"/api/v1/sessions/{session}/turns/stream"
        answer = await w.client.post(path, json={"message": "Count"}, headers=w.headers)

        told = _events(answer.text)
        assert [name for _, name, _ in told] == [
            "turn_started",
            "step_started",
            "step_delta",
            "step_delta",
            "step_completed",
            "turn_completed",
        ]
        assert [number for number, _, _ in told] == list(range(1, 7))
        assert told[4][2]["credits"] == "0.000000039"
        turn_id = told[0][2]["turn_id"]
        assert await w.events(turn_id) == told
        assert await w.events(turn_id, **{"Last-Event-ID": "4"}) == told[4:]


async def test_who_leaves_loses_nothing_and_the_turn_goes_on(install: Install) -> None:
    rest = asyncio.Event()
    parts = [delta("one "), rest, delta("two"), delta("", "stop"), event({"choices": [], "usage": USAGE}), DONE]
    async with workplace(install, Script(parts)) as w:
        session = await w.room("roundtable", "ada")
        seen = ""
        async with w.client.stream(
            "POST", f"/api/v1/sessions/{session}/turns/stream", json={"message": "Count"}, headers=w.headers
        ) as stream:
            async for line in stream.aiter_lines():
                seen += line + "\n"
                if "one " in line:
                    break
        rest.set()

        before = _events(seen + "\n")
        turn_id = before[0][2]["turn_id"]
        after = await w.events(turn_id, **{"Last-Event-ID": str(before[-1][0])})
        assert "".join(data["text"] for _, name, data in before + after if name == "step_delta") == "one two"
        assert after[-1][1] == "turn_completed"
        assert w.m.balances == (10**6 - 39, 0)


async def test_a_stopped_turn_keeps_and_charges_what_was_said(install: Install) -> None:
    async with workplace(install, Script([delta("abc"), asyncio.Event()]), streamed("never")) as w:
        session = await w.room("roundtable", "ada", "bob")
        sending = asyncio.create_task(w.send(session, "Go on"))

        async def speaks() -> bool:
            return bool(w.m.installation.rows("SELECT FROM turn_events WHERE event = 'step_delta'"))

        await eventually(speaks)
        [turn] = w.m.installation.rows("SELECT id FROM turns")
        # Without a body.
        stopped = await w.client.post(f"/api/v1/turns/{turn['id']}/stop", headers=w.headers)
        assert stopped.status_code == 202

        told = (await sending).json()
        assert (told["status"], told["assistant_output"]) == ("stopped", "abc")
        assert await w.said(session) == [(None, "Go on"), ("Ada", "abc")]
        assert len(w.m.provider.asked) == 1
        [receipt] = w.m.receipts
        assert w.m.balances == (10**6 - receipt["charged"], 0)


async def test_stopping_one_agent_lets_the_next_speak(install: Install) -> None:
    async with workplace(install, Script([delta("abc"), asyncio.Event()]), streamed("my turn")) as w:
        session = await w.room("roundtable", "ada", "bob")
        sending = asyncio.create_task(w.send(session, "Go on"))

        async def speaks() -> bool:
            return bool(w.m.installation.rows("SELECT FROM turn_events WHERE event = 'step_delta'"))

        await eventually(speaks)
        [turn] = w.m.installation.rows("SELECT id FROM turns")
        await w.post(f"/turns/{turn['id']}/stop", agent_key="ada")

        assert (await sending).json()["status"] == "completed"
        assert await w.said(session) == [(None, "Go on"), ("Ada", "abc"), ("Bob", "my turn")]


async def test_two_messages_at_once_in_one_session_are_a_conflict(install: Install) -> None:
    waits = asyncio.Event()
    async with workplace(install, Script([waits, *streamed("x").parts])) as w:
        session = await w.room("roundtable", "ada")
        sending = asyncio.create_task(w.send(session, "One"))

        async def runs() -> bool:
            return bool(w.m.installation.rows("SELECT FROM turns"))

        await eventually(runs)
        assert (await w.send(session, "Two")).status_code == 409
        waits.set()
        assert (await sending).json()["status"] == "completed"
        assert w.m.balances == (10**6 - 39, 0)


async def test_without_credits_nothing_is_begun(install: Install) -> None:
    async with workplace(install, streamed("x"), funds=0) as w:
        session = await w.room("roundtable", "ada")
        refused = await w.send(session, "Hello")

        assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_credits")
        assert (await w.said(session), w.m.provider.asked) == ([], [])


async def test_a_model_that_fails_fails_the_turn_and_what_was_said_before_stays(install: Install) -> None:
    async with workplace(install, streamed("one"), answered({}, status=500)) as w:
        session = await w.room("roundtable", "ada", "bob")
        turn = (await w.send(session, "Hello")).json()

        assert (turn["status"], turn["error_code"]) == ("failed", "provider_unavailable")
        assert await w.said(session) == [(None, "Hello"), ("Ada", "one")]
        assert (await w.events(turn["id"]))[-1][1:][0] == "turn_failed"
        assert w.m.balances == (10**6 - 39, 0)


async def test_a_repeated_request_gets_the_same_turn(install: Install) -> None:
    async with workplace(install, streamed("x")) as w:
        session = await w.room("roundtable", "ada")
        path, headers = f"/api/v1/sessions/{session}/turns", w.headers | {"Idempotency-Key": "k1"}
        first = await w.client.post(path, json={"message": "Hello"}, headers=headers)
        again = await w.client.post(path, json={"message": "Hello"}, headers=headers)
        other = await w.client.post(path, json={"message": "Hallo"}, headers=headers)

        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
        assert again.json() == first.json()
        assert len(w.m.provider.asked) == 1


async def test_a_strangers_turn_is_not_there(install: Install) -> None:
    async with workplace(install, streamed("x")) as w:
        turn = (await w.send(await w.room("roundtable", "ada"), "Hello")).json()["id"]
        stranger = await w.m.installation.person(email="eve@example.com")
        for path in (f"/turns/{turn}", f"/turns/{turn}/events"):
            assert (await w.client.get(f"/api/v1{path}", headers=stranger.headers)).status_code == 404
        stopped = await w.client.post(f"/api/v1/turns/{turn}/stop", json={}, headers=stranger.headers)
        assert stopped.status_code == 404


async def test_what_does_not_fit_any_more_is_summarised_once_and_visibly(install: Install) -> None:
    long = "word " * 3000
    scripts = [streamed("Noted."), whole("They spoke of words."), streamed("Yes."), streamed("Again yes.")]
    async with workplace(install, *scripts) as w:
        session = await w.room("roundtable", "ada")
        await w.send(session, long)
        turn = (await w.send(session, long)).json()
        await w.send(session, "And now?")

        assert turn["status"] == "completed"
        assert [name for _, name, _ in await w.events(turn["id"])][1] == "context_summarised"
        assert [role for role, _ in heard(w.m, 2)] == ["system", "user"]
        assert heard(w.m, 2)[1][1].startswith("[Summary of what was said before]\nThey spoke of words.\n\nword word")
        # The summary is a call like any other, on the same turn, and the next turn begins with it.
        assert len(turn["receipt_ids"]) == 2
        assert heard(w.m, 3)[1][1].startswith("[Summary of what was said before]\nThey spoke of words.")


async def test_what_a_message_would_cost_is_told_before_it_is_sent(install: Install) -> None:
    async with workplace(install, streamed("x")) as w:
        session = await w.room("manual", "ada", "bob")
        told = (await w.get(f"/sessions/{session}/estimate?message=@bob+hello")).json()

        assert (told["mode"], told["agents"], told["turn_cap"]) == ("manual", ["bob"], "15")
        # A thousand tokens of output at 10, and a little for what is read.
        assert 10_000 < int(float(told["most"]) * 10**9) < 10_100
        assert (await w.get(f"/sessions/{session}/estimate?message=hello")).status_code == 422
        assert w.m.balances == (10**6, 0)


async def test_at_most_ten_agents_answer_one_message(install: Install) -> None:
    async with workplace(install, streamed("Yes.")) as w:
        session = await w.room("roundtable", *(f"agent{number}" for number in range(11)))
        await w.send(session, "Hello")
        assert len(w.m.provider.asked) == 10


async def test_a_turn_that_takes_too_long_is_ended_and_keeps_what_was_said(install: Install) -> None:
    async with workplace(install, Script([delta("abc"), asyncio.Event()]), turn_max_seconds=1) as w:
        session = await w.room("roundtable", "ada", "bob")
        turn = (await w.send(session, "Go on")).json()

        assert (turn["status"], turn["error_code"], turn["assistant_output"]) == ("failed", "turn_too_long", "abc")
        assert len(w.m.provider.asked) == 1
        assert w.m.balances == (10**6 - w.m.receipts[0]["charged"], 0)


async def test_a_message_that_no_model_here_can_read_is_refused_with_the_numbers(install: Install) -> None:
    async with workplace(install, streamed("x")) as w:
        session = await w.room("roundtable", "ada")
        refused = await w.send(session, "word " * 20_000)

        assert (refused.status_code, refused.json()["code"]) == (422, "context_budget_exceeded")
        assert refused.json()["context_tokens"] == 8192
        assert (await w.said(session), w.m.balances) == ([], (10**6, 0))


async def test_a_change_of_mode_begins_with_the_next_message(install: Install) -> None:
    async with workplace(install, streamed("Yes.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        [room] = w.m.installation.rows("SELECT id FROM rooms")
        changed = await w.client.patch(f"/api/v1/rooms/{room['id']}/mode", json={"mode": "manual"}, headers=w.headers)
        assert (changed.json()["current_mode"], changed.json()["pending_mode"]) == ("roundtable", "manual")

        assert (await w.send(session, "@bob only")).json()["mode"] == "manual"
        assert len(w.m.provider.asked) == 1
        [room] = w.m.installation.rows("SELECT current_mode, pending_mode FROM rooms")
        assert (room["current_mode"], room["pending_mode"]) == ("manual", None)


ANOTHER = """
    INSERT INTO turns
        (id, session_id, turn_index, mode, roster, user_input, status, leased_by, leased_until, created_at)
    SELECT gen_random_uuid(), %s, 0, 'manual', roster, 'x', 'running', leased_by, now() - interval '1 day', now()
    FROM turns RETURNING id
"""


async def test_a_process_renews_only_the_turns_that_it_works_on(install: Install) -> None:
    """One that bears its name, and whose work broke off, is for the recovery: else its session stayed locked."""
    async with workplace(install, Script([asyncio.Event()])) as w:
        it = w.m.installation
        session, other = await w.room("manual", "ada"), await w.room("manual", "bob")
        sending = asyncio.create_task(w.send(session, "@ada"))
        leases = "SELECT leased_until FROM turns WHERE session_id = %s"

        async def runs() -> bool:
            return bool(it.rows(leases, session))

        await eventually(runs)
        it.execute(ANOTHER, other)
        first = it.rows(leases, session)

        async def is_renewed() -> bool:
            return it.rows(leases, session) != first

        await eventually(is_renewed)
        assert it.rows("SELECT FROM turns WHERE session_id = %s AND leased_until > now()", other) == []
        [turn] = it.rows("SELECT id FROM turns WHERE session_id = %s", session)
        await w.post(f"/turns/{turn['id']}/stop")
        await sending


async def test_who_wants_all_of_a_turn_stopped_is_not_overruled_by_who_then_wants_less(install: Install) -> None:
    """As two tabs may ask while another process works on it, which looks each second."""
    async with workplace(install, streamed("x")) as w:
        it = w.m.installation
        await w.send(await w.room("manual", "ada"), "@ada")
        [turn] = it.rows(ANOTHER.replace("now() - interval '1 day'", "now()"), await w.room("manual", "bob"))
        wish = "SELECT stop_agent_key, stop_requested_at IS NOT NULL AS wished FROM turns WHERE id = %s"

        for key, left in (("bob", "bob"), (None, None), ("bob", None)):
            assert (await w.post(f"/turns/{turn['id']}/stop", agent_key=key)).status_code == 202
            assert it.rows(wish, turn["id"]) == [{"stop_agent_key": left, "wished": True}]
