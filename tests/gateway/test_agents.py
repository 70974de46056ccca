"""Agents and rooms under OpenAI's API: they answer as a model does, and keep nothing of the conversation."""

import asyncio
from typing import Any

import openai
import pytest
import pytest_asyncio

from pantheon.users.rights import Scope
from tests.gateway.conftest import SHARED, Door, NewDoor
from tests.installation import eventually
from tests.models.scripted_provider import Script, answered, delta, streamed
from tests.workspace.test_turns import Workplace, asks, heard

pytestmark = SHARED

DEAR = {"prompt_tokens": 9, "completion_tokens": 100, "total_tokens": 109}


class Office(Workplace):
    """Of a person who calls their own agents and rooms with an API key."""

    def __init__(self, door: Door) -> None:
        super().__init__(door.metering, door.headers)
        self.door = door

    async def ask(self, model: str, messages: list[Any], **changes: Any) -> Any:
        return await self.door.openai.chat.completions.create(model=model, messages=messages, **changes)

    async def open_room(self, mode: str, *keys: str) -> str:
        """The name of its model."""
        session = await self.room(mode, *keys)
        [room] = self.m.installation.rows("SELECT room_id FROM chat_sessions WHERE id = %s", session)
        return f"room/{room['room_id']}"

    def sessions(self, which: str = "true") -> list[Any]:
        rows = self.m.installation.rows
        return rows(f"SELECT FROM chat_sessions WHERE user_id = %s AND {which}", self.m.user_id)


@pytest_asyncio.fixture(loop_scope="session")
async def office(new_door: NewDoor) -> Office:
    return Office(await new_door(Scope.MODELS_CALL, Scope.WORKSPACE))


def conversation() -> list[Any]:
    return [
        {"role": "user", "content": "My name is Eve."},
        {"role": "assistant", "content": "Hello Eve."},
        {"role": "user", "content": "Who am I?"},
    ]


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_agents_and_rooms_are_listed_for_keys_that_may_use_them(office: Office, door: Door) -> None:
    await office.agent("ada")
    room = await office.open_room("roundtable", "bob")
    gone = await office.agent("eve")
    await office.client.delete(f"/api/v1/agents/{gone}", headers=office.headers)

    listed = [model.id async for model in await office.door.openai.models.list()]
    assert listed[-3:] == ["agent/ada", "agent/bob", room]
    assert (await office.door.openai.models.retrieve("agent/ada")).id == "agent/ada"
    assert not [model.id async for model in await door.openai.models.list() if "/" in model.id]
    with pytest.raises(openai.NotFoundError):
        await door.openai.models.retrieve("agent/ada")


async def test_an_agent_answers_as_a_model(office: Office) -> None:
    office.door.plays(streamed("You are ", "Eve."))
    await office.agent("ada")
    answer = await office.ask("agent/Ada", conversation())

    assert answer.choices[0].message.content == "You are Eve."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 3)
    assert answer.usage.model_extra == {"cost": 0.000000039}
    assert answer.model_extra["pantheon"]["receipt_ids"] == [str(receipt["id"]) for receipt in office.m.receipts]
    assert heard(office.m, 0)[1] == ("user", "[user] My name is Eve.\n\n[assistant] Hello Eve.\n\nWho am I?")
    assert office.m.balances == (10**6 - 39, 0)

    # The conversation is the caller's to keep.
    async def is_forgotten() -> bool:
        return not office.sessions()

    await eventually(is_forgotten)


async def test_a_room_streams_what_each_of_its_agents_says(office: Office) -> None:
    office.door.plays(streamed("One."), streamed("Two."))
    room = await office.open_room("roundtable", "ada", "bob")
    stream = await office.ask(room, conversation(), stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "[Ada] One.\n\n[Bob] Two."
    assert chunks[-1].usage.completion_tokens == chunks[-2].model_extra["pantheon"]["usage"]["completion_tokens"] == 6
    assert office.m.balances == (10**6 - 78, 0)


async def test_each_word_follows_the_name_of_whose_it_is(office: Office) -> None:
    """A manager goes on in its own step when those whom it asked have spoken in theirs."""
    plan = Script([delta("I ask "), delta("Ada."), *asks(("ada", "Find facts.")).parts])
    office.door.plays(plan, streamed("Fa", "cts."), streamed("The ", "end."))
    room: Any = {"model": await office.open_room("orchestrator", "ada"), "messages": conversation()}
    async with office.door.openai.chat.completions.stream(**room) as stream:
        message = (await stream.get_final_completion()).choices[0].message

    assert message.content == "[Manager] I ask Ada.\n\n[Ada] Facts.\n\n[Manager] The end."
    # As it has to be when it is sent back.
    assert message.role == "assistant"


async def test_in_a_manual_room_only_the_last_message_calls_agents(office: Office) -> None:
    office.door.plays(streamed("Here."))
    room = await office.open_room("manual", "ada", "bob")
    before = [{"role": "user", "content": "@ada?"}, {"role": "assistant", "content": "[Ada] Ask @ada again."}]
    answer = await office.ask(room, [*before, {"role": "user", "content": [{"type": "text", "text": "And @bob?"}]}])

    assert answer.choices[0].message.content == "[Bob] Here."
    with pytest.raises(openai.UnprocessableEntityError, match="@ada, @bob"):
        await office.ask(room, [*before, *said("And?")])


async def test_what_chat_clients_send_to_any_model_is_left_to_the_agent(office: Office) -> None:
    office.door.plays(streamed("x"))
    await office.agent("ada")
    tuning = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "seed": 1, "presence_penalty": 0.1}
    tuning |= {"frequency_penalty": 0.1, "reasoning_effort": "low", "parallel_tool_calls": True, "logit_bias": {"1": 1}}
    ours = {"user": "ada", "metadata": {"chat": "1"}, "n": 1, "store": False, "service_tier": "auto"}
    as_usual = {"response_format": {"type": "text"}, "tool_choice": "auto", "logprobs": False}
    answer = await office.ask("agent/ada", conversation(), **tuning, **ours, **as_usual)

    assert answer.choices[0].message.content == "x"
    [asked] = office.m.provider.asked
    assert set(asked.body) == {"model", "messages", "stream", "stream_options", "max_completion_tokens"}
    assert asked.body["max_completion_tokens"] > 5


async def test_who_is_not_there_and_what_a_program_would_rely_on_is_refused(office: Office, door: Door) -> None:
    await office.agent("ada")
    for model in ("agent/nobody", "room/nowhere", "room/0197f0a0-0000-7000-8000-000000000000"):
        with pytest.raises(openai.NotFoundError):
            await office.ask(model, conversation())
    relied_on: list[dict[str, Any]] = [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"stop": "x"},
        {"logprobs": True},
    ]
    for changes in relied_on:
        with pytest.raises(openai.BadRequestError) as refused:
            await office.ask("agent/ada", conversation(), **changes)
        assert refused.value.param in changes
    for messages in (conversation()[:2], said(" "), said("nul\0")):
        with pytest.raises(openai.BadRequestError) as refused:
            await office.ask("agent/ada", messages)
        assert refused.value.param == "messages"
    with pytest.raises(openai.BadRequestError) as refused:
        await office.ask("agent/ada", said("word " * 8192))
    assert refused.value.code == "context_length_exceeded"
    # A key that may call models alone.
    await Office(door).agent("ada")
    with pytest.raises(openai.PermissionDeniedError):
        await Office(door).ask("agent/ada", conversation())
    assert (office.m.provider.asked, office.sessions("deleted_at IS NULL")) == ([], [])


async def test_an_agent_whose_model_fails_is_an_error_and_not_an_empty_answer(office: Office) -> None:
    office.door.plays(answered({}, status=500))
    await office.agent("ada")
    with pytest.raises(openai.InternalServerError, match="cannot be reached") as failed:
        await office.ask("agent/ada", conversation())
    # It has cost nothing, so it may be tried again.
    assert "x-should-retry" not in failed.value.response.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_fails_says_why_and_is_not_sent_again_where_it_cost_something(
    new_door: NewDoor, stream: bool
) -> None:
    office = Office(await new_door(Scope.MODELS_CALL, Scope.WORKSPACE, funds=3_000))
    office.door.plays(streamed("one", usage=DEAR), streamed("two"))
    room = await office.open_room("roundtable", "ada", "bob")
    heard = []
    with pytest.raises(openai.APIError) as failed:
        answer = await office.ask(room, conversation(), stream=stream)
        async for chunk in answer:
            heard.append(chunk.choices[0].delta.content)

    error: Any = failed.value.body
    assert (error["code"], error["type"]) == ("insufficient_credits", "insufficient_quota")
    assert (error["limit_source"], error["credits"]) == ("run", "0.000001009")
    assert error["receipt_ids"] == [str(receipt["id"]) for receipt in office.m.receipts]
    assert heard == ["[Ada] one"] * stream
    if not stream:
        assert isinstance(failed.value, openai.APIStatusError)
        assert (failed.value.status_code, failed.value.response.headers["x-should-retry"]) == (402, "false")


async def test_who_hangs_up_stops_the_turn_at_once_and_pays_for_what_was_said(office: Office) -> None:
    office.door.plays(Script([delta("abc"), asyncio.Event()]), streamed("never"))
    room = await office.open_room("roundtable", "ada", "bob")
    others = office.sessions()
    stream = await office.ask(room, conversation(), stream=True)
    assert (await anext(aiter(stream))).choices[0].delta.content == "[Ada] abc"
    # It is not among the sessions of the room meanwhile.
    assert office.sessions("deleted_at IS NULL") == others
    await stream.close()

    async def is_forgotten() -> bool:
        return office.sessions() == others

    # Sooner than a turn is looked at where nothing is heard of it.
    await eventually(is_forgotten, seconds=4)
    assert len(office.m.provider.asked) == 1
    [receipt] = office.m.receipts
    assert (receipt["body"]["usage"]["output"], receipt["body"]["stopped_by"]) == (1, "caller")
    assert office.m.balances == (10**6 - receipt["charged"], 0)
