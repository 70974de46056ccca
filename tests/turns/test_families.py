"""Each family of providers tells usage in its own way: through the meter it comes to the right charge, line by line.

The answers are in the shapes that were recorded of them, with other texts. What an answer says that it used is the same
whether it is streamed or not, so both come to the same receipt.
"""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from pantheon.money.rate_card import Meter, Rate
from pantheon.turns.rate_cards import Model
from tests.installation import Installation
from tests.models.scripted_provider import DONE, Script
from tests.turns.metering import ALIAS, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

# Nanocredits for one token or one call of a tool: different, so that none is mistaken for another.
INPUT, CACHED, WRITTEN, OUTPUT, REASONING, TOOL = 20, 2, 25, 100, 80, 5000
PRICES = dict(zip(Meter, (price * 10**6 for price in (INPUT, CACHED, WRITTEN, OUTPUT, REASONING, TOOL)), strict=True))
LONG = [{"role": "user", "content": "Hello " * 2200}]
"""So that what is set aside is enough for all that the answers say."""
MODEL = Model(Rate(model_alias=ALIAS, prices=PRICES), "scripted", "model-of-theirs", 8192, 1000)


@dataclass(frozen=True)
class Family:
    stream: list[str]
    """The data of each event."""
    whole: str
    lines: list[tuple[str, int, int]]
    """Meter, quantity and nanocredits."""
    cost: int | None = None
    """Nano-dollars that the provider names."""


def _openai() -> Family:
    usage = """{"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0, "accepted_prediction_tokens": 0}}"""
    head = '"id": "chatcmpl-1", "created": 1, "model": "gpt-5-2025-08-07", "service_tier": "default"'
    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": "", "refusal": null}', more=', "usage": null'),
            _chunk(head, '{"content": "Hello"}', more=', "usage": null'),
            _chunk(head, "{}", '"stop"', more=', "usage": null'),
            f'{{{head}, "object": "chat.completion.chunk", "choices": [], "usage": {usage}}}',
        ],
        _whole(head, usage),
        [
            ("input_tokens", 86, 86 * INPUT),
            ("cached_input_tokens", 1920, 1920 * CACHED),
            ("output_tokens", 44, 44 * OUTPUT),
            ("reasoning_tokens", 256, 256 * REASONING),
        ],
    )


def _anthropic_through_openrouter() -> Family:
    usage = """{"prompt_tokens": 4209, "completion_tokens": 393, "total_tokens": 4602, "cost": 1.37295e-02,
        "is_byok": false, "prompt_tokens_details": {"cached_tokens": 4000, "cache_write_tokens": 188},
        "cost_details": {"upstream_inference_cost": null}, "completion_tokens_details": {"reasoning_tokens": 120},
        "server_tool_use": {"web_search_requests": 2}}"""
    head = '"id": "gen-1", "provider": "Anthropic", "model": "anthropic/claude-sonnet-4.5", "created": 1'
    delta = """{"role": "assistant", "content": "", "reasoning": "Think.",
        "reasoning_details": [{"type": "reasoning.text", "text": "Think."}]}"""
    return Family(
        [
            _chunk(head, delta),
            _chunk(head, '{"role": "assistant", "content": "Hello"}'),
            _chunk(head, '{"role": "assistant", "content": ""}', '"stop"'),
            _chunk(head, '{"role": "assistant", "content": ""}', more=f', "usage": {usage}'),
        ],
        _whole(head, usage),
        [
            ("input_tokens", 21, 21 * INPUT),
            ("cached_input_tokens", 4000, 4000 * CACHED),
            ("cache_write_tokens", 188, 188 * WRITTEN),
            ("output_tokens", 273, 273 * OUTPUT),
            ("reasoning_tokens", 120, 120 * REASONING),
            ("tool_calls", 2, 2 * TOOL),
        ],
        cost=13_729_500,
    )


def _anthropic_through_a_proxy() -> Family:
    """In Anthropic's own words, where the cache comes on top of the input."""
    usage = """{"input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 4000,
        "output_tokens": 393}"""
    head = '"id": "msg_1", "model": "claude-haiku-4-5", "created": 1'
    return Family(
        [_chunk(head, '{"content": "Hello"}'), _chunk(head, "{}", '"stop"', more=f', "usage": {usage}')],
        _whole(head, usage),
        [
            ("input_tokens", 21, 21 * INPUT),
            ("cached_input_tokens", 4000, 4000 * CACHED),
            ("cache_write_tokens", 188, 188 * WRITTEN),
            ("output_tokens", 393, 393 * OUTPUT),
        ],
    )


def _gemini() -> Family:
    """Tells with every chunk how far it is, and of its thoughts only in the total."""
    head = '"id": "aGVsbG8", "created": 1, "model": "gemini-2.5-flash"'

    def usage(output: int) -> str:
        return f'{{"prompt_tokens": 10, "completion_tokens": {output}, "total_tokens": {110 + output}}}'

    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": "Hel"}', more=f', "usage": {usage(2)}'),
            _chunk(head, '{"role": "assistant", "content": "lo"}', '"stop"', more=f', "usage": {usage(5)}'),
        ],
        _whole(head, usage(5)),
        [
            ("input_tokens", 10, 10 * INPUT),
            ("output_tokens", 5, 5 * OUTPUT),
            ("reasoning_tokens", 100, 100 * REASONING),
        ],
    )


def _deepseek() -> Family:
    usage = """{"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200, "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 56, "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30}}"""
    head = '"id": "0b1c", "created": 1, "model": "deepseek-reasoner", "system_fingerprint": "fp_1"'
    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": null, "reasoning_content": ""}'),
            _chunk(head, '{"content": null, "reasoning_content": "Think."}'),
            _chunk(head, '{"content": "Hello", "reasoning_content": null}'),
            _chunk(head, '{"content": "", "reasoning_content": null}', '"stop"', more=f', "usage": {usage}'),
        ],
        _whole(head, usage),
        [
            ("input_tokens", 56, 56 * INPUT),
            ("cached_input_tokens", 64, 64 * CACHED),
            ("output_tokens", 50, 50 * OUTPUT),
            ("reasoning_tokens", 30, 30 * REASONING),
        ],
    )


def _mistral() -> Family:
    usage = '{"prompt_tokens": 18, "completion_tokens": 37, "total_tokens": 55, "prompt_audio_seconds": null}'
    head = '"id": "cmpl-1", "created": 1, "model": "mistral-small-latest"'
    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": ""}'),
            _chunk(head, '{"content": "Hello"}'),
            _chunk(head, '{"content": ""}', '"stop"', more=f', "usage": {usage}'),
        ],
        _whole(head, usage),
        [("input_tokens", 18, 18 * INPUT), ("output_tokens", 37, 37 * OUTPUT)],
    )


def _groq() -> Family:
    usage = """{"queue_time": 0.0338, "prompt_tokens": 110, "prompt_time": 0.0005, "completion_tokens": 7,
        "completion_time": 0.01, "total_tokens": 117, "total_time": 0.0105,
        "prompt_tokens_details": {"cached_tokens": 64}}"""
    head = '"id": "chatcmpl-1", "created": 1, "model": "llama-3.3-70b-versatile", "system_fingerprint": "fp_1"'
    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": ""}', more=', "x_groq": {"id": "req_1"}'),
            _chunk(head, '{"content": "Hello"}'),
            _chunk(head, "{}", '"stop"', more=f', "x_groq": {{"id": "req_1", "usage": {usage}}}'),
        ],
        _whole(head, usage),
        [
            ("input_tokens", 46, 46 * INPUT),
            ("cached_input_tokens", 64, 64 * CACHED),
            ("output_tokens", 7, 7 * OUTPUT),
        ],
    )


def _xai() -> Family:
    """Counts its reasoning apart from the output, and names the cost in ticks, 10**10 of which are a dollar."""
    usage = """{"prompt_tokens": 37, "completion_tokens": 9, "total_tokens": 376,
        "prompt_tokens_details": {"text_tokens": 37, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 330, "audio_tokens": 0}, "num_sources_used": 0,
        "cost_in_usd_ticks": 12345}"""
    head = '"id": "1f2e", "created": 1, "model": "grok-4", "system_fingerprint": "fp_1"'
    return Family(
        [
            _chunk(head, '{"role": "assistant", "content": ""}'),
            _chunk(head, '{"content": "Hello"}', '"stop"'),
            f'{{{head}, "object": "chat.completion.chunk", "choices": [], "usage": {usage}}}',
        ],
        _whole(head, usage),
        [
            ("input_tokens", 29, 29 * INPUT),
            ("cached_input_tokens", 8, 8 * CACHED),
            ("output_tokens", 9, 9 * OUTPUT),
            ("reasoning_tokens", 330, 330 * REASONING),
        ],
        cost=1_235,
    )


def _chunk(head: str, delta: str, reason: str = "null", *, more: str = "") -> str:
    choice = f'{{"index": 0, "delta": {delta}, "logprobs": null, "finish_reason": {reason}}}'
    return f'{{{head}, "object": "chat.completion.chunk", "choices": [{choice}]{more}}}'


def _whole(head: str, usage: str) -> str:
    choice = '{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}'
    return f'{{{head}, "object": "chat.completion", "choices": [{choice}], "usage": {usage}}}'


FAMILIES = {
    "OpenAI": _openai(),
    "Anthropic through OpenRouter": _anthropic_through_openrouter(),
    "Anthropic through a proxy": _anthropic_through_a_proxy(),
    "Gemini": _gemini(),
    "DeepSeek": _deepseek(),
    "Mistral": _mistral(),
    "Groq": _groq(),
    "xAI": _xai(),
}


async def test_what_each_family_tells_comes_to_the_right_charge(install: Install) -> None:
    """In one installation: each call has a receipt of its own."""
    expected = [_charge(family) for family in FAMILIES.values() for _ in ("streamed", "whole")]
    scripts = [
        script for family in FAMILIES.values() for script in (_streamed(family), Script([family.whole.encode()]))
    ]
    async with metering(install, *scripts, funds=10**9, model=MODEL, worker=False, payments=False) as m:
        for _ in FAMILIES:
            assert [await _text(m, stream=streams) for streams in (True, False)] == ["Hello", "Hello"]

        named = [f"{family}, {how}" for family in FAMILIES for how in ("streamed", "whole")]
        found = [_billed(receipt) for receipt in m.receipts]
        assert dict(zip(named, found, strict=True)) == dict(zip(named, expected, strict=True))
        assert m.balances == (10**9 - sum(charge["charged"] for charge in expected), 0)


def _streamed(family: Family) -> Script:
    events = [b"data: " + json.dumps(json.loads(data)).encode() + b"\n\n" for data in family.stream]
    return Script([b": a comment, as some send to keep the connection\n\n", *events, DONE])


async def _text(m: Any, *, stream: bool) -> str:
    call = await m.start(stream=stream, messages=LONG, max_tokens=1000)
    parts = [
        chunk["choices"][0]["delta" if stream else "message"].get("content") or "" async for chunk in call.chunks()
    ]
    return "".join(parts)


def _charge(family: Family) -> dict[str, Any]:
    return {
        "quality": "provider",
        "lines": family.lines,
        "charged": sum(amount for _, _, amount in family.lines),
        "cost": family.cost,
    }


def _billed(receipt: dict[str, Any]) -> dict[str, Any]:
    body = receipt["body"]
    return {
        "quality": body["quality"],
        "lines": [(line["meter"], line["quantity"], line["amount"]) for line in body["lines"]],
        "charged": receipt["charged"],
        "cost": body["provider_cost"],
    }
