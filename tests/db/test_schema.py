"""The migrated database against what the code believes of it."""

import re
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, inspect

from pantheon.db.engine import Database
from pantheon.db.migrate import current, head, migrate
from pantheon.db.tables import metadata
from pantheon.money.chart import ACCOUNTS, KINDS, Account, Kind
from pantheon.money.top_up import TRANSITIONS, State


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


async def test_the_tables_in_python_are_those_of_the_database(database: Database) -> None:
    def reflect(connection: Connection) -> dict[str, dict[str, str]]:
        inspector = inspect(connection)
        return {
            table: {
                column["name"]: column["type"].compile(connection.dialect) for column in inspector.get_columns(table)
            }
            for table in metadata.tables
        }

    async with database.transaction() as tx:
        found = await tx.run_sync(reflect)
        declared = {
            name: {column.name: column.type.compile(tx.dialect) for column in table.columns}
            for name, table in metadata.tables.items()
        }
    # `only_row` is a constraint's helper that no query reads.
    for table in ("installation", "enforcement_override"):
        del found[table]["only_row"]
    assert found == declared


def test_every_table_is_known_to_python(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        " AND relname NOT LIKE 'procrastinate\\_%'"
    ).fetchall()
    assert {name for (name,) in rows} - set(metadata.tables) == {"alembic_version", "top_up_transitions"}


def test_every_time_has_a_zone_and_no_amount_is_a_float(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        " AND table_name NOT LIKE 'procrastinate\\_%'"
        " AND data_type IN ('timestamp without time zone', 'real', 'double precision', 'numeric', 'money')"
    ).fetchall()
    assert rows == []


def test_every_foreign_key_leads_an_index(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        """
        SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conrelid::regclass::text NOT LIKE 'procrastinate\\_%'
          AND NOT EXISTS (
              SELECT FROM pg_index i
              WHERE i.indrelid = c.conrelid AND i.indisvalid
                -- A partial index serves where it leaves out nothing but NULLs.
                AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$')
                AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
          )
        """
    ).fetchall()
    assert rows == []


def test_every_constraint_has_a_name_that_was_chosen_or_is_a_key(owner: psycopg.Connection) -> None:
    rows = owner.execute(
        "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'u') AND conname ~ '_(check|key)[0-9]*$'"
        " AND connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'procrastinate\\_%'"
    ).fetchall()
    assert rows == []


def test_migrating_again_changes_nothing(owner: psycopg.Connection, owner_url: str, app_url: str) -> None:
    before = _picture(owner)

    assert migrate(owner_url, app_url=app_url) == head() == current(owner_url)

    assert _picture(owner) == before


def _picture(owner: psycopg.Connection) -> list[tuple[object, ...]]:
    """Columns, constraints, indexes, functions, triggers and rights, as PostgreSQL prints them."""
    return owner.execute(
        """
        SELECT 'column', table_name || '.' || column_name, data_type || coalesce(column_default, '')
            FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
        UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'function', oid::regprocedure::text, prosrc || coalesce(proacl::text, '')
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger
        UNION ALL SELECT 'rights', relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3
        """
    ).fetchall()


@pytest.fixture
def empty(owner: psycopg.Connection, owner_url: str, app_url: str) -> Iterator[tuple[str, str]]:
    """Addresses, for the owner and for the application, of a database in which nothing is yet."""
    name = f"{owner.info.dbname}_empty"
    owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield tuple(re.sub(r"/[^/]+$", f"/{name}", url) for url in (owner_url, app_url))  # type: ignore[misc]
    owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_two_migrations_at_once_do_it_once(empty: tuple[str, str]) -> None:
    url, app_url = empty
    assert current(url) is None
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate(url, app_url=app_url)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert current(url) == head()


def test_functions_are_made_anew_at_every_migrate(owner: psycopg.Connection, owner_url: str, app_url: str) -> None:
    owner.execute(
        "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$"
    )
    owner.execute("GRANT EXECUTE ON FUNCTION ledger_now() TO PUBLIC")

    migrate(owner_url, app_url=app_url)

    assert owner.execute("SELECT ledger_now() > now() - interval '1 minute'").fetchone() == (True,)
    assert owner.execute("SELECT has_function_privilege('public', 'ledger_now()', 'EXECUTE')").fetchone() == (False,)


def test_one_role_for_everything_works_too(empty: tuple[str, str]) -> None:
    url, _ = empty

    migrate(url)

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT code FROM ledger_expire(gen_random_uuid())").fetchone() == (
            "wallet_not_found",
        )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("timezone", "UTC"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ],
)
def test_the_application_never_waits_or_keeps_others_waiting_for_long(
    app_url: str, owner_url: str, setting: str, value: str
) -> None:
    # The limits belong to the database, and a copy of a template does not carry them.
    migrate(owner_url, app_url=app_url)
    with psycopg.connect(app_url) as app:
        assert app.execute("SELECT current_setting(%s)", [setting]).fetchone() == (value,)


def test_the_chart_of_accounts_is_what_the_constraints_allow(owner: psycopg.Connection) -> None:
    """Every kind from every account to every account: the database allows exactly what the chart says."""
    query = (
        "SELECT kind, debit_account, credit_account FROM unnest(%s::text[]) kind, unnest(%s::text[]) debit_account,"
        " unnest(%s::text[]) credit_account"
        " WHERE debit_account <> credit_account AND ledger_may_move(kind, debit_account, credit_account)"
    )
    accounts = [*Account, "other"]
    allowed = owner.execute(query, [[*Kind, "other"], accounts, accounts]).fetchall()

    chart = {
        (kind, debit, credit)
        for kind, rule in KINDS.items()
        for debit in rule.debits
        for credit in rule.credits
        if debit != credit
    }
    assert set(allowed) == chart


@pytest.mark.parametrize("side", ["debit", "credit"])
def test_the_accounts_are_those_of_the_chart(owner: psycopg.Connection, side: str) -> None:
    """What is NULL breaks no rule: a row that says one account only is refused for that account or for its kind."""
    known = set()
    for account in (*Account, "other"):
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            owner.execute(
                "SELECT ledger_transfer_is_sound(jsonb_populate_record(NULL::transfers, %s))",
                [Jsonb({f"{side}_account": account})],
            )
        if refused.value.diag.constraint_name != f"transfers_{side}_account_is_known":
            known.add(account)
    assert known == set(Account) == set(ACCOUNTS)


def test_the_chart_explains_every_kind() -> None:
    assert set(KINDS) == set(Kind)


def test_the_moves_of_a_top_up_are_those_of_its_table(owner: psycopg.Connection) -> None:
    rows = owner.execute("SELECT from_state, to_state FROM top_up_transitions").fetchall()
    assert set(rows) == {(start, end) for start, ends in TRANSITIONS.items() for end in ends}
    assert set(TRANSITIONS) == set(State)
