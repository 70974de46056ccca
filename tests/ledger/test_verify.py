"""Verification names what was changed behind the books' back. Here the owner does so, with the triggers off."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from pantheon.ledger.post import Posting
from pantheon.ledger.verify import verify
from tests.ledger.books import NEXT_YEAR, Books

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TABLES = ("wallets", "transfers", "grants", "grant_moves")


async def _history(books: Books, wallet: UUID) -> list[Posting]:
    """Five transfers: two grants, two that burn the first one, one that takes back a part of it."""
    first = await books.grant(wallet, 100)
    second = await books.grant(wallet, 50)
    return [
        first,
        second,
        await books.adjust(wallet, -30),
        await books.adjust(wallet, -20),
        await books.reverse(first, 10),
    ]


def _tamper(books: Books, *statements: str) -> None:
    with psycopg.connect(books.owner_url) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        for statement in statements:
            assert owner.execute(statement.encode()).rowcount > 0, statement
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER".encode())


async def _breaks(books: Books) -> set[tuple[str, str]]:
    async with books.database.transaction() as tx:
        return {(found.check, found.row) for found in await verify(tx)}


async def test_whole_books_have_no_breaks(books: Books, wallet: UUID) -> None:
    await _history(books, wallet)
    expiring = await books.grant(wallet, 40, expires_at=NEXT_YEAR)
    books.let_run_out(expiring)
    await books.reverse(expiring, 15)
    await books.reverse(expiring, 5)

    assert await _breaks(books) == set()


@pytest.mark.tampers
@pytest.mark.parametrize(
    "change",
    [
        "amount = amount + 1, available_after = available_after",
        "event_id = gen_random_uuid()",
        "debit_account = 'adjusted', credit_account = 'available'",
        "kind = 'expiry', credit_account = 'expired'",
        "reference_id = 'another'",
        "revision = 7",
        "effective_at = effective_at + interval '1 microsecond'",
        "recorded_at = recorded_at - interval '1 microsecond'",
        "actor = gen_random_uuid()",
        "reverses = id",
        "available_after = available_after + 1",
        "held_after = 1",
        "debt_after = 1",
        "hash = sha256('')",
    ],
)
async def test_a_transfer_whose_row_was_changed_is_named(books: Books, wallet: UUID, change: str) -> None:
    changed = (await _history(books, wallet))[2]
    _tamper(books, f"UPDATE transfers SET {change} WHERE id = '{changed.transfer_id}'")

    assert ("chain", f"transfer {changed.transfer_id}") in await _breaks(books)


@pytest.mark.tampers
async def test_a_flipped_amount_is_also_named_by_the_balances_and_the_moves(books: Books, wallet: UUID) -> None:
    changed = (await _history(books, wallet))[2]
    row = f"transfer {changed.transfer_id}"
    _tamper(books, f"UPDATE transfers SET amount = 31 WHERE id = '{changed.transfer_id}'")

    assert await _breaks(books) == {("chain", row), ("balance after", row), ("grant moves", row)}


@pytest.mark.tampers
async def test_a_forger_who_also_mends_the_hash_breaks_the_next_link(books: Books, wallet: UUID) -> None:
    changed, following = (await _history(books, wallet))[2:4]
    _tamper(
        books,
        f"UPDATE transfers SET effective_at = now() WHERE id = '{changed.transfer_id}'",
        "UPDATE transfers t SET hash = ledger_hash(head.hash, t) FROM transfers head"
        f" WHERE head.wallet_seq = t.wallet_seq - 1 AND t.id = '{changed.transfer_id}'",
    )

    assert await _breaks(books) == {("chain", f"transfer {following.transfer_id}")}


@pytest.mark.tampers
async def test_a_deleted_transfer_is_missed_by_the_next_one(books: Books, wallet: UUID) -> None:
    deleted, following = (await _history(books, wallet))[2:4]
    _tamper(
        books,
        f"DELETE FROM grant_moves WHERE transfer_id = '{deleted.transfer_id}'",
        f"DELETE FROM transfers WHERE id = '{deleted.transfer_id}'",
    )

    row = f"transfer {following.transfer_id}"
    assert {("chain", row), ("sequence", row), ("balance after", row)} <= await _breaks(books)


@pytest.mark.tampers
@pytest.mark.parametrize("also_from_the_wallet", [False, True])
async def test_a_deleted_last_transfer_is_missed_by_the_wallet_or_else_by_its_grant(
    books: Books, wallet: UUID, also_from_the_wallet: bool
) -> None:
    deleted = (await _history(books, wallet))[4]
    _tamper(
        books,
        f"DELETE FROM grant_moves WHERE transfer_id = '{deleted.transfer_id}'",
        f"DELETE FROM transfers WHERE id = '{deleted.transfer_id}'",
    )
    if also_from_the_wallet:
        _tamper(
            books,
            "UPDATE wallets w SET available = t.available_after, seq = t.wallet_seq, head_hash = t.hash"
            " FROM transfers t WHERE t.wallet_id = w.id AND t.wallet_seq = 4",
        )

    breaks = await _breaks(books)
    assert (("wallet", f"wallet {wallet}") in breaks) is not also_from_the_wallet
    assert {("grant", f"grant {deleted.grant_id}"), ("reversed", f"grant {deleted.grant_id}")} <= breaks


@pytest.mark.tampers
@pytest.mark.parametrize("seq", [4, 6])
async def test_an_inserted_transfer_is_named(books: Books, wallet: UUID, seq: int) -> None:
    await _history(books, wallet)
    inserted = UUID(int=5)
    make_room = ["UPDATE transfers SET wallet_seq = wallet_seq + 10 WHERE wallet_seq >= 4"] if seq == 4 else []
    _tamper(
        books,
        *make_room,
        "INSERT INTO transfers SELECT (jsonb_populate_record(t, '"
        + json.dumps({"id": str(inserted), "wallet_seq": seq, "reference_id": "mine"})
        + "')).* FROM transfers t WHERE wallet_seq = 2",
    )

    assert ("chain", f"transfer {inserted}") in await _breaks(books)


@pytest.mark.tampers
async def test_transfers_in_another_order_are_named(books: Books, wallet: UUID) -> None:
    third, fourth = (await _history(books, wallet))[2:4]
    _tamper(
        books,
        "UPDATE transfers SET wallet_seq = 99 WHERE wallet_seq = 3",
        "UPDATE transfers SET wallet_seq = 3 WHERE wallet_seq = 4",
        "UPDATE transfers SET wallet_seq = 4 WHERE wallet_seq = 99",
    )

    breaks = await _breaks(books)
    assert {("chain", f"transfer {third.transfer_id}"), ("chain", f"transfer {fourth.transfer_id}")} <= breaks


@pytest.mark.tampers
async def test_a_transfer_that_was_given_to_another_wallet_is_named(books: Books, wallet: UUID) -> None:
    other = await books.open_wallet()
    moved = (await _history(books, wallet))[4]
    _tamper(
        books,
        f"UPDATE transfers SET wallet_id = '{other}', wallet_seq = 1 WHERE id = '{moved.transfer_id}'",
    )

    breaks = await _breaks(books)
    assert {
        ("chain", f"transfer {moved.transfer_id}"),
        ("wallet", f"wallet {wallet}"),
        ("wallet", f"wallet {other}"),
        ("stray moves", f"grant {moved.grant_id}"),
    } <= breaks


@pytest.mark.tampers
@pytest.mark.parametrize(
    "change", ["available = available + 1", "held = 5", "debt = 5", "seq = 6", "head_hash = '\\x00'"]
)
async def test_a_changed_balance_is_named(books: Books, wallet: UUID, change: str) -> None:
    await _history(books, wallet)
    await books.grant(await books.open_wallet(), 5)
    _tamper(books, f"UPDATE wallets SET {change} WHERE id = '{wallet}'")

    assert ("wallet", f"wallet {wallet}") in await _breaks(books)


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ("remaining = remaining + 1", {"grant"}),
        ("amount = amount + 1", {"grant"}),
        ("held = 1", {"grant"}),
        ("reversed = 11", {"reversed"}),
    ],
)
async def test_a_changed_grant_is_named(books: Books, wallet: UUID, change: str, checks: set[str]) -> None:
    first = (await _history(books, wallet))[0]
    _tamper(books, f"UPDATE grants SET {change} WHERE id = '{first.grant_id}'")

    breaks = await _breaks(books)
    assert {check for check, row in breaks if row == f"grant {first.grant_id}"} == checks


@pytest.mark.tampers
async def test_a_spent_grant_that_was_given_to_another_wallet_is_named(books: Books, wallet: UUID) -> None:
    granted = await books.grant(wallet, 100)
    await books.adjust(wallet, -100)
    other = await books.open_wallet()
    _tamper(books, f"UPDATE grants SET wallet_id = '{other}'")

    assert await _breaks(books) == {("stray moves", f"grant {granted.grant_id}")}


@pytest.mark.tampers
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE grant_moves SET available = available - 1 WHERE transfer_id = '{transfer}'",
        "DELETE FROM grant_moves WHERE transfer_id = '{transfer}'",
        "INSERT INTO grant_moves VALUES ('{transfer}', '{other}', -1, 0)",
    ],
)
async def test_a_changed_grant_move_is_named(books: Books, wallet: UUID, change: str) -> None:
    _, other, burnt, *_ = await _history(books, wallet)
    _tamper(books, change.format(transfer=burnt.transfer_id, other=other.grant_id))

    breaks = await _breaks(books)
    assert ("grant moves", f"transfer {burnt.transfer_id}") in breaks
    assert "grant" in {check for check, _ in breaks}


@pytest.mark.tampers
async def test_credits_moved_from_one_grant_to_another_are_named(books: Books, wallet: UUID) -> None:
    first, second, burnt, *_ = await _history(books, wallet)
    _tamper(books, f"UPDATE grant_moves SET grant_id = '{second.grant_id}' WHERE transfer_id = '{burnt.transfer_id}'")

    assert await _breaks(books) == {("grant", f"grant {first.grant_id}"), ("grant", f"grant {second.grant_id}")}


async def test_the_hash_can_be_computed_by_anybody_from_the_row(books: Books, wallet: UUID) -> None:
    """The chain in Python: who distrusts the database's own functions can check it without them."""
    await _history(books, wallet)
    head = b""
    rows = await books.select(
        "SELECT id, event_id, wallet_id, wallet_seq, debit_account, credit_account, amount, kind, reference_id,"
        " revision, reverses, effective_at, recorded_at, actor, available_after, held_after, debt_after, hash"
        " FROM transfers ORDER BY wallet_seq"
    )
    for *fields, hash_ in rows:
        for i in (11, 12):
            fields[i] = (fields[i] - EPOCH) // timedelta(microseconds=1)
        line = "|".join("-" if field is None else str(field) for field in fields)
        head = hashlib.sha256(head + line.encode()).digest()
        assert bytes(hash_) == head
