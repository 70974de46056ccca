"""`pantheon db migrate`: brings the schema, the ledger's functions and the application's rights up to this code.

Runs as the owner of the database, all of it in one transaction under an advisory lock, so two at once do it once.
"""

import logging
from functools import cache
from importlib.resources import files
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, create_engine, text

from pantheon.db.engine import Tx, libpq_url, sqlalchemy_url
from pantheon.money.top_up import TRANSITIONS

Driver = psycopg.Connection[tuple[object, ...]]

_logger = logging.getLogger(__name__)

_LOCK = 5_064_361_000

_LEDGER_TABLES = (
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
)
_APPEND_ONLY_TABLES = ("audit_log", "top_up_history", "rates")
_READ_ONLY_TABLES = ("installation", "top_up_transitions", "alembic_version")

ROLE_SETTINGS = {
    # What is read is shown as it is; a server in another zone would answer in that.
    "timezone": "UTC",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "30s",
}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@cache
def head() -> str:
    """The revision that this code expects."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def knows(revision: str) -> bool:
    """Whether this code can migrate a database from there."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def is_newer(found: str | None) -> bool:
    """Whether a newer version made this revision. This one may run on it: releases.md says for how long."""
    return found is not None and not knows(found)


def difference(found: str | None) -> str:
    """What to do about a database at another revision than `head()`."""
    if not is_newer(found):
        return (
            f"The database is at revision {found or 'none'} and this version needs {head()}. Run: pantheon db migrate"
        )
    return f"The database is at revision {found}, made by a newer version than this one. Start that one."


async def revision(tx: Tx) -> str | None:
    """The revision that the database is at; None for an empty one."""
    if not await tx.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        return None
    found: str | None = await tx.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def current(url: str) -> str | None:
    """The revision that the database is at; None for an empty one."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def migrate(owner_url: str, *, app_url: str | None = None) -> str:
    """Migrates to `head()` and answers it. Rights are given to the role of `app_url` where that is another role.

    What a newer version made is left as it is, and its revision answered.
    """
    engine = create_engine(sqlalchemy_url(owner_url))
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = '10min'"))
            # Waiting for another migration harms nobody; waiting for a table in use holds up all who come after.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            found = MigrationContext.configure(connection).get_current_revision()
            if found is not None and is_newer(found):
                return found
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _load_transitions(connection)
            _create_functions(connection)
            _limit_rights(connection, app_url or owner_url)
    finally:
        engine.dispose()
    return head()


def _load_transitions(connection: Connection) -> None:
    connection.execute(text("DELETE FROM top_up_transitions"))
    connection.execute(
        text("INSERT INTO top_up_transitions VALUES (:from_state, :to_state)"),
        [{"from_state": start, "to_state": end} for start, ends in TRANSITIONS.items() for end in ends],
    )


def _driver(connection: Connection) -> Driver:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _create_functions(connection: Connection) -> None:
    for file in sorted(files("pantheon.ledger").joinpath("sql").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            _driver(connection).execute(file.read_text().encode())


def _limit_rights(connection: Connection, app_url: str) -> None:
    """The application may read the books, but change them only through the ledger's functions."""
    driver = _driver(connection)
    owner = driver.info.user
    role = psycopg.conninfo.conninfo_to_dict(libpq_url(app_url)).get("user") or owner
    app = sql.Identifier(str(role))

    driver.execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    driver.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if role != owner:
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {app}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app}",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {app}",
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {app}",
        ):
            driver.execute(sql.SQL(statement).format(app=app))
        _revoke(driver, app, "INSERT, UPDATE, DELETE", _LEDGER_TABLES + _READ_ONLY_TABLES)
        _revoke(driver, app, "UPDATE, DELETE", _APPEND_ONLY_TABLES)
        for name in _internal_functions(driver):
            driver.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM {app}").format(sql.SQL(name), app=app))
    _set_role(driver, app)


def _set_role(driver: Driver, app: sql.Identifier) -> None:
    """UTC everywhere, and no statement, lock or idle transaction of the application keeps others waiting for long."""
    for setting, value in ROLE_SETTINGS.items():
        statement = sql.SQL("ALTER ROLE {app} IN DATABASE {database} SET {setting} = {value}").format(
            app=app,
            database=sql.Identifier(driver.info.dbname),
            setting=sql.Identifier(setting),
            value=sql.Literal(value),
        )
        try:
            with driver.transaction():
                driver.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            _logger.warning("a superuser has to run: %s", statement.as_string(driver))


def _revoke(driver: Driver, app: sql.Identifier, rights: str, tables: tuple[str, ...]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, tables))
    driver.execute(
        sql.SQL("REVOKE {rights} ON {tables} FROM {app}").format(rights=sql.SQL(rights), tables=names, app=app)
    )


def _internal_functions(driver: Driver) -> list[str]:
    """The ledger's functions that are parts of others. The application may verify a hash, but book nothing in parts."""
    rows = driver.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND proname LIKE 'ledger\\_%' AND NOT prosecdef AND proname <> 'ledger_hash'"
    )
    return [str(name) for (name,) in rows.fetchall()]
