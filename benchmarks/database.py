"""A PostgreSQL of the benchmark's own, durable like production's, and databases with wallets that have credits."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from pantheon.db import embedded
from pantheon.db.migrate import migrate

GRANT = 10**15
"""A million credits in each grant: no benchmark runs dry."""


@contextmanager
def server() -> Iterator[embedded.EmbeddedServer]:
    """On the disk and not in memory: a commit has to cost what it costs."""
    folder = Path(tempfile.mkdtemp(prefix="pantheon-bench-"))
    home = embedded.default_home(folder)
    try:
        with embedded.start(home) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


class BenchDatabase:
    """A migrated database. `app_url` is the application's role, which can only call the ledger's functions."""

    def __init__(self, running: embedded.EmbeddedServer, name: str) -> None:
        with psycopg.connect(running.owner_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.owner_url = running.url(role=embedded.OWNER, database=name)
        self.app_url = running.url(role=embedded.APP, database=name)
        migrate(self.owner_url, app_url=self.app_url)

    def open_wallets(self, count: int, *, grants: int = 2) -> None:
        """Wallets 1 to `count`, each with a user and with promotional and paid credits."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            numbers = {"count": count, "amount": GRANT}
            connection.execute(
                f"INSERT INTO users (id, created_at) SELECT {_ID.format(kind='1')}, now()"
                " FROM generate_series(1, %(count)s) n",
                numbers,
            )
            connection.execute(
                f"SELECT count(ledger_open_wallet({_ID.format(kind='2')}, {_ID.format(kind='1')}))"
                " FROM generate_series(1, %(count)s) n",
                numbers,
            )
            for grant in range(grants):
                category = "paid" if grant % 2 else "promotional"
                kind, source = ("top_up_grant", "top_up") if grant % 2 else ("promotion_grant", "promotion")
                connection.execute(
                    f"SELECT count(ledger_grant({_ID.format(kind='2')}, ledger_uuid7(), '{kind}',"
                    f" 'bench-{grant}-' || n, '{source}', '{category}', %(amount)s, 0::bigint, 100::smallint,"
                    f" NULL::timestamptz, now(), NULL::uuid, NULL::text))"
                    " FROM generate_series(1, %(count)s) n",
                    numbers,
                )
            connection.execute("VACUUM ANALYZE")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def row(self, query: str, *arguments: object) -> tuple[object, ...]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            row = connection.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row

    def value(self, query: str, *arguments: object) -> object:
        return self.row(query, *arguments)[0]


def wallet_id(number: int) -> UUID:
    return UUID(int=(0x2 << 96) | (0x7 << 76) | (0x8 << 60) | number)


def connection_parts(url: str) -> dict[str, str]:
    """What the tools of PostgreSQL take from the environment."""
    parts = make_url(url)
    return {
        "PGHOST": str(parts.host),
        "PGPORT": str(parts.port),
        "PGUSER": str(parts.username),
        "PGPASSWORD": str(parts.password),
        "PGDATABASE": str(parts.database),
    }


_ID = "('0000000{kind}-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
