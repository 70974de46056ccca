"""Chat completions through OpenAI's own client, over HTTP, paid from a wallet."""

import asyncio
import json
from typing import Any
from uuid import UUID

from tests.gateway.conftest import SHARED, Door, NewDoor, asked
from tests.installation import eventually
from tests.models.scripted_provider import DONE, USAGE, Script, answered, delta, event, streamed, whole
from tests.turns.metering import ALIAS, HELLO

pytestmark = SHARED

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


async def test_an_answer_comes_in_openais_shape_with_what_it_cost(door: Door) -> None:
    told = {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.987654321,
    }
    door.plays(whole("One two.", told))
    raw = await door.openai.chat.completions.with_raw_response.create(**asked(temperature=0.5, user="ada", store=False))
    answer = raw.parse()

    [receipt] = door.receipts
    assert answer.choices[0].message.content == "One two."
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.id, answer.object, answer.model) == (f"chatcmpl-{receipt['id'].hex}", "chat.completion", ALIAS)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 5, 17)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2
    # 12 nanocredits for the input and 50 for the output, exactly; what the provider takes is not shown.
    assert '"cost":0.000000062,' in raw.text
    assert '"cost_details":{"quality":"provider"}' in raw.text
    assert "987654321" not in raw.text
    assert receipt["charged"] == 62
    assert UUID(raw.headers["x-pantheon-receipt"]) == receipt["id"]
    assert "x-pantheon-max-tokens" not in raw.headers
    pantheon = raw.http_response.json()["pantheon"]
    assert pantheon == {"receipt_id": str(receipt["id"]), "max_tokens": None, "stopped_by": None}

    [sent] = door.provider.asked
    assert sent.body == {
        "model": "model-of-theirs",
        "messages": HELLO,
        "max_tokens": 100,
        "temperature": 0.5,
        "stream": False,
    }
    [call] = door.calls
    [key] = door.installation.rows("SELECT id FROM api_keys WHERE user_id = %s", door.metering.user_id)
    assert call["api_key_id"] == key["id"]


async def test_chunks_leave_as_they_arrive_and_the_last_one_says_what_it_cost(door: Door) -> None:
    rest = asyncio.Event()
    usage = event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    door.plays(Script([delta("One "), rest, delta("two."), delta("", "stop"), usage, DONE]))
    stream = await door.openai.chat.completions.create(**asked(stream=True))
    chunks = aiter(stream)
    first = await anext(chunks)
    # The provider has not sent its second yet.
    assert not rest.is_set()
    rest.set()
    others = [chunk async for chunk in chunks]

    [receipt] = door.receipts
    chunks_seen = [first, *others]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks_seen) == "One two."
    assert {(chunk.id, chunk.model) for chunk in chunks_seen} == {(f"chatcmpl-{receipt['id'].hex}", ALIAS)}
    assert [chunk.choices[0].finish_reason for chunk in chunks_seen] == [None, None, "stop"]
    # Nobody asked for a chunk without choices.
    assert all(chunk.usage is None for chunk in chunks_seen)
    pantheon: Any = (chunks_seen[-1].model_extra or {})["pantheon"]
    assert (pantheon["receipt_id"], pantheon["stopped_by"]) == (str(receipt["id"]), None)
    assert (pantheon["usage"]["total_tokens"], pantheon["usage"]["cost"]) == (12, 3.9e-08)
    assert door.balances == (10**6 - 39, 0)


async def test_a_stream_ends_with_usage_where_it_was_asked_for(door: Door) -> None:
    door.plays(streamed("One ", "two."))
    answer = await door.post(asked(stream=True, stream_options={"include_usage": True}))

    events = answer.text.split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-pantheon-receipt"] == str(door.receipts[0]["id"])
    assert events[-2:] == ["data: [DONE]", ""]
    usage = json.loads(events[-3].removeprefix("data: "))
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 12)
    assert '"cost":0.000000039,' in events[-3]


async def test_tools_go_there_and_back(door: Door) -> None:
    function = {"name": "weather", "arguments": '{"city":"Berne"}'}
    calls = [{"id": "t1", "type": "function", "function": function}]
    # With what real providers add, which clients send back with the message.
    message = {"role": "assistant", "content": None, "tool_calls": calls, "refusal": None, "annotations": []}
    message["reasoning_details"] = [{"type": "reasoning.text", "text": "Rain?", "signature": "s", "index": 0}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    first = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    door.plays(answered(first), whole("Take an umbrella."))
    messages: list[Any] = [{"role": "user", "content": "The weather in Berne?"}]
    answer = await door.openai.chat.completions.create(**asked(messages=messages, tools=[WEATHER]))
    asks = answer.choices[0].message
    assert asks.tool_calls is not None
    messages += [asks, {"role": "tool", "tool_call_id": asks.tool_calls[0].id, "content": "Rain"}]
    answer = await door.openai.chat.completions.create(**asked(messages=messages, tools=[WEATHER]))

    assert answer.choices[0].message.content == "Take an umbrella."
    sent = door.provider.asked[1].body
    assert sent["tools"] == [WEATHER]
    assert [item["role"] for item in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["messages"][1]["tool_calls"] == calls
    assert sent["messages"][1]["reasoning_details"] == message["reasoning_details"]
    assert "annotations" not in sent["messages"][1]
    assert len(door.receipts) == 2


async def test_a_number_reaches_the_provider_as_it_was_written(door: Door) -> None:
    body = (
        b'{"model":"scripted","messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"top_p":0.10000000000000001,'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"minimum":1.50}}}}'
    )
    door.plays(whole("{}"))
    assert (await door.post(body)).status_code == 200

    sent = door.provider.asked[0].body
    # The scripted provider reads floats, so this shows only that they were numbers.
    assert sent["top_p"] == 0.1
    assert sent["response_format"]["json_schema"]["schema"] == {"minimum": 1.5}


async def test_short_funds_make_the_answer_shorter_and_say_so(new_door: NewDoor) -> None:
    door = await new_door(funds=4_000)
    for streams in (True, False):
        door.plays(_cut_short(streams))
        raw = await door.post(asked(max_tokens=900, stream=streams))

        most = int(raw.headers["x-pantheon-max-tokens"])
        assert 256 <= most < 400
        assert door.provider.asked[-1].body["max_tokens"] == most
        last = json.loads(raw.text.split("\n\n")[-3].removeprefix("data: ")) if streams else raw.json()
        assert last["choices"][0]["finish_reason"] == "length"
        assert last["pantheon"]["max_tokens"] == most
        assert last["pantheon"]["stopped_by"] == "credit_limit"


def _cut_short(streams: bool) -> Script:
    if streams:
        end = event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        return Script([delta("x"), delta("", "length"), end, DONE])
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
    return answered({"id": "c1", "choices": [choice], "usage": USAGE})


async def test_a_provider_that_does_not_stop_is_stopped(door: Door) -> None:
    never = asyncio.Event()
    door.plays(Script([*[delta("abcdefghij")] * 20, never]))
    stream = await door.openai.chat.completions.create(**asked(stream=True, max_tokens=10))
    chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices[0].finish_reason == "length"
    assert (chunks[-1].model_extra or {})["pantheon"]["stopped_by"] == "credit_limit"
    [receipt] = door.receipts
    [call] = door.calls
    # Ten tokens were set aside, and no more than those are paid for; the rest is the operator's.
    assert call["max_output"] == 10
    used = call["input_counted"] + 10 * receipt["body"]["usage"]["output"]
    assert receipt["charged"] + receipt["overrun"] == used
    assert receipt["overrun"] > 0
    assert door.balances == (10**6 - receipt["charged"], 0)


async def test_whoever_hangs_up_pays_for_what_they_were_given(door: Door) -> None:
    never = asyncio.Event()
    texts = ["abc", "def", "ghi"]
    door.plays(Script([*map(delta, texts), never, delta("jkl"), DONE]))
    stream = await door.openai.chat.completions.create(**asked(stream=True))
    chunks = aiter(stream)
    for _ in texts:
        await anext(chunks)
    await stream.close()
    await door.ended()

    [receipt] = door.receipts
    assert receipt["body"]["usage"]["output"] == len(texts)
    assert receipt["body"]["stopped_by"] == "caller"
    assert door.provider.asked[0].closed_at is not None


async def test_whoever_hangs_up_before_an_answer_in_one_piece_pays_for_the_question(door: Door) -> None:
    door.plays(Script([asyncio.Event()]))
    asking = asyncio.create_task(door.post(asked()))

    async def provider_asked() -> bool:
        return bool(door.provider.asked)

    await eventually(provider_asked)
    asking.cancel()
    await door.ended()

    [receipt] = door.receipts
    assert receipt["body"]["usage"]["output"] == 0
    assert receipt["charged"] == receipt["body"]["usage"]["input"]
    assert door.balances[1] == 0
