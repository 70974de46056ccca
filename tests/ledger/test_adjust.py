from uuid import UUID, uuid4

import psycopg
import pytest

from pantheon.ids import uuid7
from tests.ledger.books import Books


async def test_a_positive_adjustment_is_a_grant_from_the_account_of_corrections(books: Books, wallet: UUID) -> None:
    adjusted = await books.adjust(wallet, 70)

    assert (adjusted.code, adjusted.amount, adjusted.available) == ("ok", 70, 70)
    assert await books.movements(adjusted.event_id) == [("adjustment", "adjusted", "available", 70)]
    assert await books.remaining(adjusted) == [70]


async def test_a_negative_adjustment_burns_what_is_available(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)

    adjusted = await books.adjust(wallet, -30)

    assert (adjusted.code, adjusted.amount, adjusted.available) == ("ok", -30, 70)
    assert await books.movements(adjusted.event_id) == [("adjustment", "available", "adjusted", 30)]
    assert await books.remaining(granted) == [70]


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (0, "amount_out_of_range"),
        (None, "amount_out_of_range"),
        (10**18 + 1, "amount_out_of_range"),
        (-(10**18) - 1, "amount_out_of_range"),
        (2**63 - 1, "amount_out_of_range"),
        (-(2**63), "amount_out_of_range"),
        (-101, "not_enough"),
        (-100, "ok"),
        (10**18, "ok"),
    ],
)
async def test_an_adjustment_answers_a_code(books: Books, wallet: UUID, amount: int, code: str) -> None:
    await books.grant(wallet, 100)

    assert (await books.adjust(wallet, amount)).code == code
    assert await books.balances(wallet) == (100 + amount if code == "ok" else 100, 0)


async def test_an_adjustment_of_no_wallet_is_refused(books: Books) -> None:
    assert (await books.adjust(uuid4(), 5)).code == "wallet_not_found"


@pytest.mark.parametrize("amount", [40, -40])
async def test_the_same_adjustment_again_is_a_duplicate_and_another_one_a_conflict(
    books: Books, wallet: UUID, amount: int
) -> None:
    await books.grant(wallet, 100)
    id_ = uuid7()
    first = await books.adjust(wallet, amount, adjustment_id=id_)
    again = await books.adjust(wallet, amount, adjustment_id=id_)

    assert again.code == "duplicate"
    assert (again.amount, again.grant_id, again.transfer_id) == (amount, first.grant_id, first.transfer_id)
    for other in (-amount, amount + 1, None):
        assert (await books.adjust(wallet, other, adjustment_id=id_)).code == "conflict"  # type: ignore[arg-type]
    assert (await books.adjust(await books.open_wallet(), amount, adjustment_id=id_)).code == "conflict"
    assert await books.balances(wallet) == (100 + amount, 0)


async def test_an_operator_may_correct_a_frozen_wallet(books: Books, wallet: UUID) -> None:
    await books.freeze(wallet)

    assert (await books.adjust(wallet, 5)).code == "ok"
    assert (await books.adjust(wallet, -5)).code == "ok"


async def test_freezing_and_thawing(books: Books, wallet: UUID) -> None:
    steps = [True, True, False, False]

    assert [(await books.freeze(wallet, frozen)).code for frozen in steps] == ["ok", "unchanged", "ok", "unchanged"]
    assert await books.select("SELECT state FROM wallets") == [("active",)]
    assert (await books.freeze(uuid4())).code == "wallet_not_found"


async def test_not_knowing_whether_to_freeze_never_thaws(books: Books, wallet: UUID) -> None:
    await books.freeze(wallet)

    with pytest.raises(Exception, match="null value in column"):
        await books.select("SELECT * FROM ledger_set_frozen(:wallet, NULL)", wallet=wallet)
    assert await books.select("SELECT state FROM wallets") == [("frozen",)]


async def test_a_closed_wallet_is_neither_frozen_nor_thawed(books: Books, wallet: UUID) -> None:
    with psycopg.connect(books.owner_url) as owner:
        owner.execute("UPDATE wallets SET state = 'closed'")

    assert [(await books.freeze(wallet, frozen)).code for frozen in (True, False)] == ["wallet_closed"] * 2
    # Money that was received must always find its wallet.
    assert (await books.grant(wallet, 5)).code == "ok"
