"""The alarm rings for each thing that must never be, once, and stops when it is mended."""

from typing import Any

import psycopg
import pytest

from pantheon.db.engine import Database
from pantheon.payments.check_invariants import check_invariants, last_broken, names
from tests.installation import Installation
from tests.ledger.books import Books

BREAKS = {
    "wallet_differs_from_its_last_transfer": "UPDATE wallets SET seq = seq + 1",
    "wallet_differs_from_its_grants": "UPDATE grants SET remaining = remaining - 1",
    "grant_without_its_payment": "UPDATE grants SET source = 'top_up'",
    "grant_reversed_beyond_its_amount": "UPDATE grants SET reversed = amount + 1",
    "payment_granted_twice": "UPDATE grants SET reference_id = 'pi_x', source = 'top_up'",
    "hold_open_past_its_end": """
        INSERT INTO holds (id, wallet_id, amount, created_at, expires_at)
        SELECT gen_random_uuid(), id, 1, now() - interval '1 hour', now() - interval '3 minutes' FROM wallets""",
    "event_done_without_an_outcome": """
        INSERT INTO inbox_events (id, event_id, type, livemode, body, body_hash, verified, state, received_at,
            next_attempt_at, handled_at)
        VALUES (gen_random_uuid(), 'evt_x', 'x', false, '', '', true, 'done', now(), now(), now())""",
    "event_unhandled_for_too_long": """
        INSERT INTO inbox_events (id, event_id, type, livemode, body, body_hash, verified, state, received_at,
            next_attempt_at)
        VALUES (gen_random_uuid(), 'evt_x', 'x', false, '', '', true, 'received', now() - interval '6 minutes',
            now())""",
}


def test_each_invariant_is_tried() -> None:
    assert sorted(BREAKS) == sorted(names())


@pytest.mark.tampers
@pytest.mark.parametrize("name", BREAKS)
async def test_a_break_is_found_and_written_down_once(name: str, database: Database, owner_url: str) -> None:
    """T-144 is `grant_without_its_payment`."""
    books = Books(database, owner_url)
    wallet = await books.open_wallet()
    await books.grant(wallet, 100, category="promotional")
    await books.grant(wallet, 100, category="promotional")
    assert await check_invariants(database) == {}
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for constraint in _constraints(connection):
            connection.execute(constraint)
        connection.execute(BREAKS[name].encode())

    found = await check_invariants(database)
    await check_invariants(database)

    assert name in found
    async with database.transaction() as tx:
        assert await last_broken(tx) == found
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("SELECT details FROM audit_log WHERE action = 'invariants.broken'").fetchall()
    assert len(rows) == 1


def _constraints(connection: psycopg.Connection[Any]) -> list[bytes]:
    """Statements that take away what would keep the test from breaking things."""
    tables = ("wallets", "grants", "inbox_events")
    found = connection.execute(
        "SELECT format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I CASCADE', conrelid::regclass, conname)"
        " FROM pg_constraint WHERE conrelid = ANY(%s::regclass[]) AND contype IN ('c', 'u')"
        " UNION ALL SELECT format('ALTER TABLE %%s DISABLE TRIGGER USER', t) FROM unnest(%s::regclass[]) t",
        [list(tables), list(tables)],
    )
    return [str(statement).encode() for (statement,) in found]


@pytest.mark.tampers
async def test_the_alarm_ends_when_what_was_broken_is_mended(database: Database, owner_url: str) -> None:
    await Books(database, owner_url).open_wallet()
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE wallets DISABLE TRIGGER USER")
        connection.execute("UPDATE wallets SET seq = 1")
        assert list(await check_invariants(database)) == ["wallet_differs_from_its_last_transfer"]
        connection.execute("UPDATE wallets SET seq = 0")
    assert await check_invariants(database) == {}
    async with database.transaction() as tx:
        assert await last_broken(tx) == {}


async def test_a_real_payment_breaks_nothing(installation: Installation) -> None:
    person = await installation.person()
    top_up = (await installation.top_up(person)).json()["top_up_id"]
    payment = installation.sandbox.payments.find(top_up)
    assert installation.runtime.stripe is not None
    await installation.runtime.stripe.confirm_payment(
        payment["id"], payment_method="pm_card_visa", return_url=installation.url
    )
    await installation.becomes(person, top_up, "credited")

    assert await check_invariants(installation.runtime.database) == {}
