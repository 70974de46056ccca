"""The lanes: what many ask for at once is one commit, and each still gets an answer of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError, InvariantError
from pantheon.ids import uuid7
from pantheon.ledger.lanes import Lanes
from pantheon.ledger.post import Posting
from tests.installation import eventually
from tests.ledger.books import LAST_YEAR, NEXT_YEAR, Books

OF_LANES = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pantheon-lane'"


@pytest.fixture
async def lanes(app_url: str) -> AsyncIterator[Lanes]:
    async with Lanes(app_url) as lanes:
        yield lanes


async def hold(lanes: Lanes, wallet: UUID, amount: int, hold_id: UUID | None = None) -> Posting:
    return await lanes.place_hold(wallet_id=wallet, hold_id=hold_id or uuid7(), amount=amount, expires_at=NEXT_YEAR)


async def work(lanes: Lanes, wallet: UUID, *, amount: int, used: int) -> list[str]:
    """A whole turn, and the codes of its four steps."""
    hold_id, draw_id = uuid7(), uuid7()
    placed = await hold(lanes, wallet, amount, hold_id)
    drawn = await lanes.draw(wallet_id=wallet, hold_id=hold_id, draw_id=draw_id, amount=amount)
    captured = await lanes.capture(wallet_id=wallet, draw_id=draw_id, used=used)
    released = await lanes.release(wallet_id=wallet, hold_id=hold_id)
    return [posting.code for posting in (placed, drawn, captured, released)]


async def test_a_turn_through_the_lanes_is_in_the_books(lanes: Lanes, books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)

    assert await work(lanes, wallet, amount=60, used=25) == ["ok"] * 4

    assert await books.balances(wallet) == (75, 0)


async def test_many_at_once_are_few_commits(lanes: Lanes, books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 1000)

    answers = await asyncio.gather(*(hold(lanes, wallet, 1) for _ in range(500)))

    assert Counter(answer.code for answer in answers) == {"ok": 500}
    assert len(await books.select("SELECT DISTINCT xmin::text FROM holds")) <= 2


async def test_refusals_and_what_is_impossible_do_not_spoil_their_batch(
    lanes: Lanes, books: Books, wallet: UUID
) -> None:
    """No caller of ours sends an amount beyond bigint; if one does, the database refuses the whole batch, and one with
    thousands of digits cannot even be sent.
    """
    other = await books.open_wallet()
    for each in (wallet, other):
        await books.grant(each, 100)
    too_much = 10**30

    answers = await asyncio.gather(
        hold(lanes, wallet, 10),
        hold(lanes, wallet, 1000),
        hold(lanes, wallet, too_much),
        hold(lanes, wallet, 10**5000),
        hold(lanes, uuid7(), 10),
        hold(lanes, other, 10),
        lanes.release(wallet_id=other, hold_id=uuid7()),
        lanes.place_hold(wallet_id=other, hold_id=uuid7(), amount=1, expires_at=LAST_YEAR),
        hold(lanes, wallet, 10),
        return_exceptions=True,
    )

    assert [type(a).__name__ if isinstance(a, BaseException) else a.code for a in answers] == [
        "ok",
        "not_enough",
        "InvariantError",
        "InvariantError",
        "wallet_not_found",
        "ok",
        "hold_not_found",
        "already_expired",
        "ok",
    ]
    assert isinstance(answers[2], InvariantError)
    assert [await books.balances(each) for each in (wallet, other)] == [(80, 0), (90, 0)]


async def test_what_is_asked_for_twice_is_sent_once_and_answered_as_a_repeat(
    lanes: Lanes, books: Books, wallet: UUID
) -> None:
    await books.grant(wallet, 100)
    hold_id, draw_id = uuid7(), uuid7()
    steps = [
        lambda: hold(lanes, wallet, 60, hold_id),
        lambda: lanes.draw(wallet_id=wallet, hold_id=hold_id, draw_id=draw_id, amount=40),
        lambda: lanes.capture(wallet_id=wallet, draw_id=draw_id, used=25),
        lambda: lanes.release(wallet_id=wallet, hold_id=hold_id),
    ]
    for step, repeat in zip(steps, ["duplicate"] * 3 + ["unchanged"], strict=True):
        first, *more = await asyncio.gather(*(step() for _ in range(20)))
        assert first.code == "ok"
        # One that joined and one that the books answered are the same.
        later = await step()
        assert later.code == repeat
        assert more == [later] * 19


async def test_the_same_id_for_something_else_is_a_conflict(lanes: Lanes, books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold_id = uuid7()

    answers = await asyncio.gather(hold(lanes, wallet, 10, hold_id), hold(lanes, wallet, 11, hold_id))

    assert [answer.code for answer in answers] == ["ok", "conflict"]


async def test_a_full_queue_refuses_and_admits_nothing(app_url: str, books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    async with Lanes(app_url, lanes=1, most_waiting=10) as lanes:
        answers = await asyncio.gather(*(hold(lanes, wallet, 1) for _ in range(13)), return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, DatabaseBusyError)]
    assert [error.retry_after for error in refused] == [1, 1, 1]
    assert await books.balances(wallet) == (90, 0)


async def test_a_wallet_that_somebody_keeps_locked_does_not_stop_its_lane(
    app_url: str, books: Books, wallet: UUID
) -> None:
    other = await books.open_wallet()
    for each in (wallet, other):
        await books.grant(each, 100)
    async with Lanes(app_url, lanes=1) as lanes:
        with psycopg.connect(books.owner_url) as locker:
            locker.execute("SELECT FROM wallets WHERE id = %s FOR UPDATE", [wallet])
            waits, goes = await asyncio.gather(hold(lanes, wallet, 10), hold(lanes, other, 10), return_exceptions=True)

    assert isinstance(waits, DatabaseBusyError)
    assert not isinstance(goes, BaseException)
    assert goes.code == "ok"
    assert await books.balances(wallet) == (100, 0)


async def test_who_waited_too_long_is_told_so_and_asks_again_with_the_same_id(
    app_url: str, books: Books, wallet: UUID
) -> None:
    await books.grant(wallet, 100)
    hold_id = uuid7()
    async with Lanes(app_url, lanes=1, patience_seconds=0.2) as lanes:
        with psycopg.connect(books.owner_url) as locker:
            locker.execute("SELECT FROM wallets WHERE id = %s FOR UPDATE", [wallet])
            with pytest.raises(DatabaseBusyError, match="same id"):
                await hold(lanes, wallet, 10, hold_id)
        # Nobody waits for the first any more, but it was sent.
        answer = await hold(lanes, wallet, 10, hold_id)

    assert answer.code == "duplicate"
    assert await books.balances(wallet) == (90, 0)


async def test_connections_that_are_killed_in_the_middle_lose_nothing_and_double_nothing(
    lanes: Lanes, books: Books, wallet: UUID
) -> None:
    others = [wallet, *[await books.open_wallet() for _ in range(7)]]
    for each in others:
        await books.grant(each, 1000)
    killed = 0

    async def kill() -> None:
        nonlocal killed
        with psycopg.connect(books.owner_url, autocommit=True) as owner:
            while killed < 20:
                found = owner.execute(f"SELECT pg_terminate_backend(pid) {OF_LANES} AND state = 'active'".encode())
                killed += found.rowcount
                await asyncio.sleep(0.01)

    async def keep_working(wallet: UUID, killing: "asyncio.Task[None]") -> int:
        turns = 0
        while not killing.done():
            codes = await work(lanes, wallet, amount=3, used=1)
            assert codes[0] in ("ok", "duplicate"), codes
            assert set(codes) <= {"ok", "duplicate", "unchanged"}
            turns += 1
        return turns

    killing = asyncio.create_task(kill())
    turns = await asyncio.gather(*(keep_working(each, killing) for each in others for _ in range(5)))

    assert sum(turns) > 0
    assert await books.select("SELECT sum(available)::bigint, sum(held)::bigint FROM wallets") == [
        (8000 - sum(turns), 0)
    ]
    assert await books.select("SELECT count(*) FROM draws WHERE state = 'captured'") == [(sum(turns),)]


async def test_closing_does_what_is_queued_and_takes_nothing_more(app_url: str, books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 1000)
    lanes = Lanes(app_url)
    asked = [asyncio.create_task(hold(lanes, wallet, 1)) for _ in range(600)]
    await asyncio.sleep(0)

    await lanes.close()

    assert Counter([(await answer).code for answer in asked]) == {"ok": 600}
    with pytest.raises(DatabaseUnavailableError):
        await hold(lanes, wallet, 1)

    async def disconnected() -> bool:
        return await books.select(f"SELECT count(*) {OF_LANES}") == [(0,)]

    await eventually(disconnected)


async def test_closing_ends_although_the_database_is_gone(books: Books, wallet: UUID) -> None:
    async with Lanes("postgresql://nobody@127.0.0.1:1/nothing", patience_seconds=0.2) as lanes:
        with pytest.raises(DatabaseBusyError):
            await hold(lanes, wallet, 1)


async def test_nothing_is_connected_before_it_is_needed(lanes: Lanes, books: Books, wallet: UUID) -> None:
    assert await books.select(f"SELECT count(*) {OF_LANES}") == [(0,)]

    await hold(lanes, wallet, 1)

    assert await books.select(f"SELECT count(*) {OF_LANES}") == [(1,)]
