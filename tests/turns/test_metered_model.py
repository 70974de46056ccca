"""The model that agents are given: whatever they do with it is metered call by call."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai import Agent

from pantheon import clock
from pantheon.errors import InsufficientCreditsError, ProviderUnavailableError
from pantheon.turns.admit_call import GRACE
from pantheon.turns.metered_model import MeteredModel
from tests.installation import Installation
from tests.models.scripted_provider import DONE, USAGE, Script, answered, delta, event, streamed, whole
from tests.turns.metering import ALIAS, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]


def model_of(m: Metering, **named: Any) -> MeteredModel:
    return MeteredModel(m.installation.runtime.meter, m.spender, named.pop("alias", ALIAS), **named)


def asks_for(tool: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": function}],
    }


agent = Agent()


@agent.tool_plain
def weather(city: str) -> str:
    return f"Rain in {city}"


async def test_an_agent_with_a_tool_pays_for_each_of_its_calls(install: Install) -> None:
    choice = {"index": 0, "message": asks_for("weather", city="Berne"), "finish_reason": "tool_calls"}
    first = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    async with metering(install, answered(first), whole("Take an umbrella.")) as m:
        model = model_of(m)
        result = await agent.run("What is the weather in Berne?", model=model)

        assert result.output == "Take an umbrella."
        assert (result.usage.input_tokens, result.usage.output_tokens) == (18, 6)
        assert m.provider.asked[1].body["messages"][-1]["content"] == "Rain in Berne"
        assert [receipt["charged"] for receipt in m.receipts] == [39, 39]
        assert [call.call.id for call in model.calls] == [receipt["id"] for receipt in m.receipts]
        assert m.balances == (10**6 - 78, 0)


async def test_a_streamed_answer_arrives_in_parts_and_is_metered(install: Install) -> None:
    rest = asyncio.Event()
    parts = [delta("one "), rest, delta("two"), delta("", "stop"), event({"choices": [], "usage": USAGE}), DONE]
    async with metering(install, Script(parts)) as m:
        texts = []
        async with agent.run_stream("Count", model=model_of(m)) as stream:
            async for text in stream.stream_text(delta=True, debounce_by=None):
                texts.append(text)
                rest.set()

        assert texts == ["one ", "two"]
        assert m.balances == (10**6 - 39, 0)


async def test_an_agent_without_credits_is_told_so(install: Install) -> None:
    async with metering(install, streamed("x"), funds=0) as m:
        with pytest.raises(InsufficientCreditsError):
            await agent.run("Hello", model=model_of(m))
        with pytest.raises(InsufficientCreditsError):
            async with agent.run_stream("Hello", model=model_of(m)):
                pass
        assert m.provider.asked == []


async def test_the_error_of_a_provider_is_the_one_that_everybody_else_gets(install: Install) -> None:
    async with metering(install, answered({}, status=500)) as m:
        with pytest.raises(ProviderUnavailableError):
            await agent.run("Hello", model=model_of(m))


async def test_an_agent_whose_time_is_over_before_it_is_answered_is_told_so(install: Install) -> None:
    async with metering(install, Script([asyncio.Event()])) as m:
        ends = clock.now() + GRACE + timedelta(seconds=0.5)
        run = await m.installation.runtime.meter.open_run(m.user_id, cap=10**5, least=1, expires_at=ends)
        with pytest.raises(ProviderUnavailableError):
            await agent.run("Hello", model=model_of(m, run=run))


async def test_the_demo_model_needs_no_key(install: Install) -> None:
    async with metering(install, streamed("x"), funds=10**9) as m:
        result = await agent.run("Hello there", model=model_of(m, alias="demo"))
        assert "demo model" in result.output
        assert len(m.receipts) == 1
