"""What the database does not do in time, or at all, is an error that says: nothing was changed, try again."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pantheon.db.engine import Database, libpq_url, sqlalchemy_url
from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError


async def _count(database: Database) -> int:
    async with database.transaction() as tx:
        return int(await tx.scalar(text("SELECT count(*) FROM rate_limits")) or 0)


_INSERT = text("INSERT INTO rate_limits VALUES ('b', now(), 1)")


async def test_a_transaction_commits_at_its_end_and_not_when_it_raises(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(_INSERT)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.execute(_INSERT)
            raise ZeroDivisionError

    assert await _count(database) == 1


async def test_a_lock_that_others_keep_is_a_busy_database(database: Database, owner_url: str) -> None:
    with psycopg.connect(owner_url) as other:
        other.execute("LOCK TABLE rate_limits")
        with pytest.raises(DatabaseBusyError) as busy:
            async with database.transaction() as tx:
                await tx.execute(text("SET LOCAL lock_timeout = '20ms'"))
                await tx.execute(_INSERT)

    assert busy.value.retry_after == 1
    assert await _count(database) == 0


async def test_a_statement_that_takes_too_long_is_a_busy_database(database: Database) -> None:
    with pytest.raises(DatabaseBusyError):
        async with database.transaction() as tx:
            await tx.execute(_INSERT)
            await tx.execute(text("SET LOCAL statement_timeout = '20ms'"))
            await tx.execute(text("SELECT pg_sleep(10)"))

    assert await _count(database) == 0


async def test_a_broken_connection_is_a_database_that_is_unavailable_and_the_next_one_works(
    database: Database,
) -> None:
    with pytest.raises(DatabaseUnavailableError):
        async with database.transaction() as tx:
            await tx.execute(_INSERT)
            await tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    assert await _count(database) == 0


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody:x@127.0.0.1:1/none")
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with database.transaction():
                pass
    finally:
        await database.close()


async def test_any_other_failure_is_shown_as_what_it_is(database: Database) -> None:
    with pytest.raises(IntegrityError, match="users_role_is_known"):
        async with database.transaction() as tx:
            await tx.execute(text("INSERT INTO users (id, role, created_at) VALUES (gen_random_uuid(), 'king', now())"))


def test_addresses_of_both_kinds_are_understood_and_others_refused() -> None:
    for url in ("postgresql://a@b/c", "postgres://a@b/c", "postgresql+psycopg://a@b/c"):
        assert sqlalchemy_url(url) == "postgresql+psycopg://a@b/c"
        assert libpq_url(url) == "postgresql://a@b/c"
    with pytest.raises(ValueError, match="must be a postgresql:// address"):
        sqlalchemy_url("mysql://a@b/c")
