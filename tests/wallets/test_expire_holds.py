"""A hold that nobody ends does not keep credits for ever."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from pantheon.db.engine import Database
from pantheon.wallets.expire_holds import expire_holds
from tests.installation import Installation, eventually
from tests.ledger.books import Books


@pytest.fixture
def books(database: Database, owner_url: str) -> Books:
    return Books(database, owner_url)


@pytest.fixture
async def wallet(books: Books) -> UUID:
    wallet = await books.open_wallet()
    await books.grant(wallet, 100)
    return wallet


async def test_holds_whose_time_is_over_give_back_what_they_kept(books: Books, wallet: UUID) -> None:
    over, running = (await books.hold(wallet, 60))[0], (await books.hold(wallet, 30))[0]
    done, _ = await books.draw(over, 20)
    await books.capture(done, 15)
    await books.draw(over, 20)
    books.let_hold_run_out(over)

    assert await expire_holds(books.database) == 1
    assert await expire_holds(books.database) == 0

    assert await books.state_of(over) == ("expired", 0, 15)
    assert await books.state_of(running) == ("placed", 0, 0)
    assert await books.balances(wallet) == (55, 0)


async def test_a_capture_and_the_end_of_its_hold_at_once_are_one_of_the_two(books: Books, wallet: UUID) -> None:
    for _ in range(5):
        hold, _ = await books.hold(wallet, 10)
        draw, _ = await books.draw(hold, 10)
        books.let_hold_run_out(hold)

        captured, expired = await asyncio.gather(books.capture(draw, 4), expire_holds(books.database))

        # Captured first, the rest still expires; expired first, the capture learns of it.
        assert expired == 1
        assert await books.state_of(hold) == ("expired", 0, 4 if captured.code == "ok" else 0)
        assert captured.code in ("ok", "draw_ended")


async def test_a_wallet_that_is_locked_is_left_for_the_next_run(books: Books, wallet: UUID, app_url: str) -> None:
    other = await books.open_wallet()
    await books.grant(other, 100)
    held = [(await books.hold(each, 10))[0] for each in (wallet, other)]
    for hold in held:
        books.let_hold_run_out(hold)

    impatient = Database(f"{app_url}?options=-c%20lock_timeout%3D200ms")
    with psycopg.connect(books.owner_url) as locker:
        locker.execute("SELECT FROM wallets WHERE id = %s FOR UPDATE", [wallet])
        assert await expire_holds(impatient) == 1
    await impatient.close()

    assert [(await books.state_of(hold))[0] for hold in held] == ["placed", "expired"]
    assert await expire_holds(books.database) == 1


@pytest.mark.prove
async def test_the_worker_ends_them_within_a_minute(installation: Installation, books: Books, wallet: UUID) -> None:
    hold, _ = await books.hold(wallet, 60)
    books.let_hold_run_out(hold)

    async def ended() -> bool:
        return (await books.state_of(hold))[0] == "expired"

    await eventually(ended, seconds=60)
