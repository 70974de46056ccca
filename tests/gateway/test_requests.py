"""What a request may say. Nothing that is not understood is passed on, and nothing that is passed on is changed."""

import json
from typing import Any

import pytest

from pantheon import exact_json
from pantheon.api.gateway.chat_request import MAX_DEPTH, description, read_chat_request
from pantheon.errors import CallerError
from tests.gateway.conftest import asked
from tests.turns.metering import ALIAS, HELLO

IMAGE = "data:image/png;base64,iVBORw0KGgo="


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def function(**fields: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", **fields}}]


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


ASSISTANT_CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}

PASSED: list[dict[str, Any]] = [
    {"max_tokens": 5},
    {"max_completion_tokens": 5},
    {"temperature": 2, "top_p": 0, "frequency_penalty": -2, "presence_penalty": 2},
    {"stop": "x"},
    {"stop": ["a", "b", "c", "d"]},
    {"seed": -(2**63)},
    {"tools": function(description="d", parameters=nested(MAX_DEPTH - 1), strict=True), "tool_choice": "required"},
    {"tools": function(), "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
    {"logit_bias": {"50256": -100}, "logprobs": True, "top_logprobs": 20},
    {"reasoning_effort": "minimal", "verbosity": "low"},
    {"stream": True},
    {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "developer", "content": [{"type": "text", "text": "t"}]},
        ]
    },
    {"messages": user({"type": "text", "text": "t\u0000"}, {"type": "image_url", "image_url": {"url": IMAGE}})},
    {"messages": user({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}})},
    {"messages": [ASSISTANT_CALLS, {"role": "tool", "tool_call_id": "t1", "content": "x"}]},
    {"messages": HELLO * 1_000},
]


@pytest.mark.parametrize("changes", PASSED, ids=lambda changes: ",".join(changes))
def test_what_is_understood_is_passed_on_as_it_is(changes: dict[str, Any]) -> None:
    body = {"model": ALIAS, "messages": HELLO} | changes

    assert read_chat_request(json.dumps(body).encode()).body == body


def test_what_concerns_only_us_is_not_passed_on() -> None:
    ours = {
        "user": "ada",
        "safety_identifier": "ada",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "metadata": {"a": "b"},
        "modalities": ["text"],
        "service_tier": "auto",
        "store": False,
        "n": 1,
        "temperature": None,
        "functions": None,
        "no_such_thing": None,
    }
    body = {"model": ALIAS, "messages": HELLO, "stream": True, **ours, "stream_options": {"include_usage": True}}
    read = read_chat_request(json.dumps(body).encode())

    assert read.body == {"model": ALIAS, "messages": HELLO, "stream": True}
    assert (read.streams, read.wants_usage) == (True, True)


def test_what_answers_carry_may_be_sent_back() -> None:
    """Empty lists and nulls, as some providers add them and others refuse them, are left out."""
    empty = {"tool_calls": [], "refusal": None, "annotations": [], "audio": None, "function_call": None}
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    calls = {"role": "assistant", "content": None, "tool_calls": [ASSISTANT_CALLS["tool_calls"][0] | signed], **signed}
    messages = [{"role": "assistant", "content": "x", **empty}, calls, {"role": "user", "content": "y"}]
    read = read_chat_request(json.dumps({"model": ALIAS, "messages": messages}).encode())

    assert read.body["messages"] == [{"role": "assistant", "content": "x"}, *messages[1:]]


def test_numbers_keep_their_digits() -> None:
    numbers = '"temperature":0.10,"tools":[{"type":"function","function":{"name":"f","parameters":{"minimum":1.50}}}]'
    raw = f'{{"model":"{ALIAS}","messages":[{{"role":"user","content":"Hi"}}],{numbers}}}'

    assert exact_json.dumps(read_chat_request(raw.encode()).body) == raw


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"web_search_options": {}}, "web_search_options", "The parameter web_search_options is not supported here."),
    ({"models": ["a"]}, "models", "not supported"),
    ({"service_tier": "priority"}, "service_tier", "'auto' or 'default'"),
    ({"modalities": ["audio"]}, "modalities[0]", "'text'"),
    ({"functions": [{"name": "f"}]}, "functions", "not supported here. Use tools."),
    ({"function_call": "auto"}, "function_call", "Use tool_choice."),
    ({"model": None}, "model", "missing"),
    ({"n": 2}, "n", "less than or equal to 1"),
    ({"n": True}, "n", "valid integer"),
    ({"store": True}, None, "store must be false"),
    ({"model": 5}, "model", "valid string"),
    ({"model": 5.5}, "model", "must be a text"),
    ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": -1}, "max_tokens", "greater than or equal to 1"),
    ({"max_tokens": "5"}, "max_tokens", "valid integer"),
    ({"max_tokens": 1.5}, "max_tokens", "valid integer"),
    ({"max_tokens": 10**300}, "max_tokens", "valid integer"),
    ({"max_tokens": 5, "max_completion_tokens": 500}, None, "max_tokens or max_completion_tokens, not both"),
    ({"temperature": 2.1}, "temperature", "must be between 0 and 2"),
    ({"temperature": "1"}, "temperature", "must be a number"),
    ({"temperature": True}, "temperature", "must be a number"),
    ({"temperature": [1]}, "temperature", "must be a number"),
    ({"stop": []}, "stop", "at least 1"),
    ({"stop": list("abcde")}, "stop", "at most 4"),
    ({"stop": [""]}, "stop[0]", "at least 1"),
    ({"seed": 2**63}, "seed", "less than or equal"),
    ({"tools": []}, "tools", "at least 1"),
    ({"tools": function() * 129}, "tools", "at most 128"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "function"),
    ({"tools": function(name="a b")}, "tools[0].function.name", "pattern"),
    ({"tools": function(parameters=nested(MAX_DEPTH))}, "tools[0].function.parameters", "deeper than 40"),
    ({"tools": function(parameters=nested(900))}, "tools[0].function.parameters", "deeper than 40"),
    ({"tools": function(parameters={"a": [[]] * 20_000})}, "tools[0].function.parameters", "more than 20000 parts"),
    ({"tools": function(parameters={"a": [1] * 10_000}) * 2}, "tools", "more than 20000 parts together"),
    ({"tool_choice": "required"}, None, "tool_choice needs tools"),
    ({"tool_choice": "any"}, "tool_choice", "'none', 'auto' or 'required'"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "json_object"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
    ({"logit_bias": {"a": 1}}, "logit_bias.a", "pattern"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1", "less than or equal to 100"),
    ({"top_logprobs": 5}, None, "needs logprobs"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort", "minimal"),
    ({"stream": "yes"}, "stream", "valid boolean"),
    ({"stream_options": {"include_usage": True}}, None, "for streams only"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "not supported"),
    ({"metadata": {"a": 1}}, "metadata.a", "valid string"),
    ({"messages": []}, "messages", "at least 1"),
    ({"messages": HELLO * 1_001}, "messages", "at most 1000"),
    ({"messages": "Hello"}, "messages", "valid list"),
    ({"messages": [5]}, "messages[0]", "not supported"),
    ({"messages": [{"role": "function", "content": "x", "name": "f"}]}, "messages[0]", "not supported"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "valid string"),
    ({"messages": [{"role": "user", "content": 1.5}]}, "messages[0].content", "must be a text"),
    ({"messages": [{"role": "user", "content": "x", "extra": 1}]}, "messages[0].extra", "not supported"),
    ({"messages": [{"role": "assistant", "content": None}]}, "messages[0]", "content or tool_calls"),
    ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0]", "content or tool_calls"),
    (
        {"messages": [{"role": "assistant", "content": "x", "extra_content": {"type": "image_url"}}]},
        "messages[0].extra_content.google",
        "missing",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing"),
    ({"messages": user()}, "messages[0].content", "at least 1"),
    ({"messages": user({"type": "input_audio", "input_audio": {}})}, "messages[0].content[0]", "not supported"),
    (
        {"messages": user({"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}})},
        "messages[0].content[0].image_url",
        "https address",
    ),
    (
        {"messages": user({"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}})},
        "messages[0].content[0].image_url",
        "png, jpeg, webp or gif",
    ),
    # What is counted as an image must not be a text.
    (
        {"messages": user({"type": "image_url", "image_url": {"url": IMAGE}, "text": "x"})},
        "messages[0].content[0].text",
        "not supported",
    ),
    (
        {"messages": [ASSISTANT_CALLS | {"reasoning_details": [{"type": "image_url", "text": "x"}]}]},
        "messages[0].reasoning_details[0].type",
        "pattern",
    ),
]


@pytest.mark.parametrize(("changes", "param", "said"), REFUSED)
def test_what_is_not_understood_is_refused_by_its_name(changes: dict[str, Any], param: str | None, said: str) -> None:
    body = {name: value for name, value in asked().items() if name != "max_tokens"} | changes
    with pytest.raises(CallerError) as refused:
        read_chat_request(json.dumps(body).encode())

    assert refused.value.extras == {"param": param}
    assert said in refused.value.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a":NaN}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError):
        read_chat_request(raw)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_request_names_its_model_and_has_messages(missing: str) -> None:
    body = {name: value for name, value in asked().items() if name != missing}
    with pytest.raises(CallerError, match=f"The parameter {missing} is missing"):
        read_chat_request(json.dumps(body).encode())


def test_a_refusal_does_not_repeat_what_was_written() -> None:
    for body in (asked(**{"se cret\n" * 20: 1}), asked(metadata={"secret": 1}), asked(temperature="secret")):
        with pytest.raises(CallerError) as refused:
            read_chat_request(json.dumps(body).encode())
        assert len(refused.value.message) < 150
        assert "\n" not in refused.value.message


def test_the_description_needs_nothing_from_elsewhere() -> None:
    assert "$ref" not in json.dumps(description())
