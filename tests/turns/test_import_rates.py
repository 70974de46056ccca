"""What a price list makes of a rate card, before anybody publishes it."""

from typing import Any

import pytest

from pantheon import settings as all_settings
from pantheon.errors import InvalidInputError
from pantheon.money.rate_card import MULTIPLIER_ONE, Meter, Rate
from pantheon.settings import Settings
from pantheon.turns.compare_rate_cards import confirmations
from pantheon.turns.import_rates import Proposal, RateImport, propose_import
from pantheon.turns.rate_cards import Model, RateCard
from tests.turns.price_lists import listed, price_list


def model(alias: str, provider: str = "openrouter", price: int = 10**10, multiplier: int = 2 * MULTIPLIER_ONE) -> Model:
    rate = Rate(model_alias=alias, prices=dict.fromkeys(Meter, price), multiplier=multiplier)
    return Model(rate, provider, f"maker/{alias}", 64_000, 4_096)


CARD = RateCard(7, (model("one"), model("two"), model("demo", provider="demo")))


def settings(**values: Any) -> Settings:
    return all_settings.load(_env_file=None, app_env="test", **values)


def propose(*models: dict[str, Any], margin: str = "30%", **more: Any) -> Proposal:
    request = RateImport(margin=margin, document=price_list(*models), **more)
    return propose_import(CARD, request, settings())


def kinds(proposal: Proposal) -> dict[str, str]:
    return {change.alias: change.kind for change in proposal.changes}


def test_a_list_replaces_all_models_of_its_provider_and_no_other() -> None:
    proposal = propose(listed("maker/one"), listed("maker/three"))

    assert kinds(proposal) == {"one": "changed", "maker/three": "new", "two": "gone"}
    assert [item.alias for item in proposal.models] == ["demo", "maker/three", "one"]
    assert proposal.models[0] is CARD.models[2]


def test_a_model_keeps_its_alias_and_limits_and_loses_its_multiplier() -> None:
    (one,) = [item for item in propose(listed("maker/one")).models if item.alias == "one"]

    assert (one.provider_model, one.context_tokens, one.max_output_tokens) == ("maker/one", 64_000, 4_096)
    assert one.rate.multiplier == MULTIPLIER_ONE
    assert one.rate.prices[Meter.INPUT] == 6_500_000_000
    assert one.rate.costs is not None and one.rate.costs[Meter.OUTPUT] == 600_000_000


def test_a_new_model_has_the_limits_of_the_list() -> None:
    proposal = propose(
        listed("maker/small", context_length=2_000),
        listed("maker/terse", top_provider={"max_completion_tokens": 1_000}),
        listed("maker/verbose", top_provider={"max_completion_tokens": 100_000}),
    )

    limits = {item.alias: (item.context_tokens, item.max_output_tokens) for item in proposal.models}
    assert limits["maker/small"] == (2_000, 2_000)
    assert limits["maker/terse"] == (128_000, 1_000)
    assert limits["maker/verbose"] == (128_000, 8_192)


@pytest.mark.parametrize("only", [["one"], ["maker/one"]])
def test_only_what_is_named_changes(only: list[str]) -> None:
    proposal = propose(listed("maker/one"), listed("maker/two"), listed("maker/three"), only=only)

    assert kinds(proposal) == {"one": "changed"}
    assert {item.alias for item in proposal.models} == {"one", "two", "demo"}


def test_an_unknown_price_is_not_zero() -> None:
    proposal = propose(
        listed("maker/one", prompt="-1"),
        listed("maker/two"),
        listed("maker/three", context_length=None),
        listed("maker/four with spaces"),
        listed("demo"),
    )

    assert kinds(proposal) == {"one": "gone", "two": "changed"}
    assert proposal.refused == {
        "maker/one": "its price prompt is negative",
        "maker/three": "how many tokens it takes is not known",
        "maker/four with spaces": "its id cannot be an alias",
        "demo": "the alias demo is that of another model",
    }


@pytest.mark.parametrize(
    ("only", "reason"),
    [
        (["one"], "negative"),
        (["maker/nobody"], "no price"),
        (["demo"], "no price"),
        (["two", "gpt", "one"], r"out: gpt \(.*\), one \("),
    ],
)
def test_what_is_named_is_never_left_out_in_silence(only: list[str], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        propose(listed("maker/one", prompt="-1"), listed("maker/two"), only=only)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"margin": "0.3"}, "margin must be a percentage"),
        ({"provider": "Open Router"}, "provider must be"),
        ({"document": {"models": []}}, "price list cannot be read"),
        ({"document": None, "provider": "nobody"}, "does not know"),
    ],
)
def test_what_cannot_be_understood_is_refused(request_: dict[str, Any], reason: str) -> None:
    request = RateImport(**{"margin": "30%", "document": price_list(), **request_})
    with pytest.raises(InvalidInputError, match=reason):
        propose_import(CARD, request, settings())


def test_dollars_are_not_taken_for_another_currency() -> None:
    with pytest.raises(InvalidInputError, match="US dollars"):
        propose_import(CARD, RateImport(margin="30%", document=price_list()), settings(currency="eur"))


def test_the_price_of_credits_decides_how_many_a_model_costs() -> None:
    request = RateImport(margin="0%", document=price_list(listed("maker/one")), only=["one"])

    (change,) = propose_import(CARD, request, settings(credits_per_usd="7")).changes

    assert change.new is not None and change.new.rate.prices[Meter.INPUT] == 1_050_000_000


def test_what_must_be_confirmed_is_named_with_its_reasons() -> None:
    proposal = propose(
        # 2 × 10 credits so far: 26 with the margin is 30 % more exactly, and 26.000000001 is above.
        listed("maker/one", prompt="0.0000006", completion="0.0000006"),
        listed("maker/two", prompt="0", completion="0.00000060000001"),
        listed("maker/three", prompt="0"),
    )

    assert confirmations(proposal.changes) == {
        "maker/three": [f"{name} tokens become free" for name in ("input", "cached input", "cache write")],
        "two": [
            *(f"{name} tokens become free" for name in ("input", "cached input", "cache write")),
            "output tokens +30 %",
            "reasoning tokens +30 %",
            "tool calls become free",
        ],
        "one": ["tool calls become free"],
    }


def test_the_list_that_the_package_brings_prices_the_models_of_the_first_card() -> None:
    request = RateImport(margin="30%", only=["openai/gpt-4o-mini"])

    proposal = propose_import(RateCard(1, (model("two"),)), request, settings())

    (change,) = proposal.changes
    assert change.new is not None and change.new.rate.prices[Meter.INPUT] == 6_500_000_000
