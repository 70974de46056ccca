"""Holds of one wallet from four processes at once, each with lanes of its own."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.ids import uuid7
from pantheon.ledger.lanes import Lanes
from tests.crash.processes import forks
from tests.ledger.books import Books

PROCESSES = 4

Work = Callable[[Lanes, UUID], Coroutine[Any, Any, list[str]]]


@pytest.fixture
def books(database: Database, owner_url: str) -> Books:
    return Books(database, owner_url)


async def place(lanes: Lanes, wallet: UUID) -> list[str]:
    expires_at = clock.now() + timedelta(hours=1)
    return [(await lanes.place_hold(wallet_id=wallet, hold_id=uuid7(), amount=10, expires_at=expires_at)).code]


async def turn(lanes: Lanes, wallet: UUID) -> list[str]:
    """A hold with two calls inside it, of 3 each."""
    hold, expires_at = uuid7(), clock.now() + timedelta(hours=1)
    done = [await lanes.place_hold(wallet_id=wallet, hold_id=hold, amount=10, expires_at=expires_at)]
    for _ in range(2):
        draw = uuid7()
        done.append(await lanes.draw(wallet_id=wallet, hold_id=hold, draw_id=draw, amount=5))
        done.append(await lanes.capture(wallet_id=wallet, draw_id=draw, used=3))
    done.append(await lanes.release(wallet_id=wallet, hold_id=hold))
    return [posting.code for posting in done]


async def at_once(work: Work, url: str, wallets: list[UUID], times: int) -> Counter[str]:
    """How often which code was answered. Each process goes through the wallets in an order of its own."""
    begin, answers = forks.Barrier(PROCESSES), forks.SimpleQueue()
    processes = [
        forks.Process(target=_process, args=(work, url, wallets[::step], times, begin, answers), daemon=True)
        for step in (1, -1) * (PROCESSES // 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    return sum((Counter(answers.get()) for _ in processes), Counter())


def _process(work: Work, url: str, wallets: list[UUID], times: int, begin: Any, answers: Any) -> None:
    async def run() -> list[list[str]]:
        async with Lanes(url) as lanes:
            return await asyncio.gather(*(work(lanes, wallet) for _ in range(times) for wallet in wallets))

    begin.wait(30)
    answers.put(Counter(code for codes in asyncio.run(run()) for code in codes))


@pytest.mark.parametrize("holds", [200, pytest.param(1000, marks=pytest.mark.prove)])
async def test_holds_on_funds_for_50_admit_exactly_50(books: Books, app_url: str, holds: int) -> None:
    wallet = await books.open_wallet()
    await books.grant(wallet, 507)

    codes = await at_once(place, app_url, [wallet], holds // PROCESSES)

    assert codes == {"ok": 50, "not_enough": holds - 50}
    assert await books.balances(wallet) == (7, 0)


@pytest.mark.parametrize(
    ("wallets", "turns"),
    [(1, 20), (10, 2), *(pytest.param(*case, marks=pytest.mark.prove) for case in [(1, 150), (10, 15)])],
)
async def test_whole_turns_lose_nothing(books: Books, app_url: str, wallets: int, turns: int) -> None:
    """One hot wallet; and ten that four processes ask for in opposite orders, without a deadlock."""
    opened = [await books.open_wallet() for _ in range(wallets)]
    each = PROCESSES * turns
    for wallet in opened:
        await books.grant(wallet, 10 * each)

    codes = await at_once(turn, app_url, opened, turns)

    assert codes == {"ok": 6 * each * wallets}
    assert [await books.balances(wallet) for wallet in opened] == [(4 * each, 0)] * wallets
    assert await books.select("SELECT DISTINCT state, captured FROM holds") == [("settled", 6)]
