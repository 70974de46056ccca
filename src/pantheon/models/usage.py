"""What a provider says that a call used, whatever its dialect, as one `Usage` and the cost that it names.

A figure that contradicts another is not mended: no usage is reported then, and the caller's own count is used.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pantheon.exact_json import NumberLiteral
from pantheon.money.rate_card import Usage

NANO = 10**9
MAX_COST = 10**6 * NANO
"""A million dollars for one call is not believed."""

_PLAIN_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Reported:
    usage: Usage | None
    """None where the provider says nothing that can be believed."""
    cost: int | None
    """Nano-dollars that the provider says it takes, rounded up; None where it does not say."""


class _ContradictionError(ValueError):
    pass


def usage_of(chunk: Mapping[str, Any]) -> Any:
    """The provider's own usage object in an answer or in a chunk of a stream, where it is there."""
    if chunk.get("usage") is not None:
        return chunk["usage"]
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and groq.get("usage") is not None:
        return groq["usage"]
    choices = chunk.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0].get("usage")
    return None


def normalise(raw: Any) -> Reported:
    if not isinstance(raw, dict):
        return Reported(None, None)
    try:
        usage = _exclusive(raw) if "input_tokens" in raw and _counts_cache_apart(raw) else _inclusive(raw)
    except ValueError:
        usage = None
    return Reported(usage, _cost(raw))


def _counts_cache_apart(raw: Mapping[str, Any]) -> bool:
    return "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw


def _exclusive(raw: Mapping[str, Any]) -> Usage:
    """Anthropic's: what was read from the cache and written to it comes on top of the input."""
    cached = _count(raw, "cache_read_input_tokens") or 0
    written = _count(raw, "cache_creation_input_tokens") or 0
    return _believable(
        input=_needed(raw, "input_tokens") + cached + written,
        cached_input=cached,
        cache_write=written,
        output=_needed(raw, "output_tokens"),
        tool_calls=_tool_calls(raw),
    )


def _inclusive(raw: Mapping[str, Any]) -> Usage:
    input_tokens = _needed(raw, "prompt_tokens", "input_tokens")
    output = _needed(raw, "completion_tokens", "output_tokens")
    told = _details(raw, "prompt_tokens_details", "input_tokens_details")
    reasoning = _first(
        _count(_details(raw, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens"),
        _count(raw, "reasoning_tokens"),
    )
    output, reasoning = _with_reasoning(input_tokens, output, reasoning, _count(raw, "total_tokens"))
    return _believable(
        input=input_tokens,
        cached_input=_cached(raw, told, input_tokens),
        cache_write=_first(
            _count(told, "cache_write_tokens"),
            _count(told, "cache_creation_tokens"),
            _count(raw, "cache_creation_input_tokens"),
        )
        or 0,
        output=output,
        reasoning=reasoning,
        tool_calls=_tool_calls(raw),
    )


def _cached(raw: Mapping[str, Any], told: Mapping[str, Any], input_tokens: int) -> int:
    hit, miss = _count(raw, "prompt_cache_hit_tokens"), _count(raw, "prompt_cache_miss_tokens")
    if hit is not None and miss is not None and hit + miss != input_tokens:
        raise _ContradictionError("hits and misses are not the input")
    return (
        _first(
            _count(told, "cached_tokens"),
            hit,
            _count(raw, "cache_read_input_tokens"),
            _count(raw, "num_cached_tokens"),
            _count(raw, "cached_tokens"),
        )
        or 0
    )


def _with_reasoning(input_tokens: int, output: int, reasoning: int | None, total: int | None) -> tuple[int, int]:
    """Output with the reasoning in it. Some count it apart, and some name it only in the total."""
    if not total:
        # Without a total, more reasoning than output shows that it was counted apart.
        apart = reasoning is not None and reasoning > output
        return output + (reasoning or 0) * apart, reasoning or 0
    unnamed = total - input_tokens - output
    if unnamed == 0:
        return output, reasoning or 0
    if unnamed > 0 and reasoning in (None, 0, unnamed):
        return output + unnamed, unnamed
    raise _ContradictionError("the total is not the sum")


def _believable(**counts: int) -> Usage:
    if counts["input"] == 0:
        raise _ContradictionError("no call is without input")
    return Usage(**counts)


def _tool_calls(raw: Mapping[str, Any]) -> int:
    """Searches and the like that the provider ran by itself, each of which it bills."""
    used = _details(raw, "server_tool_use")
    return sum(_count(used, name) or 0 for name in used if name.endswith("_requests"))


def _cost(raw: Mapping[str, Any]) -> int | None:
    ticks = raw.get("cost_in_usd_ticks")
    if ticks is not None:
        exact = _number(ticks)
        return None if exact is None else _nano(exact / 10**10)
    exact = _number(raw.get("cost"))
    if exact is None:
        return None
    if raw.get("is_byok") is True:
        # With the operator's own key `cost` is only the router's fee; the provider bills its part itself.
        details = raw.get("cost_details")
        upstream = _number(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        if upstream is None:
            return None
        exact += upstream
    return _nano(exact)


def _nano(dollars: Fraction) -> int | None:
    nano = -(-dollars.numerator * NANO // dollars.denominator)
    return nano if nano <= MAX_COST else None


def _number(value: Any) -> Fraction | None:
    if isinstance(value, NumberLiteral):
        return Fraction(value) if _PLAIN_NUMBER.fullmatch(value) else None
    return Fraction(value) if type(value) is int and value >= 0 else None


def _details(raw: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        if raw.get(name) is not None:
            if not isinstance(raw[name], dict):
                raise _ContradictionError(f"{name} is not an object")
            return dict(raw[name])
    return {}


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise _ContradictionError(f"{name} is not a count")
    return value


def _first(*counts: int | None) -> int | None:
    """The first that says something: some name a bucket twice, once with nothing in it."""
    return next((count for count in counts if count), 0 if 0 in counts else None)


def _needed(raw: Mapping[str, Any], *names: str) -> int:
    found = [count for name in names if (count := _count(raw, name)) is not None]
    if not found:
        raise _ContradictionError(f"{names[0]} is missing")
    return found[0]
