"""What the database itself refuses, whoever asks: the last line of defence when the code above it is wrong."""

import os
import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from pantheon.ids import uuid7
from tests.conftest import APP_URL, OWNER_URL, TEMPLATE, on

PUBLIC_FUNCTIONS = {
    "ledger_adjust",
    "ledger_adjust_batch",
    "ledger_capture",
    "ledger_close_wallet",
    "ledger_draw",
    "ledger_end_spend_limit",
    "ledger_expire",
    "ledger_expire_batch",
    "ledger_expire_hold",
    "ledger_grant",
    "ledger_grant_batch",
    "ledger_hash",
    "ledger_lane_batch",
    "ledger_open_wallet",
    "ledger_place_hold",
    "ledger_release",
    "ledger_reverse_to_target",
    "ledger_reverse_to_target_batch",
    "ledger_set_frozen",
    "ledger_set_spend_limit",
    "ledger_settle",
    "ledger_settle_unfunded",
}


WALLET, USER, HOLD, DRAW = uuid7(), uuid7(), uuid7(), uuid7()


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """One database for all of these tests, for the owner and for the application: nothing in them is ever committed."""
    name = f"test_{secrets.token_hex(6)}"
    owner_url, app_url = os.environ[OWNER_URL], os.environ[APP_URL]
    with psycopg.connect(owner_url, autocommit=True) as server:
        names = sql.Identifier(name), sql.Identifier(os.environ[TEMPLATE])
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        yield on(owner_url, name), on(app_url, name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))


@pytest.fixture(scope="module")
def filled(urls: tuple[str, str]) -> tuple[str, str]:
    """A wallet with a grant, transfers, moves, a hold with a draw; and a row in the other tables that only grow."""
    with psycopg.connect(urls[0]) as owner:
        owner.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [USER])
        owner.execute("SELECT ledger_open_wallet(%s, %s)", [WALLET, USER])
        owner.execute(
            "SELECT ledger_grant(%s, %s, 'top_up_grant', 'pi_1', 'top_up', 'paid', 100, 300, 100::smallint,"
            " NULL, NULL, NULL, NULL)",
            [WALLET, uuid7()],
        )
        owner.execute("SELECT ledger_adjust(%s, %s, -40::bigint, NULL, NULL)", [WALLET, uuid7()])
        # It captures nothing, so that the transfers stay the three that the tests below know.
        owner.execute("SELECT ledger_place_hold(%s, %s, 10, now() + interval '1 hour')", [WALLET, HOLD])
        owner.execute("SELECT ledger_draw(%s, %s, 10)", [HOLD, DRAW])
        owner.execute(
            "INSERT INTO audit_log (at, actor_name, action, subject, details, hash)"
            " VALUES (now(), 'cli', 'grant.posted', 'wallet', '{}', '')"
        )
        owner.execute(
            """
            WITH top_up AS (
                INSERT INTO top_ups (id, user_id, wallet_id, amount_minor, currency, credits, credits_per_major,
                                     livemode, request_params, leased_until, created_at, expires_at)
                SELECT gen_random_uuid(), user_id, id, 100, 'usd', 1, '1', false, '{}', now(), now(), now()
                FROM wallets RETURNING id
            )
            INSERT INTO top_up_history (id, top_up_id, to_state, at)
            SELECT gen_random_uuid(), id, 'creating', now() FROM top_up
            """
        )
    return urls


@pytest.fixture
def owner(filled: tuple[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled[0]) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def app(filled: tuple[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(filled[1]) as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize("table", ["transfers", "grant_moves", "audit_log", "top_up_history"])
@pytest.mark.parametrize("statement", ["UPDATE {t} SET {c} = {c}", "DELETE FROM {t}", "TRUNCATE {t} CASCADE"])
def test_what_is_append_only_stays_so_even_for_the_owner(owner: psycopg.Connection, table: str, statement: str) -> None:
    row = owner.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
    assert row.description is not None
    column = row.description[-1].name
    query = sql.SQL(statement).format(t=sql.Identifier(table), c=sql.Identifier(column))  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.RestrictViolation, match="is append-only"):
        owner.execute(query)


@pytest.mark.parametrize("table", ["wallets", "grants", "holds", "draws", "top_ups"])
def test_wallets_grants_holds_and_top_ups_are_never_deleted(owner: psycopg.Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation):
        owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))


@pytest.mark.parametrize(
    "table",
    [
        "wallets",
        "transfers",
        "transfer_notes",
        "grants",
        "grant_moves",
        "holds",
        "draws",
        "receipts",
        "spend_limits",
        "spend_counters",
        "draw_limits",
    ],
)
@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"])
def test_the_application_may_read_the_books_and_not_write_them(app: psycopg.Connection, table: str, right: str) -> None:
    for wanted, expected in ((right, False), ("SELECT", True)):
        found = app.execute("SELECT has_table_privilege(%s, %s)", [table, wanted]).fetchone()
        assert found == (expected,)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO wallets (id, user_id, created_at) SELECT gen_random_uuid(), user_id, now() FROM wallets",
        "UPDATE wallets SET available = available + 1",
        "INSERT INTO transfers SELECT * FROM transfers",
        "UPDATE grants SET remaining = remaining + 1",
        "UPDATE wallets SET state = 'closed'",
        "DELETE FROM audit_log",
        "UPDATE top_up_history SET reason = 'x'",
        "INSERT INTO top_up_transitions VALUES ('creating', 'creating')",
        "CREATE TABLE mine ()",
        "ALTER TABLE transfers DISABLE TRIGGER USER",
        "SET session_replication_role = 'replica'",
        "SELECT ledger_save(w) FROM wallets w",
        "SELECT ledger_move(transfer_id, grant_id, 5, 0) FROM grant_moves",
        "SELECT ledger_burn(id, id, 5, false) FROM wallets",
        "SELECT ledger_end_hold(w, h, 'released') FROM wallets w, holds h",
        "UPDATE holds SET captured = 1",
        "UPDATE draws SET state = 'captured', captured = 1, ended_at = now()",
        "UPDATE spend_limits SET amount = 1",
        "SELECT ledger_end_in_limits(id, 1, 0) FROM draws",
    ],
)
def test_the_application_is_denied(app: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)


def test_the_application_may_call_each_operation_and_none_of_its_parts(app: psycopg.Connection) -> None:
    rows = app.execute(
        "SELECT DISTINCT proname FROM pg_proc"
        " WHERE proname LIKE 'ledger\\_%' AND has_function_privilege(oid, 'EXECUTE')"
    ).fetchall()
    assert {name for (name,) in rows} == PUBLIC_FUNCTIONS


def test_every_function_that_acts_as_the_owner_has_a_fixed_search_path(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        " AND NOT coalesce('search_path=public, pg_temp' = ANY (proconfig), false)"
    ).fetchall()
    assert rows == []


def test_nobody_else_may_call_a_function_or_create_in_the_schema(owner: psycopg.Connection) -> None:
    assert owner.execute("SELECT has_schema_privilege('public', 'public', 'CREATE')").fetchone() == (False,)
    open_to_all = owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND has_function_privilege('public', oid, 'EXECUTE')"
    ).fetchall()
    assert open_to_all == []


@pytest.mark.parametrize(
    "change",
    [
        "available = available + 1",
        "available = 0",
        "held = 1",
        "held = 0",
        "debt = 1",
        "seq = seq + 1",
        "seq = 0",
        "head_hash = '\\x00'",
        "available = 0, seq = 0, head_hash = '\\x'",
    ],
)
def test_a_balance_that_does_not_follow_its_chain_is_refused_even_for_the_owner(
    owner: psycopg.Connection, change: str
) -> None:
    statement = f"UPDATE wallets SET {change}"
    with pytest.raises(psycopg.errors.CheckViolation, match="a balance changes only with a transfer"):
        owner.execute(statement.encode())


def test_a_wallet_cannot_go_back_to_an_earlier_transfer(owner: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="a balance changes only with a transfer"):
        owner.execute(
            "UPDATE wallets w SET available = t.available_after, seq = t.wallet_seq, head_hash = t.hash"
            " FROM transfers t WHERE t.wallet_id = w.id AND t.wallet_seq = 1"
        )


def test_a_wallet_cannot_be_born_with_a_balance(owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [other := uuid7()])
    with pytest.raises(psycopg.errors.CheckViolation, match="a balance changes only with a transfer"):
        owner.execute(
            "INSERT INTO wallets (id, user_id, available, created_at) VALUES (gen_random_uuid(), %s, 5, now())",
            [other],
        )


TRANSFER: dict[str, Any] = {
    "debit_account": "issued_paid",
    "credit_account": "available",
    "amount": 5,
    "kind": "top_up_grant",
    "reference_id": "pi_other",
    "revision": 0,
    "wallet_seq": 4,
    "available_after": 55,
    "held_after": 10,
    "debt_after": 0,
    "hash": b"",
}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"amount": 0}, "transfers_amount_is_positive"),
        ({"amount": -5}, "transfers_amount_is_positive"),
        ({"debit_account": "available"}, "transfers_accounts_differ"),
        ({"debit_account": "thin_air"}, "transfers_debit_account_is_known"),
        ({"credit_account": "my_pocket"}, "transfers_credit_account_is_known"),
        ({"debit_account": "consumed"}, "transfers_kind_may_move_between_these_accounts"),
        ({"kind": "hold_captured"}, "transfers_kind_may_move_between_these_accounts"),
        ({"kind": "gift"}, "transfers_kind_may_move_between_these_accounts"),
        ({"reference_id": "a|b"}, "transfers_reference_id_is_plain"),
        ({"reference_id": ""}, "transfers_reference_id_is_plain"),
        ({"reference_id": "a\n"}, "transfers_reference_id_is_plain"),
        ({"reference_id": "x" * 256}, "transfers_reference_id_is_plain"),
        ({"revision": -1}, "transfers_revision_is_never_negative"),
        ({"available_after": -1}, "transfers_available_is_never_negative"),
        ({"held_after": -1}, "transfers_held_is_never_negative"),
        ({"debt_after": -1}, "transfers_debt_is_never_negative"),
        ({"reference_id": "pi_1"}, "transfers_business_key_is_used_once"),
        ({"wallet_seq": 1}, "transfers_wallet_seq_has_no_fork"),
        ({"wallet_id": UUID(int=1)}, "transfers_wallet_id_fkey"),
        ({"reverses": UUID(int=1)}, "transfers_reverses_fkey"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused_by_the_constraint_that_says_why(
    owner: psycopg.Connection, changes: dict[str, Any], constraint: str
) -> None:
    values = TRANSFER | {"id": uuid7(), "event_id": uuid7(), "wallet_id": WALLET} | changes
    assert _refusal(owner, "transfers", values, times=("effective_at", "recorded_at")) == constraint


GRANT: dict[str, Any] = {
    "source": "top_up",
    "category": "paid",
    "amount": 100,
    "remaining": 0,
    "held": 0,
    "reversed": 0,
    "cost_minor": 0,
    "reference_id": "r",
}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"source": "stolen"}, "grants_source_is_known"),
        ({"category": "other"}, "grants_category_is_known"),
        ({"amount": 0}, "grants_amount_is_positive"),
        ({"remaining": -1}, "grants_remaining_is_never_negative"),
        ({"held": -1}, "grants_held_is_never_negative"),
        ({"reversed": -1}, "grants_reversed_is_within_amount"),
        ({"reversed": 101}, "grants_reversed_is_within_amount"),
        ({"cost_minor": -1}, "grants_cost_is_never_negative"),
        ({"expires_at": "2020-01-01 00:00:00+00"}, "grants_expire_after_they_begin"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_by_the_constraint_that_says_why(
    owner: psycopg.Connection, changes: dict[str, Any], constraint: str
) -> None:
    values = GRANT | {"id": uuid7(), "wallet_id": WALLET} | changes
    assert _refusal(owner, "grants", values, times=("effective_at", "created_at")) == constraint


PLACED: dict[str, Any] = {"amount": 100, "expires_at": "9999-01-01 00:00:00+00"}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"id": HOLD}, "holds_pkey"),
        ({"wallet_id": UUID(int=1)}, "holds_wallet_id_fkey"),
        ({"amount": 0}, "holds_amount_is_positive"),
        ({"reserved": -1}, "holds_reserved_is_never_negative"),
        ({"captured": -1}, "holds_captured_is_never_negative"),
        ({"reserved": 51, "captured": 50}, "holds_never_give_more_than_they_have"),
        ({"state": "lost"}, "holds_state_is_known"),
        ({"state": "settled"}, "holds_ended_have_a_time"),
        ({"ended_at": "2026-01-01 00:00:00+00"}, "holds_ended_have_a_time"),
        ({"state": "expired", "ended_at": "2026-01-01 00:00:00+00", "reserved": 1}, "holds_ended_reserve_nothing"),
        ({"expires_at": "2020-01-01 00:00:00+00"}, "holds_expire_after_they_begin"),
    ],
)
def test_a_hold_that_cannot_be_is_refused_by_the_constraint_that_says_why(
    owner: psycopg.Connection, changes: dict[str, Any], constraint: str
) -> None:
    values = PLACED | {"id": uuid7(), "wallet_id": WALLET} | changes
    if values.get("state", "placed") not in ("placed", "settled", "expired"):
        values["ended_at"] = "2026-01-01 00:00:00+00"
    assert _refusal(owner, "holds", values, times=("created_at",)) == constraint


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"id": DRAW}, "draws_pkey"),
        ({"hold_id": UUID(int=1)}, "draws_hold_id_fkey"),
        ({"amount": 0}, "draws_amount_is_positive"),
        ({"captured": -1}, "draws_captured_is_within_amount"),
        ({"captured": 11}, "draws_captured_is_within_amount"),
        ({"captured": 10, "overrun": -1}, "draws_overrun_is_never_negative"),
        ({"captured": 9, "overrun": 1}, "draws_overrun_only_when_used_up"),
        ({"state": "lost", "captured": 0}, "draws_state_is_known"),
        ({"state": "open", "captured": 0}, "draws_ended_have_a_time"),
        ({"state": "released", "captured": 1}, "draws_take_nothing_unless_captured"),
    ],
)
def test_a_draw_that_cannot_be_is_refused_by_the_constraint_that_says_why(
    owner: psycopg.Connection, changes: dict[str, Any], constraint: str
) -> None:
    captured = {"amount": 10, "captured": 10, "state": "captured", "ended_at": "2026-01-01 00:00:00+00"}
    if changes.get("amount") == 0:
        captured["captured"] = 0
    values = captured | {"id": uuid7(), "hold_id": HOLD} | changes
    assert _refusal(owner, "draws", values, times=("created_at",)) == constraint


@pytest.mark.parametrize(
    ("table", "end", "change"),
    [
        ("holds", None, "amount = amount + 1"),
        ("holds", None, "wallet_id = gen_random_uuid()"),
        ("holds", "state = 'released', reserved = 0, ended_at = now()", "state = 'placed', ended_at = NULL"),
        ("holds", "reserved = 5, captured = 5", "captured = 4"),
        ("draws", None, "amount = amount + 1"),
        ("draws", None, "hold_id = gen_random_uuid()"),
        ("draws", "state = 'captured', captured = 1, ended_at = now()", "captured = 2"),
        ("draws", "state = 'released', ended_at = now()", "state = 'open', ended_at = NULL"),
    ],
)
def test_a_hold_and_a_draw_end_once_and_keep_their_amount_even_for_the_owner(
    owner: psycopg.Connection, table: str, end: str | None, change: str
) -> None:
    if end is not None:
        owner.execute(f"UPDATE {table} SET {end}".encode())
    with pytest.raises(psycopg.errors.CheckViolation, match="it ends once, and keeps its amount"):
        owner.execute(f"UPDATE {table} SET {change}".encode())


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"state": "sleeping"}, "wallets_state_is_known"),
        ({"user_id": UUID(int=1)}, "wallets_user_id_fkey"),
        ({"user_id": USER}, "wallets_user_has_one"),
    ],
)
def test_a_wallet_that_cannot_be_is_refused_by_the_constraint_that_says_why(
    owner: psycopg.Connection, changes: dict[str, Any], constraint: str
) -> None:
    owner.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [other := uuid7()])
    values = {"id": uuid7(), "user_id": other} | changes
    assert _refusal(owner, "wallets", values, times=("created_at",)) == constraint


@pytest.mark.parametrize("column", ["available", "held", "debt"])
def test_a_wallet_is_never_negative_even_where_a_transfer_says_so(owner: psycopg.Connection, column: str) -> None:
    """The chain's trigger comes first; with it out of the way the wallet's own constraint still stands."""
    owner.execute("ALTER TABLE wallets DISABLE TRIGGER wallets_balance_follows_the_chain")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        owner.execute(sql.SQL("UPDATE wallets SET {} = -1").format(sql.Identifier(column)))
    assert refused.value.diag.constraint_name == f"wallets_{column}_is_never_negative"


def test_a_move_that_moves_nothing_and_a_note_that_says_nothing_are_refused(owner: psycopg.Connection) -> None:
    [(transfer, grant)] = owner.execute(
        "SELECT transfer_id, grant_id FROM grant_moves WHERE available < 0 AND held = 0"
    ).fetchall()
    move = {"transfer_id": transfer, "grant_id": grant, "available": 0, "held": 0}

    assert _refusal(owner, "grant_moves", move) == "grant_moves_move_something"
    for note in ("", "x" * 257):
        assert _refusal(owner, "transfer_notes", {"event_id": uuid7(), "note": note}) == "transfer_notes_are_short"


def _refusal(
    owner: psycopg.Connection, table: str, values: dict[str, Any], *, times: tuple[str, ...] = ()
) -> str | None:
    """The name of the constraint that refuses this row to the owner of the database."""
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in (*values, *times))
    row = sql.SQL(", ").join([*(sql.Placeholder(name) for name in values), *(sql.SQL("now()") for _ in times)])
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, row)
    with pytest.raises(psycopg.IntegrityError) as refused:
        owner.execute(statement, values)
    owner.rollback()
    return refused.value.diag.constraint_name
