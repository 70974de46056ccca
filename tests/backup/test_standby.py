"""docs/runbooks/standby-and-failover.md, walked through with two real servers."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pantheon.db import embedded
from pantheon.db.engine import Database
from pantheon.db.migrate import migrate
from pantheon.ledger.verify import verify
from tests.conftest import new_home
from tests.installation import eventually
from tests.ledger.books import Books

pytestmark = pytest.mark.prove


@dataclass
class Server:
    bin_dir: Path
    data: Path
    port: int
    uid: int

    def run(self, tool: str, *arguments: object) -> None:
        command = [str(self.bin_dir / tool), *map(str, arguments)]
        # The server's own output goes to its log; a pipe that it inherited would never end.
        with tempfile.TemporaryFile("w+") as said:
            environment = {"PATH": os.defpath, "LC_ALL": "C"}
            user = self.uid if os.geteuid() == 0 else None
            done = subprocess.run(
                command, stdout=said, stderr=said, user=user, group=user, cwd="/", env=environment, timeout=60
            )
            said.seek(0)
            assert done.returncode == 0, said.read()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self.run("pg_ctl", "start", "-D", self.data, "-l", f"{self.data}.log", "-w", "-o", options)

    def stop(self, how: str = "fast") -> None:
        self.run("pg_ctl", "stop", "-D", self.data, "-m", how, "-w")

    def url(self, role: str = "postgres", database: str = "postgres") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary with an empty, migrated database, and a standby that follows it."""
    with embedded.start(new_home()) as server:
        bin_dir, uid = server.bin_dir, server.data_dir.stat().st_uid
    shutil.rmtree(server.data_dir.parent)
    home = Path(tempfile.mkdtemp(prefix="pantheon-standby-"))
    os.chown(home, uid, -1)
    first, second = (Server(bin_dir, home / name, embedded._free_port(), uid) for name in ("first", "second"))
    try:
        first.run(
            "initdb", "-D", first.data, "--username=postgres", "--auth=trust", "--data-checksums", "--encoding=UTF8"
        )
        first.start()
        for statement in (
            "CREATE ROLE owner LOGIN CREATEROLE",
            "CREATE ROLE app LOGIN",
            "GRANT app TO owner WITH ADMIN TRUE",
        ):
            first.ask(statement)
        first.ask("CREATE DATABASE pantheon OWNER owner")
        migrate(first.url("owner", "pantheon"), app_url=first.url("app", "pantheon"))
        source = f"host=127.0.0.1 port={first.port} user=postgres application_name=standby"
        second.run(
            "pg_basebackup", "-D", second.data, "-R", "-c", "fast", "-X", "stream", "-C", "-S", "standby", "-d", source
        )
        second.start()
        yield first, second
    finally:
        for server in (first, second):
            subprocess.run(
                [bin_dir / "pg_ctl", "stop", "-D", server.data, "-m", "immediate"],
                user=uid if os.geteuid() == 0 else None,
                capture_output=True,
            )
        subprocess.run(["rm", "-rf", home], check=True)


async def standby_is(primary: Server, state: str) -> None:
    async def reached() -> bool:
        return primary.ask("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") == [(state,)]

    await eventually(reached, seconds=30)


async def balances(server: Server) -> list[tuple[Any, ...]]:
    """What the wallets hold, on books that are whole."""
    database = Database(server.url("app", "pantheon"))
    try:
        async with database.transaction() as tx:
            assert await verify(tx) == []
        with psycopg.connect(server.url("owner", "pantheon")) as connection:
            return connection.execute("SELECT id, available, seq, head_hash FROM wallets ORDER BY id").fetchall()
    finally:
        await database.close()


async def test_a_synchronous_standby_takes_over_with_every_credit_and_the_old_primary_rejoins(
    pair: tuple[Server, Server],
) -> None:
    first, second = pair
    first.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    first.ask("SELECT pg_reload_conf()")
    await standby_is(first, "sync")
    database = Database(first.url("app", "pantheon"))
    books = Books(database, first.url("owner", "pantheon"))
    wallet = await books.open_wallet()
    for _ in range(50):
        await books.grant(wallet, 7)
    before = await balances(first)
    await database.close()

    first.stop("immediate")
    second.run("pg_ctl", "promote", "-D", second.data, "-w")

    assert await balances(second) == before
    assert before[0][1] == 350

    # Life goes on there, and what the dead one had beyond it, if anything, is rewound.
    second.ask("SELECT pg_create_physical_replication_slot('standby')")
    database = Database(second.url("app", "pantheon"))
    await Books(database, second.url("owner", "pantheon")).grant(wallet, 1)
    await database.close()
    source = f"host=127.0.0.1 port={second.port} user=postgres dbname=postgres application_name=standby"
    first.run("pg_rewind", f"--target-pgdata={first.data}", f"--source-server={source}", "-R")
    first.start()
    await standby_is(second, "async")

    async def followed() -> bool:
        return await balances(first) == await balances(second)

    await eventually(followed, seconds=30)


async def test_without_the_synchronous_option_what_the_standby_had_not_got_is_lost_and_the_books_are_whole(
    pair: tuple[Server, Server],
) -> None:
    first, second = pair
    await standby_is(first, "async")
    database = Database(first.url("app", "pantheon"))
    books = Books(database, first.url("owner", "pantheon"))
    wallet = await books.open_wallet()
    await books.grant(wallet, 7)

    async def arrived() -> bool:
        return await balances(first) == await balances(second)

    await eventually(arrived, seconds=30)
    second.stop()
    await books.grant(wallet, 7)
    await database.close()
    first.stop("immediate")
    second.start()
    second.run("pg_ctl", "promote", "-D", second.data, "-w")

    assert [row[1] for row in await balances(second)] == [7]


async def test_with_the_synchronous_option_nothing_is_answered_while_the_standby_is_away(
    pair: tuple[Server, Server],
) -> None:
    first, second = pair
    first.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    first.ask("SELECT pg_reload_conf()")
    await standby_is(first, "sync")
    second.stop()
    database = Database(first.url("app", "pantheon"))
    waiting = asyncio.create_task(Books(database, first.url("owner", "pantheon")).open_wallet())

    async def waits() -> bool:
        return bool(first.ask("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))

    await eventually(waits)
    assert not waiting.done()
    second.start()
    await asyncio.wait_for(waiting, 30)
    await database.close()
