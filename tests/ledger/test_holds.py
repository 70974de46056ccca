"""Holds: set aside first, capture what was used, give back the rest; and never more than there is."""

import asyncio
import json
from collections import Counter
from uuid import UUID, uuid4

import psycopg
import pytest

from pantheon.ids import uuid7
from pantheon.ledger.verify import verify
from tests.ledger.books import LAST_YEAR, NEXT_YEAR, Books


async def test_a_hold_is_placed_drawn_captured_and_released(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)

    hold, placed = await books.hold(wallet, 60)
    draw, drawn = await books.draw(hold, 40)
    captured = await books.capture(draw, 25)
    released = await books.release(hold)

    assert (placed.code, placed.amount, placed.available, placed.held) == ("ok", 60, 40, 60)
    assert (drawn.code, drawn.amount, drawn.available, drawn.held) == ("ok", 40, 40, 60)
    assert (captured.code, captured.amount, captured.available, captured.held) == ("ok", 25, 40, 35)
    assert (released.code, released.amount, released.available, released.held) == ("ok", 35, 75, 0)
    assert await books.state_of(hold) == ("settled", 0, 25)
    assert await books.select("SELECT kind, debit_account, credit_account, amount FROM transfers OFFSET 1") == [
        ("hold_placed", "available", "held", 60),
        ("hold_captured", "held", "consumed", 25),
        ("hold_released", "held", "available", 35),
    ]


async def test_what_a_draw_did_not_use_can_be_drawn_again(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    first, _ = await books.draw(hold, 50)
    assert (await books.draw(hold, 1))[1].code == "not_enough"

    await books.capture(first, 20)
    _, refused = await books.draw(hold, 31)
    _, drawn = await books.draw(hold, 30)

    assert (refused.code, refused.amount) == ("not_enough", 30)
    assert drawn.code == "ok"


async def test_a_hold_that_is_used_up_is_settled_at_once(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 50)

    await books.capture(draw, 50)

    assert await books.state_of(hold) == ("settled", 0, 50)
    assert (await books.release(hold)).code == "unchanged"


async def test_an_unused_hold_is_released(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 50)
    assert (await books.release(hold)).code == "draws_open"

    assert (await books.capture(draw, 0)).code == "ok"
    assert (await books.release(hold)).amount == 50

    assert await books.state_of(hold) == ("released", 0, 0)
    assert await books.balances(wallet) == (100, 0)


@pytest.mark.parametrize("beyond", [1, 13])
async def test_what_was_used_beyond_a_draw_is_the_operators_loss_and_not_the_users(
    books: Books, wallet: UUID, beyond: int
) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 20)

    captured = await books.capture(draw, 20 + beyond)

    assert (captured.amount, captured.balance) == (20, 80)
    assert await books.movements(captured.event_id) == [
        ("hold_captured", "held", "consumed", 20),
        ("overrun", "operator_overrun", "consumed", beyond),
    ]
    assert await books.select("SELECT captured, overrun FROM draws") == [(20, beyond)]


async def test_the_same_call_again_changes_nothing(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 20)
    await books.capture(draw, 25)

    again = [
        (await books.hold(wallet, 50, hold_id=hold))[1],
        (await books.draw(hold, 20, draw_id=draw))[1],
        await books.capture(draw, 25),
    ]

    assert [(posting.code, posting.amount, posting.held) for posting in again] == [
        ("duplicate", 50, 30),
        ("duplicate", 20, 30),
        ("duplicate", 20, 30),
    ]


async def test_an_id_used_again_for_something_else_is_a_conflict(books: Books, wallet: UUID) -> None:
    other = await books.open_wallet()
    await books.grant(wallet, 100)
    await books.grant(other, 100)
    hold, _ = await books.hold(wallet, 50)
    second, _ = await books.hold(wallet, 20)
    draw, _ = await books.draw(hold, 20)
    await books.capture(draw, 5)

    assert (await books.hold(other, 50, hold_id=hold))[1].code == "conflict"
    assert (await books.hold(wallet, 51, hold_id=hold))[1].code == "conflict"
    assert (await books.draw(second, 20, draw_id=draw))[1].code == "conflict"
    assert (await books.draw(hold, 21, draw_id=draw))[1].code == "conflict"
    assert (await books.capture(draw, 6)).code == "conflict"


async def test_what_does_not_exist_is_not_found(books: Books) -> None:
    assert (await books.hold(uuid4(), 1))[1].code == "wallet_not_found"
    assert (await books.draw(uuid4(), 1))[1].code == "hold_not_found"
    assert (await books.capture(uuid4(), 1)).code == "draw_not_found"
    assert (await books.release(uuid4())).code == "hold_not_found"
    assert (await books.expire_hold(uuid4())).code == "hold_not_found"


@pytest.mark.parametrize("amount", [0, -1, 10**18 + 1, -(2**63), None])
async def test_an_amount_that_cannot_be_is_refused(books: Books, wallet: UUID, amount: int) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 20)

    assert (await books.hold(wallet, amount))[1].code == "amount_out_of_range"
    assert (await books.draw(hold, amount))[1].code == "amount_out_of_range"
    assert (await books.capture(draw, amount)).code == ("ok" if amount == 0 else "amount_out_of_range")


async def test_a_hold_needs_funds_an_end_and_an_active_wallet_without_debt(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    assert (await books.hold(wallet, 101))[1].code == "not_enough"
    assert (await books.hold(wallet, 1, expires_at=LAST_YEAR))[1].code == "already_expired"
    await books.freeze(wallet)
    assert (await books.hold(wallet, 1))[1].code == "wallet_not_active"
    await books.freeze(wallet, False)
    await books.adjust(wallet, -50)
    await books.reverse(granted, 100)
    await books.grant(wallet, 10, category="promotional")

    assert (await books.hold(wallet, 1))[1].code == "in_debt"


async def test_credits_that_ran_out_cannot_be_held(books: Books, wallet: UUID) -> None:
    books.let_run_out(await books.grant(wallet, 100, expires_at=NEXT_YEAR))

    _, refused = await books.hold(wallet, 1)

    assert (refused.code, refused.available) == ("not_enough", 0)


async def test_a_hold_takes_in_burn_down_order_and_gives_back_to_the_very_grants(books: Books, wallet: UUID) -> None:
    last = await books.grant(wallet, 100)
    first = await books.grant(wallet, 30, category="promotional")
    hold, _ = await books.hold(wallet, 50)
    assert await books.remaining(first, last) == [0, 80]
    draw, _ = await books.draw(hold, 50)

    await books.capture(draw, 10)
    await books.release(hold)

    assert await books.remaining(first, last) == [20, 100]


async def test_a_running_hold_settles_in_debt_and_frozen_and_what_goes_back_repays_debt_first(
    books: Books, wallet: UUID
) -> None:
    granted = await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 100)
    draw, _ = await books.draw(hold, 50)
    reversed_ = await books.reverse(granted, 60)
    assert (reversed_.available, reversed_.held, reversed_.debt) == (0, 100, 60)
    await books.freeze(wallet)
    assert (await books.draw(hold, 1))[1].code == "wallet_not_active"

    assert (await books.capture(draw, 30)).code == "ok"
    released = await books.release(hold)

    assert (released.code, released.available, released.held, released.debt) == ("ok", 10, 0, 0)
    assert await books.movements(released.event_id) == [
        ("hold_released", "held", "available", 70),
        ("debt_repaid", "available", "debt", 60),
    ]


async def test_what_is_held_does_not_expire_until_it_goes_back(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    hold, _ = await books.hold(wallet, 60)
    books.let_run_out(granted)
    expired = await books.expire(wallet)
    assert (expired.available, expired.held) == (0, 60)
    draw, _ = await books.draw(hold, 50)

    assert (await books.capture(draw, 50)).amount == 50
    released = await books.release(hold)

    assert (released.amount, released.available, released.held) == (10, 0, 0)
    assert await books.select("SELECT amount FROM transfers WHERE kind = 'expiry'") == [(40,), (10,)]


async def test_an_expired_hold_gives_back_what_is_left_with_its_open_draws(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 60)
    done, _ = await books.draw(hold, 20)
    open_, _ = await books.draw(hold, 20)
    assert (await books.expire_hold(hold)).code == "not_due"
    books.let_hold_run_out(hold)
    assert (await books.draw(hold, 1))[1].code == "hold_ended"
    # Until somebody expires it, what is known can still be settled.
    assert (await books.capture(done, 15)).code == "ok"

    expired = await books.expire_hold(hold)

    assert (expired.code, expired.amount, expired.available, expired.held) == ("ok", 45, 85, 0)
    assert await books.state_of(hold) == ("expired", 0, 15)
    assert (await books.capture(open_, 5)).code == "draw_ended"
    assert (await books.expire_hold(hold)).code == "unchanged"
    assert (await books.release(hold)).code == "unchanged"


async def test_a_batch_answers_for_each_item_in_order(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, draw, other = str(uuid7()), str(uuid7()), str(uuid7())
    place = {"operation": "place_hold", "hold_id": hold, "amount": 60, "expires_at": NEXT_YEAR.isoformat()}
    take = {"operation": "draw", "hold_id": hold, "draw_id": draw, "amount": 9}
    capture = {"operation": "capture", "draw_id": draw, "amount": 9}
    release = {"operation": "release", "hold_id": hold}
    calls = [
        (place, "ok"),
        (place, "duplicate"),
        (place | {"hold_id": other}, "not_enough"),
        (take, "ok"),
        (take | {"hold_id": other}, "hold_not_found"),
        (take, "duplicate"),
        (capture | {"draw_id": other}, "draw_not_found"),
        (release, "draws_open"),
        (capture, "ok"),
        (capture, "duplicate"),
        (release, "ok"),
        (release, "unchanged"),
        (release | {"hold_id": other}, "hold_not_found"),
    ]
    items = [{"wallet_id": str(wallet)} | call for call, _ in calls]

    query = "SELECT code FROM ledger_lane_batch(CAST(:items AS jsonb))"
    assert [code for (code,) in await books.select(query, items=json.dumps(items))] == [code for _, code in calls]


async def test_100_holds_with_their_captures_and_releases_and_a_grant_at_once_lose_nothing(
    books: Books, wallet: UUID
) -> None:
    """T-079."""
    await books.grant(wallet, 600, category="promotional", expires_at=NEXT_YEAR)
    await books.grant(wallet, 600)

    async def work(used: int) -> None:
        hold, placed = await books.hold(wallet, 10)
        assert placed.code == "ok"
        draw, _ = await books.draw(hold, 8)
        assert (await books.capture(draw, used)).code == "ok"
        assert (await books.release(hold)).code == "ok"

    await asyncio.gather(*(work(i % 9) for i in range(100)), books.grant(wallet, 1000))

    used = sum(i % 9 for i in range(100))
    assert await books.balances(wallet) == (2200 - used, 0)
    assert await books.select("SELECT held FROM wallets") == [(0,)]


async def test_one_hold_and_one_capture_sent_20_times_at_once_happen_once(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold = uuid7()
    holds = await asyncio.gather(*(books.hold(wallet, 5, hold_id=hold) for _ in range(20)))
    draw, _ = await books.draw(hold, 5)
    captures = await asyncio.gather(*(books.capture(draw, 3) for _ in range(20)))
    releases = await asyncio.gather(*(books.release(hold) for _ in range(20)))

    assert Counter(posting.code for _, posting in holds) == {"ok": 1, "duplicate": 19}
    assert Counter(posting.code for posting in captures) == {"ok": 1, "duplicate": 19}
    assert Counter(posting.code for posting in releases) == {"ok": 1, "unchanged": 19}
    assert await books.balances(wallet) == (97, 0)


async def test_one_hold_id_sent_to_20_wallets_at_once_reaches_one_of_them(books: Books) -> None:
    wallets = [await books.open_wallet() for _ in range(20)]
    for wallet in wallets:
        await books.grant(wallet, 10)
    hold = uuid7()

    answers = await asyncio.gather(*(books.hold(wallet, 10, hold_id=hold) for wallet in wallets))

    assert Counter(posting.code for _, posting in answers) == {"ok": 1, "conflict": 19}


@pytest.mark.parametrize("holds", [200, pytest.param(1000, marks=pytest.mark.prove)])
async def test_funds_for_50_admit_exactly_50(books: Books, wallet: UUID, holds: int) -> None:
    await books.grant(wallet, 507)

    # As many at once as there are connections: more would only wait for one.
    turns = asyncio.Semaphore(20)

    async def place() -> str:
        async with turns:
            return (await books.hold(wallet, 10))[1].code

    answers = await asyncio.gather(*(place() for _ in range(holds)))

    assert Counter(answers) == {"ok": 50, "not_enough": holds - 50}
    assert await books.balances(wallet) == (7, 0)


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ("UPDATE holds SET amount = amount + 1", {"hold transfers", "holds of wallet"}),
        ("UPDATE holds SET captured = captured + 1", {"hold", "hold transfers", "holds of wallet"}),
        ("UPDATE holds SET reserved = 0", {"hold"}),
        (
            "UPDATE holds SET state = 'settled', reserved = 0, ended_at = now()",
            {"hold", "hold transfers", "holds of wallet", "kept of grant"},
        ),
        ("UPDATE draws SET captured = captured - 1 WHERE captured > 0", {"hold", "draw"}),
        ("UPDATE draws SET overrun = 1, captured = amount WHERE captured > 0", {"hold", "draw"}),
        ("DELETE FROM draws", {"hold", "hold transfers", "stray transfer"}),
    ],
)
async def test_a_changed_hold_is_named(books: Books, wallet: UUID, change: str, checks: set[str]) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 50)
    draw, _ = await books.draw(hold, 20)
    await books.capture(draw, 10)
    await books.draw(hold, 5)
    async with books.database.transaction() as tx:
        assert await verify(tx) == []
    with psycopg.connect(books.owner_url) as owner:
        for table in ("holds", "draws"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        assert owner.execute(change.encode()).rowcount > 0

    async with books.database.transaction() as tx:
        assert {found.check for found in await verify(tx)} == checks
