"""The API works through a pooler in transaction mode, where two statements outside of one transaction may meet two
connections, and the separation of roles holds there too."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from pantheon.db.engine import Database
from pantheon.db.migrate import migrate
from tests.crash.processes import SECONDS, service
from tests.deploy.pooler import PROGRAM, pooled
from tests.installation import eventually

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's pgbouncer package")


@pytest.fixture
def pool_url(app_url: str, owner_url: str) -> Iterator[str]:
    # What belongs to the role in one database is not copied with the template's tables.
    migrate(owner_url, app_url=app_url)
    with pooled(app_url) as url:
        yield url


async def test_a_top_up_is_paid_and_credited_while_the_pool_is_shared(
    install: Any, pool_url: str, app_url: str
) -> None:
    async with install(database_pool_url=pool_url) as installation:
        assert (installation.runtime.database.url, installation.runtime.direct.url) == (pool_url, app_url)
        person = await installation.person()
        answers = await asyncio.gather(*(installation.balance(person) for _ in range(40)))
        assert set(answers) == {"0"}

        top_up_id = (await installation.top_up(person)).json()["top_up_id"]
        installation.sandbox.play(top_up_id, "pay")
        await installation.becomes(person, top_up_id, "credited")

        assert await installation.balance(person) != "0"


@pytest.mark.prove
async def test_api_and_worker_as_processes_of_their_own_take_money_spend_it_and_end_in_order(
    app_url: str, owner_url: str, pool_url: str, tmp_path: Path
) -> None:
    pantheon = Path(sys.executable).with_name("pantheon")
    async with service(app_url, owner_url, failpoints=[], database_pool_url=pool_url) as (told, beside):
        environment = {name.upper(): str(value) for name, value in told.settings.items()}
        environment |= {"PATH": os.defpath, "DATABASE_MIGRATION_URL": owner_url}
        commands = ["serve", "--no-worker", "--port", str(told.port)], ["worker"]
        processes = [subprocess.Popen([pantheon, *each], cwd=tmp_path, env=environment) for each in commands]
        try:
            ada = await beside.person()
            async with httpx2.AsyncClient(base_url=told.url, headers=ada.headers, timeout=SECONDS) as client:

                async def is_ready() -> bool:
                    try:
                        return (await client.get("/api/v1/ready")).status_code == 200
                    except httpx2.TransportError:
                        return False

                await eventually(is_ready, seconds=SECONDS)
                opened = await client.post("/api/v1/users/me/wallet/top-up", json={"amount_usd": "10.00"})
                beside.sandbox.play(opened.json()["top_up_id"], "pay")
                # The worker may not have started yet.
                await beside.becomes(ada, opened.json()["top_up_id"], "credited", seconds=SECONDS)
                body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200 and answer.json()["usage"]["cost"] > 0
            for process in processes:
                process.send_signal(signal.SIGTERM)
            assert [await asyncio.to_thread(process.wait, SECONDS) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        (wallet,) = beside.rows("SELECT available, held FROM wallets WHERE user_id = %s", ada.id)
        (receipt,) = beside.rows("SELECT charged FROM receipts")
        assert (wallet["available"], wallet["held"]) == (333_330_000_000 - receipt["charged"], 0)


async def test_the_limits_of_the_role_hold_through_the_pooler(pool_url: str) -> None:
    """A pooler drops what a client asks for when it connects; what belongs to the role it cannot drop."""
    database = Database(pool_url)
    try:
        for name, value in {
            "TimeZone": "UTC",
            "lock_timeout": "5s",
            "statement_timeout": "15s",
            "idle_in_transaction_session_timeout": "30s",
        }.items():
            async with database.transaction() as tx:
                assert await tx.scalar(text(f"SHOW {name}")) == value
    finally:
        await database.close()


async def test_nothing_that_a_transaction_sets_reaches_the_next_one(pool_url: str) -> None:
    database = Database(pool_url)
    try:
        async with database.transaction() as tx:
            await tx.execute(text("SET LOCAL statement_timeout = 0"))
        async with database.transaction() as tx:
            assert await tx.scalar(text("SHOW statement_timeout")) == "15s"
            assert await tx.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
    finally:
        await database.close()


FORBIDDEN = (
    "UPDATE wallets SET available = 0",
    "DELETE FROM transfers",
    "INSERT INTO grants DEFAULT VALUES",
    "UPDATE alembic_version SET version_num = 'x'",
    "CREATE TABLE mine (id int)",
    "ALTER TABLE users ADD COLUMN mine int",
)


async def test_the_application_can_neither_write_the_books_nor_change_the_schema(pool_url: str) -> None:
    database = Database(pool_url)
    try:
        for statement in FORBIDDEN:
            with pytest.raises(ProgrammingError) as refused:
                async with database.transaction() as tx:
                    await tx.execute(text(statement))
            assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege), statement
    finally:
        await database.close()


def test_the_application_cannot_migrate(app_url: str) -> None:
    with pytest.raises(Exception, match=r"permission denied|must be owner"):
        migrate(app_url)
