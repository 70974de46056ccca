"""The demo model: the same two calls as every provider, the same answer each time."""

import json
from typing import Any

from pantheon.models.demo import CALL_TOOL, DemoProvider
from pantheon.models.tokens import most_input_tokens, text_tokens
from pantheon.models.usage import normalise

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}, "top": {"type": "integer"}}},
    },
}
DEMO = DemoProvider(pace_seconds=0)


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": text}]} | more


async def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    return (await DEMO.complete(body)).body["choices"][0]


async def test_a_stream_says_what_the_whole_answer_says_and_what_it_is() -> None:
    body = asking("How are you?")

    chunks = [chunk async for chunk in DEMO.stream(body)]
    whole = (await DEMO.complete(body)).body

    text = "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert "demo model" in text
    assert "How are you?" in text
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks == [chunk async for chunk in DEMO.stream(body)]


async def test_its_usage_is_believed_and_is_our_own_count() -> None:
    body = asking("How are you?", max_tokens=20)

    whole = (await DEMO.complete(body)).body

    usage = normalise(whole["usage"]).usage
    assert usage is not None
    assert usage.output == text_tokens(whole["choices"][0]["message"]["content"]) <= 20
    assert usage.input <= most_input_tokens(body)
    assert whole["choices"][0]["finish_reason"] == "length"


async def test_it_stops_where_it_is_told() -> None:
    choice = await answer_to(asking("Hi", stop=["not a real one"]))

    assert choice["message"]["content"] == "This is the built-in demo model of Pantheon, "
    assert choice["finish_reason"] == "stop"


async def test_it_calls_the_first_tool_when_asked_to_and_answers_after_it() -> None:
    body = asking(f"{CALL_TOOL} please", tools=[TOOL])

    choice = await answer_to(body)
    chunks = [chunk async for chunk in DEMO.stream(body)]

    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "look_up"
    assert json.loads(call["function"]["arguments"]) == {"query": "demo", "top": 1}
    assert any(c["delta"].get("tool_calls") == [{"index": 0} | call] for chunk in chunks for c in chunk["choices"])
    body["messages"] += [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "42"}]
    assert (await answer_to(body))["finish_reason"] == "stop"


async def test_json_is_answered_where_json_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "good": {"type": "boolean"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    free = await answer_to(asking("Hi", response_format={"type": "json_object"}))
    shaped = await answer_to(asking("Hi", response_format=wanted))

    assert json.loads(free["message"]["content"])["demo"] is True
    assert json.loads(shaped["message"]["content"]).keys() == {"title", "good"}
