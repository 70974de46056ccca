"""Claw-backs: whatever the history, a grant ends where the last target puts it."""

import random
from uuid import UUID, uuid4

import pytest

from pantheon.errors import InvariantError
from pantheon.ledger import post
from tests.ledger.books import NEXT_YEAR, Books


async def test_unspent_credits_of_the_same_grant_go_first(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    other = await books.grant(wallet, 50)

    reversed_ = await books.reverse(granted, 30)

    assert (reversed_.code, reversed_.amount, reversed_.available, reversed_.debt) == ("ok", 30, 120, 0)
    assert await books.remaining(granted, other) == [70, 50]
    assert await books.movements(reversed_.event_id) == [("reversal", "available", "issued_paid", 30)]
    assert await books.select("SELECT reverses FROM transfers WHERE kind = 'reversal'") == [(granted.transfer_id,)]


async def test_spent_credits_become_debt_even_where_other_grants_have_some(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    await books.adjust(wallet, -80)
    other = await books.grant(wallet, 500)

    reversed_ = await books.reverse(granted, 100)

    assert (reversed_.available, reversed_.debt) == (500, 80)
    assert await books.remaining(granted, other) == [0, 500]
    assert await books.movements(reversed_.event_id) == [
        ("reversal", "available", "issued_paid", 20),
        ("debt_raised", "debt", "issued_paid", 80),
    ]


async def test_a_claw_back_of_all_spent_credits_answers_the_transfer_that_raised_the_debt(
    books: Books, wallet: UUID
) -> None:
    granted = await books.grant(wallet, 100)
    await books.adjust(wallet, -100)

    reversed_ = await books.reverse(granted, 100)

    [(kind,)] = await books.select("SELECT kind FROM transfers WHERE id = :id", id=reversed_.transfer_id)
    assert kind == "debt_raised"


async def test_the_same_target_again_changes_nothing(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)

    assert [(await books.reverse(granted, target)).code for target in (0, 40, 40, 0, 0)] == [
        "unchanged",
        "ok",
        "unchanged",
        "ok",
        "unchanged",
    ]
    assert await books.balances(wallet) == (100, 0)


@pytest.mark.parametrize("target", [-1, 101, 2**63 - 1, -(2**63), None])
async def test_no_more_than_the_grant_and_no_less_than_nothing_can_be_reversed(
    books: Books, wallet: UUID, target: int
) -> None:
    granted = await books.grant(wallet, 100)

    assert (await books.reverse(granted, target)).code == "amount_out_of_range"
    assert await books.balances(wallet) == (100, 0)


async def test_a_grant_that_does_not_exist_is_refused(books: Books) -> None:
    async with books.database.transaction() as tx:
        answer = await post.reverse_to_target(tx, grant_id=uuid4(), target=1)
    assert answer.code == "grant_not_found"


async def test_an_adjustment_is_not_reversed_but_adjusted(books: Books, wallet: UUID) -> None:
    assert (await books.reverse(await books.adjust(wallet, 100), 100)).code == "not_reversible"


async def test_a_restore_repays_debt_first_and_the_rest_can_be_spent(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    await books.adjust(wallet, -80)
    await books.reverse(granted, 100)

    restored = await books.reverse(granted, 0)

    assert (restored.amount, restored.available, restored.debt) == (-100, 20, 0)
    assert await books.movements(restored.event_id) == [
        ("restore", "issued_paid", "available", 100),
        ("debt_repaid", "available", "debt", 80),
    ]
    assert await books.remaining(granted) == [20]


async def test_a_restore_gives_back_all_of_it_when_another_top_up_has_repaid_the_debt(
    books: Books, wallet: UUID
) -> None:
    granted = await books.grant(wallet, 100)
    await books.adjust(wallet, -100)
    await books.reverse(granted, 100)
    await books.grant(wallet, 100)
    assert await books.balances(wallet) == (0, 0)

    await books.reverse(granted, 0)

    assert await books.balances(wallet) == (100, 0)


async def test_credits_that_ran_out_are_taken_back_without_debt_because_nobody_spent_them(
    books: Books, wallet: UUID
) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    await books.adjust(wallet, -30)
    books.let_run_out(granted)

    reversed_ = await books.reverse(granted, 100)

    assert (reversed_.available, reversed_.debt) == (0, 30)
    assert await books.movements(reversed_.event_id) == [
        ("expiry_reversed", "expired", "issued_paid", 70),
        ("debt_raised", "debt", "issued_paid", 30),
    ]


async def test_a_restored_grant_that_has_run_out_meanwhile_repays_debt_and_runs_out_at_once(
    books: Books, wallet: UUID
) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    await books.adjust(wallet, -30)
    await books.reverse(granted, 100)
    books.let_run_out(granted)

    restored = await books.reverse(granted, 0)

    assert (restored.available, restored.debt) == (0, 0)
    kinds = await books.select("SELECT kind, amount FROM transfers ORDER BY wallet_seq DESC LIMIT 3")
    assert kinds == [("expiry", 70), ("debt_repaid", 30), ("restore", 100)]


async def test_what_expired_twice_is_still_never_owed(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    await books.adjust(wallet, -30)
    books.let_run_out(granted)

    for target in (100, 50, 100, 0, 10, 100):
        await books.reverse(granted, target)

    assert await books.balances(wallet) == (0, 30)
    folded = await books.select(
        "SELECT sum(amount) FILTER (WHERE credit_account = 'expired')"
        " - sum(amount) FILTER (WHERE debit_account = 'expired') FROM transfers"
    )
    assert folded == [(0,)]


@pytest.mark.parametrize("seed", range(4))
async def test_any_path_of_targets_ends_as_the_direct_one(books: Books, seed: int) -> None:
    dice = random.Random(seed)
    spent = dice.choice([0, 30, 100])
    last = dice.randint(0, 100)
    ends = []
    for path in ([last], [*(dice.randint(0, 100) for _ in range(6)), last], [100, 0, last]):
        wallet = await books.open_wallet()
        granted = await books.grant(wallet, 100)
        if spent:
            await books.adjust(wallet, -spent)
        for target in path:
            await books.reverse(granted, target)
        ends.append(await books.balances(wallet))

    assert ends == [(max(0, 100 - spent - last), max(0, spent + last - 100))] * 3


async def test_a_promotional_grant_is_reversed_to_the_account_that_it_came_from(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, category="promotional")

    reversed_ = await books.reverse(granted, 100)

    assert await books.movements(reversed_.event_id) == [("reversal", "available", "issued_promotional", 100)]


async def test_a_frozen_wallet_is_no_shelter_from_a_claw_back(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    await books.freeze(wallet)

    assert (await books.reverse(granted, 100)).code == "ok"
    assert (await books.reverse(granted, 0)).code == "ok"


async def test_an_answer_that_was_not_expected_is_a_bug(books: Books, wallet: UUID) -> None:
    refused = await books.grant(wallet, 0)

    with pytest.raises(InvariantError, match="the ledger answered amount_out_of_range"):
        refused.expect("ok", "duplicate")
