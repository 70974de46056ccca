"""Limits: the most that a wallet spends in a period, decided with the draw under the wallet's lock."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.ledger.verify import verify
from tests.ledger.books import Books

KEY = str(uuid7())


@pytest.fixture
async def hold(books: Books, wallet: UUID) -> UUID:
    await books.grant(wallet, 1000)
    hold, _ = await books.hold(wallet, 1000)
    return hold


async def used(books: Books) -> list[tuple[int, int]]:
    """What is reserved and what is spent of each limit."""
    return await books.select(  # type: ignore[return-value]
        "SELECT c.reserved, c.spent FROM spend_counters c JOIN spend_limits l ON l.id = c.limit_id ORDER BY l.id"
    )


async def test_a_draw_beyond_a_limit_is_refused_and_the_limit_is_named(books: Books, wallet: UUID, hold: UUID) -> None:
    await books.limit(wallet, 50, "api_key", KEY, "month")
    draw, drawn = await books.draw(hold, 30, api_key=KEY)
    _, refused = await books.draw(hold, 21, api_key=KEY)
    _, fitting = await books.draw(hold, 20, api_key=KEY)

    assert (drawn.code, fitting.code) == ("ok", "ok")
    assert (refused.code, refused.amount) == ("over_limit:api_key:month", 20)
    assert await used(books) == [(50, 0)]

    await books.settle(draw, 10, api_key=KEY)
    assert await used(books) == [(20, 10)]


async def test_a_limit_binds_only_what_it_is_for(books: Books, wallet: UUID, hold: UUID) -> None:
    await books.limit(wallet, 5, "api_key", KEY)
    await books.limit(wallet, 5, "model", "gpt-4o")

    assert (await books.draw(hold, 6, api_key=str(uuid7()), model="demo"))[1].code == "ok"
    assert (await books.draw(hold, 6, api_key=KEY))[1].code == "over_limit:api_key:day"
    assert (await books.draw(hold, 6, model="gpt-4o"))[1].code == "over_limit:model:day"


async def test_of_several_limits_the_tightest_is_named(books: Books, wallet: UUID, hold: UUID) -> None:
    await books.limit(wallet, 90, "wallet")
    await books.limit(wallet, 40, "agent", "a", "month")
    await books.limit(wallet, 60, "room", "r")

    _, refused = await books.draw(hold, 50, agent="a", room="r")
    assert (refused.code, refused.amount) == ("over_limit:agent:month", 40)
    assert await used(books) == [(0, 0)] * 3


async def test_a_call_that_runs_over_its_draw_spends_of_the_limit_what_it_was_charged(
    books: Books, wallet: UUID, hold: UUID
) -> None:
    await books.limit(wallet, 50)
    draw, _ = await books.draw(hold, 30)

    await books.settle(draw, 35, 35, -5)
    assert await used(books) == [(0, 30)]


async def test_a_hold_that_expires_gives_back_what_its_draws_reserved_of_a_limit(
    books: Books, wallet: UUID, hold: UUID
) -> None:
    await books.limit(wallet, 50)
    await books.draw(hold, 30)
    books.let_hold_run_out(hold)

    await books.expire_hold(hold)
    assert await used(books) == [(0, 0)]


async def test_the_limit_of_a_scope_and_period_is_changed_in_place_and_keeps_its_count(
    books: Books, wallet: UUID, hold: UUID
) -> None:
    assert await books.limit(wallet, 50) == "ok"
    await books.draw(hold, 30)

    assert await books.limit(wallet, 50) == "unchanged"
    assert await books.limit(wallet, 20) == "ok"
    assert (await books.draw(hold, 1))[1].code == "over_limit:wallet:day"
    assert await books.limit(wallet, 31) == "ok"
    assert (await books.draw(hold, 1))[1].code == "ok"


async def test_limits_of_the_user_and_of_an_owner_stand_side_by_side_and_the_tighter_one_binds(
    books: Books, wallet: UUID, hold: UUID
) -> None:
    await books.limit(wallet, 20, set_by="owner")
    assert await books.limit(wallet, 50) == "ok"
    assert (await books.draw(hold, 21))[1].code == "over_limit:wallet:day"

    assert await books.limit(wallet, 10) == "ok"
    assert (await books.draw(hold, 11))[1].code == "over_limit:wallet:day"

    async with books.database.transaction() as tx:
        ended = await post.end_spend_limit(tx, wallet_id=wallet, scope="wallet", scope_id="", period="day")
    assert ended.code == "ok"
    assert (await books.draw(hold, 21))[1].code == "over_limit:wallet:day"
    assert (await books.draw(hold, 20))[1].code == "ok"


async def test_a_period_begins_anew_and_what_was_drawn_in_one_is_spent_in_that_one(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 1000)
    hold, _ = await books.hold(wallet, 1000, expires_at=datetime(2100, 1, 1, tzinfo=UTC))
    await books.limit(wallet, 50, period="month")
    books.set_clock(datetime(2099, 1, 31, 23, 59, 59, tzinfo=UTC))
    late, _ = await books.draw(hold, 40)
    assert (await books.draw(hold, 11))[1].code == "over_limit:wallet:month"

    books.set_clock(datetime(2099, 2, 1, tzinfo=UTC))
    draw, drawn = await books.draw(hold, 50)
    assert drawn.code == "ok"
    assert (await books.draw(hold, 1))[1].code == "over_limit:wallet:month"
    await books.settle(late, 35)
    await books.settle(draw, 20)

    assert await books.select("SELECT reserved, spent FROM spend_counters ORDER BY period_from OFFSET 1") == [
        (0, 35),
        (0, 20),
    ]


async def test_a_new_limit_counts_what_its_period_has_seen(books: Books, wallet: UUID, hold: UUID) -> None:
    draw, _ = await books.draw(hold, 30, api_key=KEY)
    await books.settle(draw, 30, api_key=KEY)

    await books.limit(wallet, 50, "api_key", KEY)
    await books.limit(wallet, 50, "api_key", str(uuid7()))
    assert await used(books) == [(0, 30), (0, 0)]


async def test_a_new_limit_counts_what_calls_under_way_have_reserved(books: Books, wallet: UUID, hold: UUID) -> None:
    draw, _ = await books.draw(hold, 30)
    await books.limit(wallet, 50)

    assert await used(books) == [(30, 0)]
    assert (await books.draw(hold, 21))[1].code == "over_limit:wallet:day"
    await books.settle(draw, 12)
    assert await used(books) == [(0, 12)]


async def test_draws_at_once_never_pass_a_limit_together(books: Books, wallet: UUID, hold: UUID) -> None:
    await books.limit(wallet, 50)

    drawn = await asyncio.gather(*(books.draw(hold, 10) for _ in range(20)))

    assert Counter(posting.code for _, posting in drawn) == {"ok": 5, "over_limit:wallet:day": 15}
    assert await used(books) == [(50, 0)]


@pytest.mark.tampers
async def test_a_limit_that_reserves_what_no_draw_does_is_found(books: Books, wallet: UUID, hold: UUID) -> None:
    await books.limit(wallet, 50)
    await books.draw(hold, 30)
    with psycopg.connect(books.owner_url) as connection:
        connection.execute("UPDATE spend_counters SET reserved = 29")

    async with books.database.transaction() as tx:
        breaks = await verify(tx)
    assert [found.check for found in breaks] == ["limit"]
