"""The models that can be called, and other people's clients that call them."""

from typing import Any

import openai
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from pantheon.models.demo import CALL_TOOL
from pantheon.users.rights import Scope
from tests.gateway.conftest import SHARED, Door, NewDoor, asked
from tests.models.scripted_provider import DONE, USAGE, Script, answered, delta, event, streamed, whole
from tests.turns.metering import ALIAS

pytestmark = SHARED


async def test_only_models_that_can_be_called_here_are_listed(door: Door, new_door: NewDoor) -> None:
    models = [model async for model in await door.openai.models.list()]

    # The others of the card have no provider in this installation.
    assert [model.id for model in models] == ["demo", ALIAS]
    assert {(model.object, model.owned_by) for model in models} == {("model", "pantheon")}
    one = await door.openai.models.retrieve(ALIAS)
    assert (one.model_extra or {})["context_length"] == 8192
    for name in ("deepseek", "no/such/model"):
        with pytest.raises(openai.NotFoundError) as refused:
            await door.openai.models.retrieve(name)
        assert refused.value.code == "model_not_found"
    reader = await new_door(Scope.WALLET_READ)
    with pytest.raises(openai.PermissionDeniedError):
        await reader.openai.models.list()


async def test_the_demo_answers_whoever_has_credits(new_door: NewDoor) -> None:
    door = await new_door(funds=10**9)
    stream = await door.openai.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hello there"}], stream=True, max_tokens=20
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert "demo model" in text

    answer = await door.openai.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Hello there"}],
        response_format={"type": "json_object"},
    )
    assert (answer.choices[0].message.content or "").startswith('{"demo": true')
    assert [receipt["body"]["model_alias"] for receipt in door.receipts] == ["demo", "demo"]


def agent_of(door: Door, model: str) -> Agent[None, str]:
    agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(openai_client=door.openai)))

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"Rain in {city}"

    return agent


def asks_for_weather() -> dict[str, Any]:
    function = {"name": "weather", "arguments": '{"city":"Berne"}'}
    return {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": function}]}


async def test_an_agent_of_another_framework_works_with_tools(door: Door) -> None:
    message = {"role": "assistant", "content": None} | asks_for_weather()
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    first = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    door.plays(answered(first), whole("Take an umbrella."))
    result = await agent_of(door, ALIAS).run("The weather in Berne?", model_settings={"max_tokens": 100})

    assert result.output == "Take an umbrella."
    assert (result.usage.input_tokens, result.usage.output_tokens) == (18, 6)
    assert door.provider.asked[1].body["messages"][-1]["content"] == "Rain in Berne"
    assert [receipt["charged"] for receipt in door.receipts] == [39, 39]


async def test_an_agent_of_another_framework_streams_with_tools(door: Door) -> None:
    frame = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    calls = event(frame | {"choices": [{"index": 0, "delta": asks_for_weather(), "finish_reason": None}]})
    usage = event(frame | {"choices": [], "usage": USAGE})
    door.plays(Script([calls, delta("", "tool_calls"), usage, DONE]), streamed("Take ", "an umbrella."))
    agent = agent_of(door, ALIAS)
    async with agent.run_stream("The weather in Berne?", model_settings={"max_tokens": 100}) as stream:
        texts = [text async for text in stream.stream_text(delta=True, debounce_by=None)]

    assert texts == ["Take ", "an umbrella."]
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (18, 6)
    assert len(door.receipts) == 2


async def test_an_agent_of_another_framework_works_with_the_demo(new_door: NewDoor) -> None:
    door = await new_door(funds=10**9)
    result = await agent_of(door, "demo").run(f"The weather? {CALL_TOOL}")

    assert "the answer of a tool" in result.output
    assert len(door.receipts) == 2


async def test_nobody_sees_what_another_has_called(door: Door, new_door: NewDoor) -> None:
    receipt = (await door.post(asked())).headers["x-pantheon-receipt"]
    stranger = await new_door()
    path = f"/api/v1/receipts/{receipt}"
    own = await door.installation.client.get(path, headers=door.headers)
    others = await door.installation.client.get(path, headers=stranger.headers)

    assert (own.status_code, others.status_code) == (200, 404)
    assert own.json()["total_credits"] == "0.000000039"
