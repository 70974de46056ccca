"""The meter: the worst case is set aside before a provider is asked, and what was used is taken afterwards."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pantheon import clock
from pantheon.errors import (
    ContextBudgetExceededError,
    InsufficientCreditsError,
    ModelNotFoundError,
    PantheonError,
    ProviderUnavailableError,
    StreamCutError,
    WalletFrozenError,
)
from pantheon.ledger import post
from pantheon.models.tokens import input_tokens, most_input_tokens
from pantheon.money.rate_card import MAX_MULTIPLIER, Rate
from pantheon.turns.admit_call import GRACE, LEAST_OUTPUT, LONGEST_CALL
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.publish_rate_card import publish_rate_card
from pantheon.turns.rate_cards import view_rate_card
from pantheon.turns.recover_calls import recover_calls
from tests.installation import TEST, Installation, eventually
from tests.models.scripted_provider import DONE, Script, answered, delta, event, streamed, whole
from tests.turns.metering import ALIAS, HELLO, MODEL, PRICES, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]
BODY = {"messages": HELLO}
COUNTED, MOST = input_tokens(BODY), most_input_tokens(BODY)
NEEDED = MOST + 2 + 100 * 10 + 1
"""Nanocredits for the usual call of 100 tokens of output: each line of the input and the output may round up once."""


async def text_of(call: MeteredCall) -> str:
    return "".join([chunk["choices"][0]["delta"].get("content") or "" async for chunk in call.chunks()])


async def test_a_call_takes_what_it_used_and_gives_back_the_rest(install: Install) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    async with metering(install, streamed("one ", "two ", "three", usage=told)) as m:
        call = await m.start()
        assert m.balances == (10**6 - NEEDED, NEEDED)
        assert await text_of(call) == "one two three"

        # It is on the wallet when the answer ends, and not some time later.
        assert m.balances == (10**6 - 39, 0)
        assert call.settlement is not None
        assert (call.settlement.charged, call.settlement.used, call.settlement.quality) == (39, 39, "provider")
        [receipt] = m.receipts
        assert (receipt["charged"], receipt["overrun"], receipt["balance_after"]) == (39, 0, 10**6 - 39)
        assert [(line["meter"], line["quantity"], line["amount"]) for line in receipt["body"]["lines"]] == [
            ("input_tokens", 9, 9),
            ("output_tokens", 3, 30),
        ]
        await m.ended()
        [row] = m.calls
        assert (row["id"], row["state"], row["outcome"]) == (receipt["id"], "settled", "completed")
        assert row["started_at"] <= row["first_token_at"] <= row["ended_at"]


async def test_a_provider_is_asked_for_its_own_model_and_no_more_than_was_set_aside(install: Install) -> None:
    async with metering(install, streamed("x")) as m:
        await text_of(await m.start(temperature=0.5))

        [asked] = m.provider.asked
        assert (asked.body["model"], asked.body["max_tokens"], asked.body["temperature"]) == (
            "model-of-theirs",
            100,
            0.5,
        )
        assert asked.body["stream_options"] == {"include_usage": True}


async def test_an_answer_that_is_not_streamed_is_metered_the_same(install: Install) -> None:
    async with metering(install, whole("one two three")) as m:
        call = await m.start(stream=False)
        [answer] = [chunk async for chunk in call.chunks()]

        assert answer["choices"][0]["message"]["content"] == "one two three"
        assert "usage" not in answer
        assert m.balances == (10**6 - 39, 0)


async def test_an_answer_in_one_piece_cannot_be_cut_off_and_what_is_too_much_is_the_operators(install: Install) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 200, "total_tokens": 209}
    async with metering(install, whole("abc" * 300, usage=told)) as m:
        _ = [chunk async for chunk in (await m.start(stream=False)).chunks()]

        [receipt] = m.receipts
        assert (receipt["body"]["quality"], receipt["body"]["stopped_by"]) == ("provider", None)
        assert (receipt["charged"], receipt["overrun"]) == (NEEDED, 2009 - NEEDED)


async def test_short_funds_make_the_answer_shorter(install: Install) -> None:
    async with metering(install, streamed("x"), funds=MOST + 3 + 300 * 10) as m:
        call = await m.start(max_tokens=900)

        assert call.max_output == 300
        await text_of(call)
        assert m.provider.asked[0].body["max_tokens"] == 300


async def test_an_answer_of_256_tokens_is_worth_beginning(install: Install) -> None:
    async with metering(install, streamed("x"), funds=MOST + 3 + LEAST_OUTPUT * 10) as m:
        assert (await m.start(max_tokens=900)).max_output == LEAST_OUTPUT == 256


async def test_a_call_that_could_say_less_than_is_worth_saying_is_refused_before_anybody_is_asked(
    install: Install,
) -> None:
    async with metering(install, streamed("x"), funds=MOST + 3 + 255 * 10) as m:
        with pytest.raises(InsufficientCreditsError) as refused:
            await m.start(max_tokens=900)

        assert refused.value.extras == {
            "reason": "insufficient_credits",
            "available": f"0.{MOST + 3 + 2550:09}".rstrip("0"),
            "required": f"0.{MOST + 3 + 9000:09}".rstrip("0"),
            "limit_source": "wallet",
            "top_up_url": f"{m.installation.url}/wallet",
        }
        assert (m.provider.asked, m.balances[1]) == ([], 0)
        await m.ended()
        assert [(row["state"], row["outcome"]) for row in m.calls] == [("refused", "insufficient_credits")]


async def test_who_asks_for_little_needs_little(install: Install) -> None:
    async with metering(install, streamed("x"), funds=MOST + 3 + 5 * 10) as m:
        assert (await m.start(max_tokens=5)).max_output == 5
        with pytest.raises(InsufficientCreditsError) as refused:
            await m.start(max_tokens=5)
        # Part of what the other call holds comes back when it ends.
        assert refused.value.retry_after == 2


async def test_no_more_input_is_set_aside_for_than_fits_into_the_model(install: Install) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    async with metering(install, streamed("x")) as m:
        await m.start(messages=[{"role": "user", "content": [picture]}])

        assert m.balances[1] == MODEL.context_tokens + 2 + 100 * 10 + 1


async def test_calls_at_once_are_admitted_as_long_as_there_are_funds(install: Install) -> None:
    async with metering(install, streamed("one ", "two"), funds=5 * NEEDED) as m:
        started = await asyncio.gather(*(m.start() for _ in range(20)), return_exceptions=True)

        calls = [call for call in started if isinstance(call, MeteredCall)]
        refused = [call for call in started if isinstance(call, InsufficientCreditsError)]
        assert (len(calls), len(refused)) == (5, 15)
        assert m.balances == (0, 5 * NEEDED)
        await asyncio.gather(*map(text_of, calls))
        assert m.balances == (5 * NEEDED - 5 * 39, 0)


async def test_who_leaves_at_token_k_pays_for_k(install: Install) -> None:
    never = asyncio.Event()
    parts = [delta("abc"), delta("def"), delta("ghi"), never, delta("jkl"), DONE]
    async with metering(install, Script(parts)) as m:
        call = await m.start()
        chunks = call.chunks()
        for _ in range(3):
            await anext(chunks)
        await chunks.aclose()

        await m.ended()
        assert m.balances == (10**6 - COUNTED - 3 * 10, 0)
        [receipt] = m.receipts
        assert (receipt["body"]["quality"], receipt["body"]["stopped_by"]) == ("estimated", "caller")
        assert receipt["body"]["usage"]["output"] == 3

        async def closed() -> bool:
            return m.provider.asked[0].closed_at is not None

        await eventually(closed)


async def test_of_an_answer_that_was_all_there_only_the_part_that_was_taken_is_charged(install: Install) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49}
    async with metering(install, streamed("aaaa", "bbbb", "cccc", "dddd", usage=told)) as m:
        chunks = (await m.start()).chunks()
        await anext(chunks)
        await chunks.aclose()

        await m.ended()
        [receipt] = m.receipts
        usage = receipt["body"]["usage"]
        # It left before the provider told, or after: a quarter of its forty, or four bytes by our own count.
        assert (receipt["body"]["quality"], usage["output"]) in [("provider_partial", 10), ("estimated", 2)]


async def test_who_leaves_before_the_first_token_pays_for_the_input(install: Install) -> None:
    async with metering(install, Script([asyncio.Event()])) as m:
        call = await m.start()
        call.leave()

        await m.ended()
        assert m.balances == (10**6 - COUNTED, 0)


async def test_a_call_that_nobody_reads_holds_its_funds_only_until_it_is_left(install: Install) -> None:
    async with metering(install, streamed(*["word "] * 50)) as m:
        call = await m.start()
        assert m.balances[1] == NEEDED
        call.leave()
        await m.ended()
        assert m.balances[1] == 0


async def test_a_provider_that_does_not_stop_is_cut_off_and_the_rest_is_the_operators(install: Install) -> None:
    async with metering(install, Script([*[delta("abc")] * 200, asyncio.Event()])) as m:
        call = await m.start(max_tokens=100)
        assert await text_of(call) == "abc" * 101

        assert call.settlement is not None
        assert call.settlement.used == COUNTED + 101 * 10
        assert call.settlement.charged == min(call.settlement.used, NEEDED)
        [receipt] = m.receipts
        assert receipt["body"]["stopped_by"] == "credit_limit"
        assert m.balances == (10**6 - call.settlement.charged, 0)


async def test_a_provider_is_cut_off_however_slowly_its_answer_is_taken(install: Install) -> None:
    async with metering(install, Script([*[delta("abc")] * 200, asyncio.Event()])) as m:
        chunks = (await m.start(max_tokens=100)).chunks()
        for _ in range(99):
            await anext(chunks)

        async def closed() -> bool:
            return m.provider.asked[0].closed_at is not None

        await eventually(closed)
        assert len([chunk async for chunk in chunks]) == 2


async def test_a_call_in_a_run_ends_before_the_hold_does(install: Install) -> None:
    async with metering(install, Script([delta("abc"), asyncio.Event()])) as m:
        ends = clock.now() + GRACE + timedelta(seconds=0.5)
        meter = m.installation.runtime.meter
        run = await meter.open_run(m.user_id, cap=10**5, least=1, expires_at=ends)
        assert run is not None
        call = await meter.start(m.spender, {"model": ALIAS, "stream": True, **BODY}, run=run)

        assert await text_of(call) == "abc"
        assert [receipt["body"]["stopped_by"] for receipt in m.receipts] == ["time_limit"]
        await meter.close_run(run)
        assert m.balances == (10**6 - COUNTED - 10, 0)


async def test_what_is_free_needs_no_credits(install: Install) -> None:
    free = replace(MODEL, rate=Rate(model_alias=ALIAS, prices=dict.fromkeys(PRICES, 0)))
    async with metering(install, streamed("x"), model=free, funds=0) as m:
        meter = m.installation.runtime.meter
        assert await meter.open_run(m.user_id, cap=10**5, least=0, expires_at=clock.now() + GRACE) is None
        assert await text_of(await m.start()) == "x"

        assert [(row["charged"], row["overrun"], row["body"]["quality"]) for row in m.receipts] == [(0, 0, "provider")]


async def test_what_a_call_used_beyond_what_was_set_aside_is_the_operators(install: Install) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 5000, "total_tokens": 5009}
    async with metering(install, streamed("x", usage=told)) as m:
        await text_of(await m.start())

        [receipt] = m.receipts
        assert (receipt["charged"], receipt["overrun"]) == (NEEDED, 50_009 - NEEDED)
        assert receipt["body"]["lines"][-1] == {
            "meter": "operator_overrun",
            "quantity": 1,
            "unit_price": 0,
            "amount": NEEDED - 50_009,
        }
        assert m.balances == (10**6 - NEEDED, 0)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}])
async def test_without_believable_usage_our_own_count_is_charged_and_never_nothing(
    install: Install, usage: dict[str, Any] | None
) -> None:
    async with metering(install, streamed("abc", "def", usage=usage)) as m:
        await text_of(await m.start())

        [receipt] = m.receipts
        assert (receipt["charged"], receipt["body"]["quality"]) == (COUNTED + 20, "estimated")


async def test_a_provider_that_fails_before_its_first_token_costs_nothing(install: Install) -> None:
    async with metering(install, answered({"error": {"message": "no"}}, status=500)) as m:
        with pytest.raises(ProviderUnavailableError):
            await text_of(await m.start())

        await m.ended()
        assert (m.balances, m.receipts) == ((10**6, 0), [])
        assert [(row["state"], row["outcome"]) for row in m.calls] == [("released", "provider_unavailable")]


async def test_an_answer_that_breaks_off_is_charged_for_what_there_was_of_it(install: Install) -> None:
    async with metering(install, Script([delta("abc"), delta("def"), None])) as m:
        given = []
        with pytest.raises(StreamCutError):
            async for chunk in (await m.start()).chunks():
                given.append(chunk)

        assert len(given) == 2
        await m.ended()
        [receipt] = m.receipts
        assert (receipt["charged"], receipt["body"]["stopped_by"]) == (COUNTED + 20, "provider")


async def test_an_error_that_a_provider_sends_as_text_is_not_charged(install: Install) -> None:
    garbage = event({"error": {"message": "a long story " * 50, "code": 500}})
    async with metering(install, Script([delta("abc"), garbage])) as m:
        with pytest.raises(PantheonError):
            await text_of(await m.start())

        await m.ended()
        [receipt] = m.receipts
        assert receipt["body"]["usage"]["output"] == 1


@pytest.mark.parametrize("choices", [5, [5], [{"delta": 5}], [{"delta": {"content": 5, "tool_calls": [5]}}]])
async def test_an_answer_that_makes_no_sense_ends_the_call_and_settles_it(install: Install, choices: Any) -> None:
    async with metering(install, Script([event({"choices": choices}), delta("abc", "stop"), DONE])) as m:
        call = await m.start()
        with suppress(PantheonError):
            async for _ in call.chunks():
                pass

        await m.ended()
        assert m.balances in [(10**6, 0), (10**6 - COUNTED - 10, 0)]


async def _all_changes(m: Metering) -> None:
    """Prices a hundred times as high, and nothing is enforced any more."""
    database = m.installation.runtime.database
    card = await view_rate_card(database)
    changed = [
        replace(model, rate=replace(model.rate, multiplier=MAX_MULTIPLIER)) if model.alias == ALIAS else model
        for model in card.models
    ]
    await publish_rate_card(database, TEST, models=changed, based_on=card.version, note="test", confirmed=[ALIAS])
    m.installation.execute("INSERT INTO enforcement_override (mode) VALUES ('off')")


async def test_a_call_is_paid_by_what_was_in_force_when_it_began(install: Install) -> None:
    waits = asyncio.Event()
    answer = streamed("one", usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}).parts
    async with metering(install, Script([waits, *answer])) as m:
        call = await m.start()
        version = (await view_rate_card(m.installation.runtime.database)).version
        await _all_changes(m)
        waits.set()
        await text_of(call)

        [receipt] = m.receipts
        assert (receipt["charged"], receipt["body"]["rate_card_version"]) == (39, version)
        # The next one is free of charge, at the new prices.
        await text_of(await m.start())
        assert [line["amount"] for line in m.receipts[1]["body"]["lines"]] == [900, 3000, -3900]
        assert m.balances == (10**6 - 39, 0)


async def test_the_recovery_settles_by_what_was_in_force_when_the_call_began(install: Install) -> None:
    async with metering(install, Script([asyncio.Event()]), worker=False) as m:
        call = await m.start()
        m.installation.execute("UPDATE calls SET delivered_output = 2")
        await _all_changes(m)
        _is_overdue(m)
        await recover_calls(m.installation.runtime.database)

        assert [receipt["charged"] for receipt in m.receipts] == [COUNTED + 20]
        call.leave()


async def test_what_a_call_costs_the_operator_is_the_providers_own_figure_or_else_that_of_the_list(
    install: Install,
) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    model = replace(MODEL, rate=replace(MODEL.rate, costs=dict.fromkeys(PRICES, 2 * 10**6)))
    async with metering(
        install, streamed("x", usage=told | {"cost": 0.5}), streamed("x", usage=told), model=model
    ) as m:
        await text_of(await m.start())
        await text_of(await m.start())

        bodies = [receipt["body"] for receipt in m.receipts]
        assert [(body["provider_cost"], body["provider_cost_source"]) for body in bodies] == [
            (500_000_000, "provider"),
            (24, "rate_card"),
        ]


async def test_attempts_are_listed_and_only_the_one_that_answered_is_charged(install: Install) -> None:
    busy = answered({"error": {"message": "busy"}}, status=429, retry_after="0")
    async with metering(install, busy, streamed("one ", "two")) as m:
        await text_of(await m.start())

        [receipt] = m.receipts
        assert [attempt["outcome"] for attempt in receipt["body"]["attempts"]] == ["provider_rate_limited", "answered"]
        assert receipt["charged"] == 39


async def test_unknown_models_and_messages_that_do_not_fit_are_refused_without_a_trace(install: Install) -> None:
    async with metering(install, streamed("x")) as m:
        with pytest.raises(ModelNotFoundError):
            await m.start(model="nobody/knows")
        with pytest.raises(ContextBudgetExceededError) as refused:
            await m.start(messages=[{"role": "user", "content": "word " * 8192}])
        assert refused.value.extras["context_tokens"] == 8192
        assert (m.provider.asked, m.calls, m.balances) == ([], [], (10**6, 0))


async def test_a_frozen_wallet_starts_nothing(install: Install) -> None:
    async with metering(install, streamed("x")) as m:
        async with m.installation.runtime.database.transaction() as tx:
            await post.set_frozen(tx, wallet_id=m.wallet_id, frozen=True)
        with pytest.raises(WalletFrozenError):
            await m.start()
        assert m.provider.asked == []


async def _limit_model(m: Metering, amount: int) -> None:
    async with m.installation.runtime.database.transaction() as tx:
        await post.set_spend_limit(
            tx,
            wallet_id=m.wallet_id,
            limit_id=m.user_id,
            scope="model",
            scope_id=ALIAS,
            period="day",
            amount=amount,
        )


async def test_a_limit_makes_an_answer_shorter_or_refuses_it_and_is_named(install: Install) -> None:
    async with metering(install, streamed("x", usage=None)) as m:
        await _limit_model(m, MOST + 3 + 500 * 10)
        call = await m.start(max_tokens=900)
        assert call.max_output == 500
        with pytest.raises(InsufficientCreditsError) as refused:
            await m.start(max_tokens=900)
        assert (refused.value.extras["limit_source"], refused.value.extras["limit_period"]) == ("model", "day")

        await text_of(call)
        await m.ended()
        # Nothing of the refused call stays held, and the limit knows what was spent.
        assert m.balances == (10**6 - COUNTED - 10, 0)
        assert m.installation.rows("SELECT reserved, spent FROM spend_counters") == [
            {"reserved": 0, "spent": COUNTED + 10}
        ]


async def test_where_only_warned_a_call_runs_and_what_is_lacking_is_the_operators(install: Install) -> None:
    async with metering(install, streamed("x"), funds=20) as m:
        m.installation.execute("INSERT INTO enforcement_override (mode) VALUES ('warn')")
        await text_of(await m.start())
        await text_of(await m.start())

        assert m.balances == (0, 0)
        assert [(row["charged"], row["overrun"]) for row in m.receipts] == [(20, 19), (0, 39)]


async def test_where_only_warned_a_limit_stops_a_call_all_the_same(install: Install) -> None:
    async with metering(install, streamed("x")) as m:
        m.installation.execute("INSERT INTO enforcement_override (mode) VALUES ('warn')")
        await _limit_model(m, 10)
        with pytest.raises(InsufficientCreditsError) as refused:
            await m.start()
        assert (refused.value.extras["limit_source"], m.provider.asked, m.balances) == ("model", [], (10**6, 0))


async def test_where_nothing_is_enforced_nothing_is_charged_and_the_usage_is_known(install: Install) -> None:
    async with metering(install, streamed("x"), credit_enforcement_enabled=False) as m:
        ends = clock.now() + GRACE + LONGEST_CALL
        assert await m.installation.runtime.meter.open_run(m.user_id, cap=10**5, least=1, expires_at=ends) is None
        call = await m.start()
        assert m.balances == (10**6, 0)
        await text_of(call)

        [receipt] = m.receipts
        assert (receipt["charged"], receipt["overrun"]) == (0, 0)
        assert [(line["meter"], line["amount"]) for line in receipt["body"]["lines"]] == [
            ("input_tokens", 9),
            ("output_tokens", 30),
            ("enforcement_off", -39),
        ]


async def test_closing_the_meter_settles_what_runs(install: Install) -> None:
    async with metering(install, Script([delta("abc"), asyncio.Event()])) as m:
        call = await m.start()
        chunks = call.chunks()
        await anext(chunks)
        await m.installation.runtime.meter.close()

        assert m.balances == (10**6 - COUNTED - 10, 0)
        await chunks.aclose()


def _is_overdue(m: Metering) -> None:
    """As if the process had died long ago."""
    m.installation.execute(
        "UPDATE calls SET started_at = now() - %s - %s, expires_at = now()", LONGEST_CALL, LONGEST_CALL
    )


async def test_the_recovery_settles_what_was_delivered_and_gives_back_the_rest(install: Install) -> None:
    async with metering(install, Script([delta("abcdef"), asyncio.Event()]), worker=False) as m:
        call = await m.start()
        chunks = call.chunks()
        await anext(chunks)

        async def noted() -> bool:
            return m.calls[0]["delivered_output"] == 2

        await eventually(noted)
        assert await recover_calls(m.installation.runtime.database) == 0
        _is_overdue(m)
        assert await recover_calls(m.installation.runtime.database) == 1

        assert m.balances == (10**6 - COUNTED - 20, 0)
        assert [(row["state"], row["outcome"]) for row in m.calls] == [("settled", "recovered")]
        # The process was not dead after all, and finds that it was settled without it.
        await chunks.aclose()
        await m.installation.runtime.meter.close()
        assert m.balances == (10**6 - COUNTED - 20, 0)


async def test_the_recovery_gives_back_all_where_nothing_was_delivered(install: Install) -> None:
    async with metering(install, Script([asyncio.Event()]), worker=False) as m:
        call = await m.start()
        _is_overdue(m)
        assert await recover_calls(m.installation.runtime.database) == 1

        assert (m.balances, m.receipts) == ((10**6, 0), [])
        assert [row["state"] for row in m.calls] == ["released"]
        call.leave()
