"""Price lists of others: exact, or refused with a reason."""

from typing import Any

import pytest

from pantheon import exact_json
from pantheon.models.prices import from_genai_prices, from_openrouter
from pantheon.money.rate_card import Meter


def listed(**pricing: Any) -> dict[str, Any]:
    return {"data": [{"id": "maker/model", "pricing": pricing}]}


def test_prices_for_a_token_become_whole_costs_for_a_million() -> None:
    pricing = {
        "prompt": "0.00000025",
        "completion": "0.000002",
        "input_cache_read": "0.000000025",
        "input_cache_write": "0.0000003125",
        "internal_reasoning": "0.000003",
        "web_search": "0.01",
        "request": "0",
        "image": "0",
    }

    assert from_openrouter(listed(**pricing)).costs["maker/model"] == {
        Meter.INPUT: 250_000_000,
        Meter.CACHED_INPUT: 25_000_000,
        Meter.CACHE_WRITE: 312_500_000,
        Meter.OUTPUT: 2_000_000_000,
        Meter.REASONING: 3_000_000_000,
        Meter.TOOL_CALL: 10**13,
    }


def test_what_has_no_price_of_its_own_costs_as_much_as_what_it_is_part_of() -> None:
    costs = from_openrouter(listed(prompt="0.000001", completion="0.000002")).costs["maker/model"]

    assert costs[Meter.CACHED_INPUT] == costs[Meter.CACHE_WRITE] == costs[Meter.INPUT] == 10**9
    assert costs[Meter.REASONING] == costs[Meter.OUTPUT] == 2 * 10**9
    assert costs[Meter.TOOL_CALL] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": "-1"}, "negative"),
        ({"prompt": "NaN"}, "not one plain number"),
        ({"prompt": 0.1}, "not one plain number"),
        ({"prompt": True}, "not one plain number"),
        ({"prompt": "1e-99"}, "finer than"),
        ({"prompt": "0.0000000000000001"}, "finer than"),
        ({"prompt": "999999"}, "beyond any"),
        ({"prompt": None}, "no price for input_tokens"),
        ({"request": "0.01"}, "not measured"),
        ({"discount": "0.5"}, "not measured"),
        ({"something_new": "0.1"}, "not measured"),
        ({"overrides": [{"prompt": "0.1"}]}, "not one plain number"),
    ],
    ids=str,
)
def test_a_price_that_would_have_to_be_guessed_is_refused(change: dict[str, Any], reason: str) -> None:
    prices = from_openrouter(listed(**({"prompt": "0.000001", "completion": "0.000002"} | change)))

    assert prices.costs == {}
    assert reason in prices.refused["maker/model"]


def test_a_number_without_quotes_is_read_as_it_was_written() -> None:
    document = exact_json.loads(b'{"data":[{"id":"m","pricing":{"prompt":1e-7,"completion":0.0000003}}]}')

    assert from_openrouter(document).costs["m"][Meter.INPUT] == 100_000_000


def test_a_model_that_is_listed_twice_is_refused() -> None:
    entry = listed(prompt="0.000001", completion="0.000002")["data"][0]

    prices = from_openrouter({"data": [entry, entry, entry]})

    assert prices.costs == {}
    assert "twice" in prices.refused["maker/model"]


@pytest.mark.parametrize(
    "document", [None, [], {}, {"data": {}}, {"data": [{}]}, {"data": ["x"]}, {"data": [{"id": ""}]}]
)
def test_what_is_no_price_list_is_refused_whole(document: Any) -> None:
    with pytest.raises(ValueError, match="list"):
        from_openrouter(document)


def test_the_package_of_prices_is_read_without_a_network_and_exactly() -> None:
    prices = from_genai_prices("openai")

    assert prices.costs["gpt-4o-mini"][Meter.INPUT] == 150_000_000
    assert prices.costs["gpt-4o-mini"][Meter.CACHED_INPUT] == 75_000_000
    assert prices.costs["gpt-4o-mini"][Meter.OUTPUT] == 600_000_000
    assert all(set(costs) == set(Meter) for costs in prices.costs.values())
    assert prices.refused


def test_every_model_of_openrouter_in_the_package_has_a_price_or_a_reason() -> None:
    prices = from_genai_prices("openrouter")

    assert len(prices.costs) > 500
    assert not set(prices.costs) & set(prices.refused)


def test_an_unknown_provider_has_no_prices() -> None:
    with pytest.raises(ValueError, match="does not know"):
        from_genai_prices("nobody")
