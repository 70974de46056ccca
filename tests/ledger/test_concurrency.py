"""Many at once on real connections: nothing is lost, nothing is done twice, nothing goes below zero."""

import asyncio
import json
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from pantheon.ids import uuid7
from tests.ledger.books import NEXT_YEAR, Books


async def _codes(*calls: Any) -> Counter[str]:
    return Counter(posting.code for posting in await asyncio.gather(*calls))


async def test_50_grants_at_once_lose_none(books: Books, wallet: UUID) -> None:
    codes = await _codes(*(books.grant(wallet, 10) for _ in range(50)))

    assert codes == {"ok": 50}
    assert await books.balances(wallet) == (500, 0)
    assert await books.select("SELECT max(wallet_seq) FROM transfers") == [(50,)]


async def test_one_grant_sent_50_times_at_once_is_granted_once(books: Books, wallet: UUID) -> None:
    codes = await _codes(*(books.grant(wallet, 10, reference_id="pi_1") for _ in range(50)))

    assert codes == {"ok": 1, "duplicate": 49}
    assert await books.balances(wallet) == (10, 0)


async def test_one_reference_sent_to_20_wallets_at_once_reaches_one_of_them(books: Books) -> None:
    wallets = [await books.open_wallet() for _ in range(20)]

    codes = await _codes(*(books.grant(wallet, 10, reference_id="pi_1") for wallet in wallets))

    assert codes == {"ok": 1, "conflict": 19}
    assert await books.select("SELECT sum(available)::bigint FROM wallets") == [(10,)]


async def test_opposing_adjustments_never_go_below_zero_and_net_to_what_was_answered(
    books: Books, wallet: UUID
) -> None:
    await books.grant(wallet, 15)

    amounts = [10, -10] * 25
    answers = await asyncio.gather(*(books.adjust(wallet, amount) for amount in amounts))

    assert {answer.code for answer in answers} <= {"ok", "not_enough"}
    done = sum(amount for amount, answer in zip(amounts, answers, strict=True) if answer.code == "ok")
    assert await books.balances(wallet) == (15 + done, 0)
    assert all(answer.available >= 0 for answer in answers)


async def test_a_claw_back_a_restore_an_expiry_and_spending_at_once_leave_whole_books(
    books: Books, wallet: UUID
) -> None:
    grants = [await books.grant(wallet, 100, expires_at=NEXT_YEAR) for _ in range(4)]
    books.let_run_out(grants[3])

    await asyncio.gather(
        *(books.reverse(grants[i % 3], target) for i, target in enumerate([100, 50, 0, 70, 100, 20])),
        *(books.adjust(wallet, -25) for _ in range(6)),
        *(books.expire(wallet) for _ in range(3)),
    )
    # The books are verified after every test; here it is that nothing failed or waited for ever.
    assert (await books.expire(wallet)).code == "nothing_due"


async def test_a_wallet_is_opened_once_by_20_at_once(books: Books, wallet: UUID) -> None:
    [(user,)] = await books.select("INSERT INTO users (id, created_at) VALUES (:id, now()) RETURNING id", id=uuid7())

    async def open_it() -> str:
        call = "SELECT code FROM ledger_open_wallet(CAST(:id AS uuid), CAST(:user AS uuid))"
        [(code,)] = await books.select(call, id=uuid7(), user=user)
        return str(code)

    assert Counter(await asyncio.gather(*(open_it() for _ in range(20)))) == {"ok": 1, "duplicate": 19}


async def test_batches_with_wallets_in_opposite_orders_never_deadlock(books: Books) -> None:
    wallets = [await books.open_wallet() for _ in range(10)]

    async def grant_all(order: list[UUID]) -> list[str]:
        items = [
            {
                "wallet_id": str(wallet),
                "grant_id": str(uuid4()),
                "kind": "promotion_grant",
                "reference_id": uuid4().hex,
                "source": "promotion",
                "category": "promotional",
                "amount": 10,
            }
            for wallet in order
        ]
        query = "SELECT code FROM ledger_grant_batch(CAST(:items AS jsonb))"
        return [code for (code,) in await books.select(query, items=json.dumps(items))]

    async def adjust_all(order: list[UUID]) -> list[str]:
        items = [{"wallet_id": str(wallet), "id": str(uuid4()), "amount": -1} for wallet in order]
        query = "SELECT code FROM ledger_adjust_batch(CAST(:items AS jsonb))"
        return [code for (code,) in await books.select(query, items=json.dumps(items))]

    assert set(await grant_all(wallets)) == {"ok"}
    rounds = [batch(order) for _ in range(8) for batch in (grant_all, adjust_all) for order in (wallets, wallets[::-1])]
    codes = [code for answer in await asyncio.gather(*rounds) for code in answer]

    assert Counter(codes) == {"ok": 320}
    assert await books.select("SELECT DISTINCT available FROM wallets") == [(10 + 16 * 10 - 16,)]


async def test_one_refusal_in_a_batch_does_not_abort_the_others_and_answers_keep_their_order(
    books: Books, wallet: UUID
) -> None:
    await books.grant(wallet, 10)
    id_ = uuid4()
    items = [
        {"wallet_id": str(wallet), "id": str(id_), "amount": -4},
        {"wallet_id": str(wallet), "id": str(uuid4()), "amount": -100},
        {"wallet_id": str(uuid4()), "id": str(uuid4()), "amount": -1},
        {"wallet_id": str(wallet), "id": str(uuid4()), "amount": None},
        {"wallet_id": str(wallet), "id": str(id_), "amount": -4},
        {"wallet_id": str(wallet), "id": str(uuid4()), "amount": -6, "note": "all of it"},
    ]

    rows = await books.select("SELECT code FROM ledger_adjust_batch(CAST(:items AS jsonb))", items=json.dumps(items))

    expected = ["ok", "not_enough", "wallet_not_found", "amount_out_of_range", "duplicate", "ok"]
    assert [code for (code,) in rows] == expected
    assert await books.balances(wallet) == (0, 0)


async def test_an_exception_in_a_batch_undoes_all_of_it(books: Books, wallet: UUID) -> None:
    items = [
        {"wallet_id": str(wallet), "id": str(uuid4()), "amount": 5},
        {"wallet_id": str(wallet), "id": str(uuid4()), "amount": 5, "note": "x" * 257},
    ]

    with pytest.raises(Exception, match="transfer_notes_are_short"):
        await books.select("SELECT code FROM ledger_adjust_batch(CAST(:items AS jsonb))", items=json.dumps(items))
    assert await books.balances(wallet) == (0, 0)


async def test_a_batch_of_targets_answers_for_each_grant(books: Books, wallet: UUID) -> None:
    first, second = await books.grant(wallet, 10), await books.grant(await books.open_wallet(), 20)
    items = [
        {"grant_id": str(second.grant_id), "target": 20},
        {"grant_id": str(uuid4()), "target": 1},
        {"grant_id": str(first.grant_id), "target": 11},
        {"grant_id": str(first.grant_id), "target": 10, "note": "refunded"},
    ]

    rows = await books.select(
        "SELECT code, wallet_id FROM ledger_reverse_to_target_batch(CAST(:items AS jsonb))", items=json.dumps(items)
    )

    assert rows == [
        ("ok", second.wallet_id),
        ("grant_not_found", None),
        ("amount_out_of_range", first.wallet_id),
        ("ok", first.wallet_id),
    ]


async def test_a_grant_does_not_wait_for_a_transaction_that_wrote_a_row_about_its_wallet(
    books: Books, wallet: UUID
) -> None:
    with psycopg.connect(books.owner_url) as other:
        # What the foreign key of such a row, for instance of a top-up, does to the wallet until it commits.
        other.execute("SELECT FROM wallets WHERE id = %s FOR KEY SHARE", [wallet])

        granted = await asyncio.wait_for(books.grant(wallet, 10), timeout=4)

    assert granted.code == "ok"
