"""Calls to a provider over HTTP: what comes through, what fails and how, and what is tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from pantheon import errors
from pantheon.exact_json import NumberLiteral
from pantheon.models.provider import Attempt, HttpProvider, Limits, shared_client
from tests.models.scripted_provider import (
    DONE,
    USAGE,
    Script,
    ScriptedProvider,
    answered,
    delta,
    event,
    serving,
    streamed,
    whole,
)

KEY = "sk-very-secret"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
LIMITS = Limits(
    connect_seconds=2, read_seconds=0.3, total_seconds=3, retry_seconds=(0, 0), answer_bytes=200_000, chunk_bytes=10_000
)

Start = Callable[..., Awaitable[tuple[ScriptedProvider, HttpProvider]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def started(*scripts: Script, limits: Limits = LIMITS) -> tuple[ScriptedProvider, HttpProvider]:
            upstream = await stack.enter_async_context(serving(ScriptedProvider(*scripts)))
            client = await stack.enter_async_context(shared_client(limits))
            return upstream, HttpProvider("scripted", upstream.url, SecretStr(KEY), client=client, limits=limits)

        yield started


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])


async def test_a_stream_comes_through_chunk_by_chunk_with_its_usage(start: Start) -> None:
    upstream, provider = await start(streamed("Hel", "lo"))
    attempts: list[Attempt] = []

    chunks = [chunk async for chunk in provider.stream(BODY, attempts=attempts)]

    assert text_of(chunks) == "Hello"
    assert chunks[-1]["usage"] == USAGE
    assert [(attempt.outcome, attempt.status) for attempt in attempts] == [("answered", 200)]
    assert upstream.asked[0].closed_at is None


async def test_what_is_asked_goes_through_unchanged_and_usage_is_always_asked_for(start: Start) -> None:
    upstream, provider = await start(streamed("x"))
    extra = {"tools": [{"type": "function", "function": {"name": "f"}}], "response_format": {"type": "json_object"}}
    extra |= {"unknown": {"field": [1, None]}, "temperature": NumberLiteral("0.10"), "stream_options": {"other": 1}}

    async for _ in provider.stream(BODY | extra):
        pass

    sent = upstream.asked[0]
    assert sent.body == BODY | extra | {
        "temperature": 0.1,
        "stream": True,
        "stream_options": {"other": 1, "include_usage": True},
    }
    assert sent.headers["authorization"] == f"Bearer {KEY}"


async def test_a_cost_is_read_as_it_was_written(start: Start) -> None:
    raw = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.1000000000000000055}}'
    _, provider = await start(Script([raw]))

    answer = await provider.complete(BODY)

    assert answer.body["usage"]["cost"] == "0.1000000000000000055"


async def test_an_answer_that_is_not_streamed_is_asked_for_without_options_of_streams(start: Start) -> None:
    upstream, provider = await start(whole("Hello"))

    answer = await provider.complete(BODY | {"stream": True, "stream_options": {"include_usage": True}})

    assert answer.body["choices"][0]["message"]["content"] == "Hello"
    assert upstream.asked[0].body == BODY | {"stream": False}


SAID = {"error": {"message": f"your prompt Hi, key {KEY}", "code": "context_length_exceeded", "param": "<b>"}}

FAILURES: dict[str, tuple[Script, type[errors.PantheonError], int]] = {
    "429": (answered({}, 429, retry_after="30"), errors.ProviderRateLimitedError, 1),
    "429 soon over": (answered({}, 429, retry_after="0"), errors.ProviderRateLimitedError, 3),
    "500": (answered(SAID, 500), errors.ProviderUnavailableError, 3),
    "503": (answered({}, 503), errors.ProviderUnavailableError, 3),
    "504": (answered({}, 504), errors.ProviderTimedOutError, 1),
    "400": (answered(SAID, 400), errors.ProviderRejectedError, 1),
    "404": (answered({}, 404), errors.ProviderRejectedError, 1),
    "401": (answered(SAID, 401), errors.ProviderKeyRefusedError, 1),
    "402": (answered({}, 402), errors.ProviderKeyRefusedError, 1),
    "403": (Script([b"<html>"], 403), errors.ProviderKeyRefusedError, 1),
    "a redirect": (answered({}, 307, location="http://127.0.0.1:1/"), errors.ProviderUnavailableError, 3),
    "garbage": (Script([b"\xff\xfe\x00 garbage"]), errors.ProviderUnavailableError, 3),
    "a list": (answered([1]), errors.ProviderUnavailableError, 3),
    "an error with status 200": (answered({"error": {"code": 429}}), errors.ProviderRateLimitedError, 3),
    "packed bytes": (Script([b"x"], headers={"content-encoding": "gzip"}), errors.ProviderUnavailableError, 3),
    "cut": (Script([b'{"a":', None]), errors.ProviderUnavailableError, 3),
    "hanging": (Script([0.8]), errors.ProviderTimedOutError, 1),
    "giant": (Script([b"x" * 50_000] * 6), errors.AnswerTooLargeError, 1),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_is_one_of_ours_and_says_nothing_of_the_request(start: Start, name: str) -> None:
    script, error, tries = FAILURES[name]
    upstream, provider = await start(script)
    attempts: list[Attempt] = []

    with pytest.raises(error) as failed:
        await provider.complete(BODY, attempts=attempts)

    assert len(upstream.asked) == len(attempts) == tries
    assert {attempt.outcome for attempt in attempts} == {error.code}
    assert KEY not in str(failed.value) + repr(failed.value.extras)
    assert "prompt" not in str(failed.value)


async def test_a_refused_request_says_why_in_the_providers_own_word(start: Start) -> None:
    _, provider = await start(answered(SAID, 400))

    with pytest.raises(errors.ProviderRejectedError, match=r"refused this request. It says: context_length_exceeded.$"):
        await provider.complete(BODY)


async def test_how_long_to_wait_is_handed_on(start: Start) -> None:
    _, provider = await start(answered({}, 429, retry_after="30"))

    with pytest.raises(errors.ProviderRateLimitedError) as failed:
        await provider.complete(BODY)

    assert failed.value.retry_after == 30


async def test_a_failure_before_any_output_is_tried_again(start: Start) -> None:
    upstream, provider = await start(answered({}, 500), Script([None]), streamed("Hello"))
    attempts: list[Attempt] = []

    chunks = [chunk async for chunk in provider.stream(BODY, attempts=attempts)]

    assert text_of(chunks) == "Hello"
    assert [attempt.outcome for attempt in attempts] == ["provider_unavailable", "provider_unavailable", "answered"]
    assert upstream.asked[0].body == upstream.asked[2].body


async def test_a_provider_that_is_not_there_is_unavailable(start: Start) -> None:
    async with shared_client(LIMITS) as client:
        provider = HttpProvider("gone", "http://127.0.0.1:1/v1", None, client=client, limits=LIMITS)

        with pytest.raises(errors.ProviderUnavailableError):
            await provider.complete(BODY)


MID_STREAM: dict[str, tuple[list[Any], type[errors.PantheonError]]] = {
    "cut": ([None], errors.StreamCutError),
    "ended early": ([], errors.StreamCutError),
    "garbage": ([b"data: {nonsense\n\n"], errors.StreamCutError),
    "half an event": ([b'data: {"choices": [{"del'], errors.StreamCutError),
    "an error chunk": (
        [event({"error": {"code": 502, "message": "x"}, "choices": []})],
        errors.ProviderUnavailableError,
    ),
    "an error event": ([b'event: error\ndata: {"type": "overloaded"}\n\n'], errors.ProviderUnavailableError),
    "an error as the reason": ([delta("", "error")], errors.ProviderUnavailableError),
    "silence": ([0.8], errors.ProviderTimedOutError),
    "a giant event": ([b"data: " + b"x" * 20_000], errors.AnswerTooLargeError),
    "a giant event of lines": ([b"data: " + b"x" * 9_000 + b"\n"] * 2, errors.AnswerTooLargeError),
    "too much": ([delta("x" * 5_000)] * 50, errors.AnswerTooLargeError),
}


@pytest.mark.parametrize("name", MID_STREAM)
async def test_after_output_a_failure_is_told_and_never_tried_again(start: Start, name: str) -> None:
    parts, error = MID_STREAM[name]
    upstream, provider = await start(Script([delta("Hel"), *parts]))
    attempts: list[Attempt] = []
    chunks = []

    with pytest.raises(error):
        async for chunk in provider.stream(BODY, attempts=attempts):
            chunks.append(chunk)

    assert text_of(chunks).startswith("Hel")
    assert len(upstream.asked) == len(attempts) == 1
    assert attempts[0].outcome in (error.code, "provider_unavailable")


async def test_bytes_may_be_torn_anywhere(start: Start) -> None:
    raw = b": a comment\r\n\r\n" + delta("H\u00e9").replace(b"\n", b"\r\n") + delta("llo", "stop") + DONE
    _, provider = await start(Script([raw[i : i + 1] for i in range(len(raw))]))

    assert text_of([chunk async for chunk in provider.stream(BODY)]) == "H\u00e9llo"


async def test_a_stream_without_an_end_mark_is_whole_when_it_named_its_reason(start: Start) -> None:
    _, provider = await start(Script([delta("Hi", "stop")]))

    assert text_of([chunk async for chunk in provider.stream(BODY)]) == "Hi"


async def test_the_whole_call_has_a_time_limit(start: Start) -> None:
    _, provider = await start(Script([delta("x"), 0.1] * 30), limits=Limits(read_seconds=1, total_seconds=0.4))
    began = monotonic()

    with pytest.raises(errors.ProviderTimedOutError):
        async for _ in provider.stream(BODY):
            pass

    assert monotonic() - began < 1.5


@pytest.mark.parametrize("way", ["closed", "cancelled"])
async def test_who_leaves_early_closes_the_connection_to_the_provider(start: Start, way: str) -> None:
    upstream, provider = await start(Script([delta("x"), 0.25] * 20))
    attempts: list[Attempt] = []
    reading = asyncio.Event()

    async def read(chunks_wanted: int) -> None:
        async with aclosing(provider.stream(BODY, attempts=attempts)) as chunks:
            async for _ in chunks:
                reading.set()
                chunks_wanted -= 1
                if not chunks_wanted:
                    return

    if way == "closed":
        await read(1)
    else:
        task = asyncio.create_task(read(100))
        await reading.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left = monotonic()
    async with asyncio.timeout(2):
        while upstream.asked[0].closed_at is None:
            await asyncio.sleep(0.005)

    assert upstream.asked[0].closed_at - left < 0.3
    assert [attempt.outcome for attempt in attempts] == ["closed"]


async def test_a_connection_is_used_again(start: Start) -> None:
    _, provider = await start(streamed("x"))
    pool = provider._client._transport._pool  # type: ignore[attr-defined]

    for _ in range(3):
        async for _chunk in provider.stream(BODY):
            pass

    assert len(pool.connections) == 1
