from uuid import UUID, uuid4

from tests.ledger.books import NEXT_YEAR, Books


async def test_what_ran_out_expires_and_the_rest_stays(books: Books, wallet: UUID) -> None:
    old = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    older = await books.grant(wallet, 50, expires_at=NEXT_YEAR)
    lasting = await books.grant(wallet, 7)
    books.let_run_out(old, older)

    expired = await books.expire(wallet)

    assert (expired.code, expired.amount, expired.available) == ("ok", 150, 7)
    assert await books.remaining(old, older, lasting) == [0, 0, 7]
    rows = await books.select("SELECT reference_id, amount, credit_account FROM transfers WHERE kind = 'expiry'")
    assert rows == [(str(old.grant_id), 100, "expired"), (str(older.grant_id), 50, "expired")]
    assert await books.select("SELECT next_expiry_at FROM wallets") == [(None,)]


async def test_nothing_is_due_before_its_time_and_twice_is_once(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    assert (await books.expire(wallet)).code == "nothing_due"
    books.let_run_out(granted)

    assert [(await books.expire(wallet)).code for _ in range(2)] == ["ok", "nothing_due"]
    assert (await books.expire(uuid4())).code == "wallet_not_found"


async def test_a_wallet_knows_the_soonest_end_of_its_open_grants(books: Books, wallet: UUID) -> None:
    await books.grant(wallet, 10, expires_at=NEXT_YEAR, priority=1)
    await books.grant(wallet, 10, expires_at=NEXT_YEAR.replace(year=NEXT_YEAR.year + 1), priority=2)
    query = "SELECT extract(year FROM next_expiry_at)::int FROM wallets"

    assert await books.select(query) == [(NEXT_YEAR.year,)]
    await books.adjust(wallet, -10)
    assert await books.select(query) == [(NEXT_YEAR.year + 1,)]


async def test_nothing_that_ran_out_can_be_spent_though_no_job_has_expired_it_yet(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    await books.grant(wallet, 7)
    books.let_run_out(granted)

    refused = await books.adjust(wallet, -8)

    # The refusal keeps the expiry.
    assert (refused.code, refused.available) == ("not_enough", 7)
    assert await books.balances(wallet) == (7, 0)
    assert (await books.adjust(wallet, -7)).code == "ok"


async def test_a_grant_and_a_reversal_expire_first_too(books: Books, wallet: UUID) -> None:
    first = await books.grant(wallet, 100, expires_at=NEXT_YEAR)
    books.let_run_out(first)
    second = await books.grant(wallet, 10, expires_at=NEXT_YEAR)
    assert second.available == 10
    books.let_run_out(second)

    assert (await books.reverse(second, 0)).code == "unchanged"
    assert await books.balances(wallet) == (0, 0)
    kinds = await books.select("SELECT kind FROM transfers ORDER BY wallet_seq")
    assert kinds == [("top_up_grant",), ("expiry",), ("top_up_grant",), ("expiry",)]


async def test_a_batch_expires_each_wallet_and_answers_in_the_order_of_its_items(books: Books) -> None:
    wallets = [await books.open_wallet() for _ in range(3)]
    for wallet in wallets[:2]:
        books.let_run_out(await books.grant(wallet, 100, expires_at=NEXT_YEAR))
    items = [wallets[2], wallets[1], uuid4(), wallets[0]]

    rows = await books.select(
        "SELECT code, wallet_id FROM ledger_expire_batch(to_jsonb(CAST(:items AS uuid[])))", items=items
    )

    assert rows == [("nothing_due", wallets[2]), ("ok", wallets[1]), ("wallet_not_found", None), ("ok", wallets[0])]
