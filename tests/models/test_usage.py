"""Usage in the dialects of the providers: golden rows, one for each shape that was seen."""

import json
from typing import Any

import pytest

from pantheon import exact_json
from pantheon.models.usage import Reported, normalise, usage_of
from pantheon.money.rate_card import Usage

GOLDEN: dict[str, tuple[str, Usage, int | None]] = {
    "openai": (
        """{"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0}}""",
        Usage(input=2006, cached_input=1920, output=300, reasoning=256),
        None,
    ),
    "openai responses": (
        """{"input_tokens": 75, "input_tokens_details": {"cached_tokens": 50}, "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 95}""",
        Usage(input=75, cached_input=50, output=20, reasoning=5),
        None,
    ),
    "openrouter": (
        """{"prompt_tokens": 194, "completion_tokens": 2, "total_tokens": 196, "cost": 1.95e-05, "is_byok": false,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 0},
            "cost_details": {"upstream_inference_cost": 0.00001}}""",
        Usage(input=194, cache_write=100, output=2),
        19_500,
    ),
    "openrouter with the operator's own key": (
        """{"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.0000005, "is_byok": true,
            "cost_details": {"upstream_inference_cost": 0.00001}}""",
        Usage(input=10, output=2),
        10_500,
    ),
    "openrouter with a search": (
        """{"prompt_tokens": 10, "completion_tokens": 2, "cost": 0.005,
            "server_tool_use": {"web_search_requests": 1}}""",
        Usage(input=10, output=2, tool_calls=1),
        5_000_000,
    ),
    "anthropic": (
        """{"input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 4000,
            "output_tokens": 393}""",
        Usage(input=4209, cached_input=4000, cache_write=188, output=393),
        None,
    ),
    "anthropic through a proxy that adds the cache": (
        """{"prompt_tokens": 4209, "completion_tokens": 393, "total_tokens": 4602,
            "cache_creation_input_tokens": 188, "cache_read_input_tokens": 4000}""",
        Usage(input=4209, cached_input=4000, cache_write=188, output=393),
        None,
    ),
    "deepseek": (
        """{"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200, "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 56, "completion_tokens_details": {"reasoning_tokens": 30},
            "prompt_tokens_details": {"cached_tokens": 64}}""",
        Usage(input=120, cached_input=64, output=80, reasoning=30),
        None,
    ),
    "gemini with its thoughts only in the total": (
        """{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}""",
        Usage(input=10, output=105, reasoning=100),
        None,
    ),
    "gemini with its thoughts in the output": (
        """{"prompt_tokens": 10, "completion_tokens": 105, "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100}}""",
        Usage(input=10, output=105, reasoning=100),
        None,
    ),
    "xai": (
        """{"prompt_tokens": 37, "completion_tokens": 9, "total_tokens": 376, "cost_in_usd_ticks": 12345,
            "prompt_tokens_details": {"text_tokens": 37, "cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 330}, "num_sources_used": 0}""",
        Usage(input=37, cached_input=8, output=339, reasoning=330),
        1_235,
    ),
    "xai without a total": (
        """{"prompt_tokens": 37, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 330}}""",
        Usage(input=37, output=339, reasoning=330),
        None,
    ),
    "mistral": (
        """{"prompt_tokens": 18, "completion_tokens": 37, "total_tokens": 55, "prompt_audio_seconds": null}""",
        Usage(input=18, output=37),
        None,
    ),
    "groq": (
        """{"queue_time": 0.03, "prompt_tokens": 11, "prompt_time": 0.0005, "completion_tokens": 7,
            "completion_time": 0.01, "total_tokens": 18, "total_time": 0.0105}""",
        Usage(input=11, output=7),
        None,
    ),
    "nothing was said": ('{"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}', Usage(input=11), None),
}


@pytest.mark.parametrize("family", GOLDEN)
def test_each_dialect_means_one_usage(family: str) -> None:
    raw, usage, cost = GOLDEN[family]

    assert normalise(exact_json.loads(raw.encode())) == Reported(usage, cost)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "12",
        {},
        {"prompt_tokens": 5},
        {"completion_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": -5},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": exact_json.NumberLiteral("5.5"), "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 9},
        {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 13, "reasoning_tokens": 2},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": "none"},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_cache_hit_tokens": 1, "prompt_cache_miss_tokens": 1},
        {"input_tokens": 5, "output_tokens": None, "cache_read_input_tokens": 1},
    ],
    ids=json.dumps,
)
def test_what_contradicts_itself_is_not_believed(raw: Any) -> None:
    assert normalise(raw).usage is None


@pytest.mark.parametrize("cost", ["-0.1", "1e999999999", "NaN", "Infinity", '"0.01"', "[]", "true", "1e7"])
def test_a_cost_that_is_no_amount_is_not_known(cost: str) -> None:
    raw = json.loads(
        f'{{"prompt_tokens": 1, "completion_tokens": 1, "cost": {cost}}}', parse_float=exact_json.NumberLiteral
    )

    assert normalise(raw) == Reported(Usage(input=1, output=1), None)


def test_a_cost_survives_usage_that_is_not_believed() -> None:
    assert normalise(exact_json.loads(b'{"cost": 0.0000000001}')) == Reported(None, 1)


@pytest.mark.parametrize(
    "chunk",
    [
        {"usage": {"prompt_tokens": 1}, "choices": []},
        {"x_groq": {"usage": {"prompt_tokens": 1}}, "choices": [{}]},
        {"usage": None, "choices": [{"usage": {"prompt_tokens": 1}}]},
    ],
)
def test_usage_is_found_where_providers_put_it(chunk: dict[str, Any]) -> None:
    assert usage_of(chunk) == {"prompt_tokens": 1}


@pytest.mark.parametrize("chunk", [{}, {"choices": []}, {"choices": [3], "x_groq": 4}, {"choices": [{"usage": None}]}])
def test_a_chunk_without_usage_has_none(chunk: dict[str, Any]) -> None:
    assert usage_of(chunk) is None
