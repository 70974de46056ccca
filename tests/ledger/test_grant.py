from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pantheon import clock
from pantheon.ids import uuid7
from pantheon.money.chart import Kind
from tests.ledger.books import LAST_YEAR, NEXT_YEAR, Books

MOST = 10**18


async def test_a_grant_can_be_spent_and_names_its_origin(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, reference_id="pi_1", cost_minor=300)

    assert (granted.code, granted.amount, granted.available, granted.debt) == ("ok", 100, 100, 0)
    assert await books.balances(wallet) == (100, 0)
    [row] = await books.select("SELECT source, category, amount, remaining, cost_minor, reference_id FROM grants")
    assert row == ("top_up", "paid", 100, 100, 300, "pi_1")
    assert await books.movements(granted.event_id) == [("top_up_grant", "issued_paid", "available", 100)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": 0}, "amount_out_of_range"),
        ({"amount": -1}, "amount_out_of_range"),
        ({"amount": None}, "amount_out_of_range"),
        ({"amount": MOST}, "ok"),
        ({"amount": MOST + 1}, "amount_out_of_range"),
        ({"amount": 2**63 - 1}, "amount_out_of_range"),
        ({"wallet": UUID(int=7)}, "wallet_not_found"),
        ({"wallet": None}, "wallet_not_found"),
        ({"expires_at": LAST_YEAR}, "already_expired"),
        ({"expires_at": LAST_YEAR - timedelta(days=1)}, "already_expired"),
        ({"effective_at": NEXT_YEAR}, "not_yet_effective"),
        ({"effective_at": None}, "ok"),
        ({"expires_at": NEXT_YEAR}, "ok"),
    ],
)
async def test_a_grant_answers_a_code_and_a_refusal_changes_nothing(
    books: Books, wallet: UUID, changes: dict[str, Any], code: str
) -> None:
    granted = await books.grant(**{"wallet": wallet, "amount": 100} | changes)

    assert granted.code == code
    expected = [] if code != "ok" else [(1,)]
    assert await books.select("SELECT wallet_seq FROM transfers") == expected
    assert await books.select("SELECT 1 FROM grants") == expected


async def test_a_clock_that_is_a_little_ahead_of_the_database_is_not_the_future(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, effective_at=clock.now() + timedelta(seconds=20))

    assert granted.code == "ok"


async def test_a_wallet_that_is_full_takes_nothing_more_instead_of_failing(books: Books, wallet: UUID) -> None:
    codes = [(await books.grant(wallet, MOST)).code for _ in range(10)]

    assert codes == ["ok"] * 9 + ["amount_out_of_range"]
    assert (await books.adjust(wallet, 1)).code == "amount_out_of_range"


async def test_the_same_grant_again_is_a_duplicate_and_answers_the_first_one(books: Books, wallet: UUID) -> None:
    first = await books.grant(wallet, 100, reference_id="pi_1")
    again = await books.grant(wallet, 100, reference_id="pi_1")

    assert again.code == "duplicate"
    assert (again.event_id, again.transfer_id, again.grant_id) == (first.event_id, first.transfer_id, first.grant_id)
    assert again.amount == 100
    assert await books.balances(wallet) == (100, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 99},
        {"elsewhere": True},
        {"category": "promotional"},
    ],
)
async def test_a_reference_that_was_used_for_something_else_is_a_conflict(
    books: Books, wallet: UUID, changes: dict[str, Any]
) -> None:
    usual: dict[str, Any] = {"amount": 100, "reference_id": "r", "kind": Kind.ADMIN_GRANT, "source": "admin"}
    await books.grant(wallet, **usual)
    other = await books.open_wallet() if changes.pop("elsewhere", False) else wallet

    assert (await books.grant(other, **usual | changes)).code == "conflict"
    assert await books.balances(wallet) == (100, 0)


async def test_the_id_of_another_grant_is_a_conflict(books: Books, wallet: UUID) -> None:
    first = await books.grant(wallet, 100)

    assert (await books.grant(wallet, 100, grant_id=first.grant_id)).code == "conflict"
    assert first.grant_id is not None
    assert (await books.adjust(wallet, 5, adjustment_id=first.grant_id)).code == "conflict"


async def test_the_same_reference_may_stand_for_grants_of_two_kinds_and_both_can_be_reversed(
    books: Books, wallet: UUID
) -> None:
    paid = await books.grant(wallet, 100, reference_id="pi_1")
    bonus = await books.grant(wallet, 10, reference_id="pi_1", category="promotional")
    other = await books.open_wallet()
    thanks = await books.grant(other, 5, reference_id="pi_1", kind=Kind.ADMIN_GRANT, source="compensation")

    assert [(await books.reverse(grant, 5)).code for grant in (paid, bonus, thanks)] == ["ok", "ok", "ok"]
    assert await books.balances(wallet) == (100, 0)
    assert await books.balances(other) == (0, 0)


async def test_only_a_kind_of_grant_can_be_granted(books: Books, wallet: UUID) -> None:
    with pytest.raises(Exception, match="restore is not a kind of grant"):
        await books.grant(wallet, 100, kind=Kind.RESTORE)


async def test_a_frozen_or_closed_wallet_takes_grants(books: Books, wallet: UUID) -> None:
    await books.freeze(wallet)

    assert (await books.grant(wallet, 100)).code == "ok"


async def test_a_paid_grant_repays_debt_first_as_its_own_transfer(books: Books, wallet: UUID) -> None:
    spent = await books.grant(wallet, 500)
    await books.adjust(wallet, -500)
    await books.reverse(spent, 500)
    assert await books.balances(wallet) == (0, 500)

    granted = await books.grant(wallet, 1000)

    assert (granted.available, granted.debt) == (500, 0)
    assert await books.movements(granted.event_id) == [
        ("top_up_grant", "issued_paid", "available", 1000),
        ("debt_repaid", "available", "debt", 500),
    ]
    assert await books.remaining(granted) == [500]


async def test_debt_larger_than_a_paid_grant_takes_all_of_it_and_the_next_ones(books: Books, wallet: UUID) -> None:
    spent = await books.grant(wallet, 500)
    await books.adjust(wallet, -500)
    await books.reverse(spent, 500)

    assert [(g.available, g.debt) for g in [await books.grant(wallet, 200) for _ in range(3)]] == [
        (0, 300),
        (0, 100),
        (100, 0),
    ]


async def test_promotional_grants_and_adjustments_leave_debt_alone(books: Books, wallet: UUID) -> None:
    spent = await books.grant(wallet, 500)
    await books.adjust(wallet, -500)
    await books.reverse(spent, 500)

    await books.grant(wallet, 10, category="promotional")
    await books.adjust(wallet, 20)

    assert await books.balances(wallet) == (30, 500)


async def _fill(books: Books, wallet: UUID) -> None:
    """32 open grants: from here on promotional ones merge where they can."""
    for priority in range(32):
        await books.grant(wallet, 1, category="promotional", priority=priority, expires_at=NEXT_YEAR)


async def test_beyond_32_open_grants_promotional_ones_merge_into_their_like(books: Books, wallet: UUID) -> None:
    await _fill(books, wallet)
    like: dict[str, Any] = {"category": "promotional", "priority": 5, "expires_at": NEXT_YEAR}

    merged = await books.grant(wallet, 7, **like, reference_id="promo")
    again = await books.grant(wallet, 7, **like, reference_id="promo")

    [(amount, remaining)] = await books.select("SELECT amount, remaining FROM grants WHERE priority = 5")
    assert (amount, remaining) == (8, 8)
    assert (again.code, again.grant_id) == ("duplicate", merged.grant_id)
    assert await books.select("SELECT count(*) FROM grants") == [(32,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "paid"},
        {"priority": 500},
        {"expires_at": None},
        {"expires_at": NEXT_YEAR + timedelta(days=1)},
        {"source": "plan"},
        # It came with a payment: a refund has to find it.
        {"source": "top_up"},
    ],
)
async def test_what_differs_never_merges_and_is_never_refused(
    books: Books, wallet: UUID, changes: dict[str, Any]
) -> None:
    await _fill(books, wallet)
    if changes.get("source") == "top_up":
        await books.grant(wallet, 1, category="promotional", priority=5, expires_at=NEXT_YEAR, source="top_up")
    [(before,)] = await books.select("SELECT count(*) FROM grants")

    grant = {"category": "promotional", "priority": 5, "expires_at": NEXT_YEAR} | changes

    assert (await books.grant(wallet, 7, **grant)).code == "ok"
    assert await books.select("SELECT count(*) FROM grants") == [(before + 1,)]


async def test_merging_stops_where_a_grant_would_become_too_large(books: Books, wallet: UUID) -> None:
    await _fill(books, wallet)
    like: dict[str, Any] = {"category": "promotional", "priority": 5, "expires_at": NEXT_YEAR}

    assert [(await books.grant(wallet, MOST, **like)).code for _ in range(2)] == ["ok", "ok"]
    assert (await books.select("SELECT max(amount) FROM grants")) == [(MOST,)]


async def test_a_merged_grant_is_reversed_as_the_one_grant_that_it_has_become(books: Books, wallet: UUID) -> None:
    await _fill(books, wallet)
    merged = await books.grant(wallet, 7, category="promotional", priority=5, expires_at=NEXT_YEAR)

    assert (await books.reverse(merged, 8)).code == "ok"
    assert (await books.reverse(merged, 9)).code == "amount_out_of_range"
    assert await books.balances(wallet) == (31, 0)


async def test_a_note_is_kept_beside_the_chain(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, note="thank you")

    assert await books.select("SELECT event_id, note FROM transfer_notes") == [(granted.event_id, "thank you")]


async def test_ids_of_the_books_are_version_7_and_begin_with_the_time(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)

    for id_ in (granted.event_id, granted.transfer_id):
        assert id_ is not None
        assert id_.version == 7
        age = clock.now() - datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
        assert abs(age) < timedelta(minutes=1)


async def test_a_wallet_is_opened_once_for_a_user(books: Books, wallet: UUID) -> None:
    [(user_id,)] = await books.select("SELECT user_id FROM wallets")
    call = "SELECT code, wallet_id FROM ledger_open_wallet(CAST(:wallet AS uuid), CAST(:user AS uuid))"

    assert await books.select(call, wallet=uuid4(), user=user_id) == [("duplicate", wallet)]
    assert await books.select(call, wallet=wallet, user=uuid7()) == [("conflict", None)]
    with pytest.raises(Exception, match="user_id"):
        await books.select(call, wallet=uuid4(), user=None)
