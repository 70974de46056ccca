"""Settling: a capture with its receipt, one of each for a call."""

from uuid import UUID

import psycopg
import pytest

from pantheon.ids import uuid7
from pantheon.ledger.verify import verify
from tests.ledger.books import Books

RECEIPT = "SELECT charged, overrun, balance_after, transfer_id IS NOT NULL FROM receipts WHERE id = :id"


async def test_settling_captures_and_leaves_the_receipt_of_it(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 60)
    draw, _ = await books.draw(hold, 40)

    settled = await books.settle(draw, 25)
    repeated = await books.settle(draw, 25)

    assert (settled.code, settled.amount, settled.available, settled.held) == ("ok", 25, 40, 35)
    assert repeated.code == "duplicate"
    assert await books.select(RECEIPT, id=draw) == [(25, 0, 75, True)]
    assert await books.select("SELECT transfer_id FROM receipts") == [(settled.transfer_id,)]


async def test_what_a_call_used_beyond_its_draw_is_on_its_receipt_as_the_operators(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 40)
    draw, _ = await books.draw(hold, 40)

    await books.settle(draw, 45, 45, -5)

    assert await books.select(RECEIPT, id=draw) == [(40, 5, 60, True)]


async def test_a_refused_capture_leaves_no_receipt(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 40)
    draw, _ = await books.draw(hold, 40)
    books.let_hold_run_out(hold)
    await books.expire_hold(hold)

    assert (await books.settle(draw, 5)).code == "draw_ended"
    assert await books.select("SELECT count(*) FROM receipts") == [(0,)]


async def test_a_call_whose_hold_expired_is_settled_at_the_operators_cost_once(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 40)
    draw, _ = await books.draw(hold, 40)
    assert (await books.settle_unfunded(wallet, draw, 5)).code == "conflict"
    books.let_hold_run_out(hold)
    await books.expire_hold(hold)

    assert (await books.settle_unfunded(wallet, draw, 5)).code == "ok"
    assert (await books.settle_unfunded(wallet, draw, 5)).code == "duplicate"
    assert await books.select(RECEIPT, id=draw) == [(0, 5, 100, False)]


async def test_a_call_that_drew_nothing_has_a_receipt_too(books: Books, wallet: UUID) -> None:
    free, lacking = uuid7(), uuid7()

    assert (await books.settle_unfunded(wallet, free, 0)).code == "ok"
    assert (await books.settle_unfunded(wallet, lacking, 7)).code == "ok"

    assert await books.select(RECEIPT, id=free) == [(0, 0, 0, False)]
    assert await books.select(RECEIPT, id=lacking) == [(0, 7, 0, False)]
    assert await books.select("SELECT kind, debit_account, amount FROM transfers") == [
        ("overrun", "operator_overrun", 7)
    ]


@pytest.mark.tampers
@pytest.mark.parametrize(
    "change",
    ["charged = charged - 1", "overrun = 1", """body = '{"lines": [{"amount": 24}]}'"""],
)
async def test_a_receipt_that_does_not_say_what_was_booked_is_found(books: Books, wallet: UUID, change: str) -> None:
    await books.grant(wallet, 100)
    hold, _ = await books.hold(wallet, 60)
    draw, _ = await books.draw(hold, 40)
    await books.settle(draw, 25)

    with psycopg.connect(books.owner_url) as connection:
        connection.execute("ALTER TABLE receipts DISABLE TRIGGER USER")
        connection.execute(f"UPDATE receipts SET {change}".encode())

    async with books.database.transaction() as tx:
        breaks = await verify(tx)
    assert [(found.check, found.row) for found in breaks] == [("receipt", f"receipt {draw}")]
