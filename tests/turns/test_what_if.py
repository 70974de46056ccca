"""Calls of the past at other prices: the same rules, all calls, and nothing that is made up."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

from pantheon.clock import now
from pantheon.money.rate_card import MULTIPLIER_ONE, Meter
from pantheon.turns.rate_cards import Model, RateCard, view_rate_card
from pantheon.turns.what_if import Sum, what_if
from tests.installation import Installation
from tests.models.scripted_provider import streamed
from tests.turns.metering import ALIAS, MODEL, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def at(model: Model, **prices: int) -> RateCard:
    changed = {**model.rate.prices, **{Meter(name): price for name, price in prices.items()}}
    return RateCard(9, (replace(model, rate=replace(model.rate, prices=changed)),))


async def call(m: Metering, **changes: object) -> None:
    async for _ in (await m.start(**changes)).chunks():
        pass


async def test_past_calls_are_priced_at_another_card_by_the_same_rules(install: Install) -> None:
    async with metering(install, streamed("one", usage=USED), streamed("two", usage=USED)) as m:
        await call(m)
        await call(m)
        await m.ended()
        database, day = m.installation.runtime.database, timedelta(days=1)
        card = await view_rate_card(database)
        told: list[tuple[int, int]] = []

        same = await what_if(database, card, start=now() - day, end=now() + day)
        # 9 tokens at 1.5 nanocredits are 13.5, and go up to 14; 3 at 2.
        other = await what_if(
            database,
            at(MODEL, input_tokens=1_500_000, output_tokens=2 * 10**6),
            start=now() - day,
            end=now() + day,
            progress=lambda done, total: told.append((done, total)),
        )
        dearer = RateCard(9, (replace(MODEL, rate=replace(MODEL.rate, multiplier=2 * MULTIPLIER_ONE)),))
        double = await what_if(database, dearer, start=now() - day, end=now() + day)
        none = await what_if(database, RateCard(9, ()), start=now() - day, end=now() + day)
        before = await what_if(database, card, start=now() - 2 * day, end=now() - day)

        assert same.models == {ALIAS: Sum(calls=2, charged=78, price=78, would_be=78)}
        assert other.priced == Sum(calls=2, charged=78, price=78, would_be=40)
        assert double.priced.would_be == 156
        # Without a price there is no sum: it is not zero.
        assert none.models == {ALIAS: Sum(calls=2, charged=78, price=78, would_be=None)}
        assert (none.priced.calls, none.unpriced.calls) == (0, 2)
        assert before.models == {}
        assert told == [(2, 2)]


async def test_what_was_not_charged_is_part_of_the_price_then(install: Install) -> None:
    async with metering(install, streamed("one", usage=USED), credit_enforcement_enabled=False) as m:
        await call(m)
        await m.ended()
        database, day = m.installation.runtime.database, timedelta(days=1)

        found = await what_if(database, await view_rate_card(database), start=now() - day, end=now() + day)

        assert found.models == {ALIAS: Sum(calls=1, charged=0, price=39, would_be=39)}
