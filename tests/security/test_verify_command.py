"""`pantheon ledger verify` as an operator runs it, on books that a superuser tampered with."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from pantheon import audit
from pantheon.db.engine import Database
from pantheon.ledger import post
from pantheon.users.create_user import create_user
from tests.installation import TEST

FLIP = (
    "UPDATE {table} SET {column} WHERE {key} = (SELECT {key} FROM {table} ORDER BY {key} OFFSET 1 LIMIT 1)"
    " RETURNING {key}"
)
TAMPERINGS = {
    "a transfer is flipped": ("transfers", FLIP.format(table="transfers", column="amount = amount + 1", key="id")),
    "a transfer is deleted": (
        "transfers",
        "DELETE FROM grant_moves WHERE transfer_id IN (SELECT id FROM transfers WHERE wallet_seq = 2);"
        " WITH gone AS (DELETE FROM transfers WHERE wallet_seq = 2 RETURNING wallet_id)"
        " SELECT id FROM transfers JOIN gone USING (wallet_id) WHERE wallet_seq = 3",
    ),
    "transfers are reordered": (
        "transfers",
        "UPDATE transfers SET wallet_seq = CASE wallet_seq WHEN 1 THEN -2 ELSE -1 END WHERE wallet_seq IN (1, 2);"
        " UPDATE transfers SET wallet_seq = -wallet_seq WHERE wallet_seq < 0 RETURNING id",
    ),
    "an audit row is flipped": (
        "audit_log",
        FLIP.format(table="audit_log", column="actor_name = 'somebody else'", key="seq"),
    ),
    "an audit row is deleted": (
        "audit_log",
        "WITH gone AS (DELETE FROM audit_log WHERE seq = (SELECT min(seq) FROM audit_log))"
        " SELECT seq FROM audit_log ORDER BY seq OFFSET 1 LIMIT 1",
    ),
    "an audit row is inserted": (
        "audit_log",
        "INSERT INTO audit_log (at, actor_name, action, subject, details, hash)"
        " VALUES (now(), 'x', 'x', 'x', '{}', sha256('x')) RETURNING seq",
    ),
}


async def _history(database: Database) -> None:
    user = await create_user(database, email="ada@example.com", actor=TEST)
    async with database.transaction() as tx:
        wallet_id = (await tx.exec_driver_sql(f"SELECT id FROM wallets WHERE user_id = '{user.id}'")).scalar_one()
        for amount in (100, 50, -30):
            await post.adjust(tx, wallet_id=wallet_id, adjustment_id=uuid4(), amount=amount, actor=None, note=None)
        for number in range(3):
            await audit.record(tx, TEST, "thing.done", subject=f"thing {number}", number=number, deep={"a": [1, None]})


def _verify(
    app_url: str, folder: Path, *options: str, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("pantheon"), "ledger", "verify", *options],
        env={"PATH": os.environ["PATH"], "APP_ENV": "test", "DATABASE_URL": app_url},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
    )


async def test_whole_books_pass(database: Database, app_url: str, tmp_path: Path) -> None:
    await _history(database)

    process = _verify(app_url, tmp_path)

    assert process.returncode == 0, process.stderr
    assert "The books are whole: 3 transfers and" in process.stdout
    assert process.stderr == ""
    answer = json.loads(_verify(app_url, tmp_path, "--json").stdout)
    assert answer["whole"] is True and answer["breaks"] == []


async def test_on_a_terminal_it_shows_how_long_it_has_taken(database: Database, app_url: str, tmp_path: Path) -> None:
    await _history(database)
    screen, terminal = pty.openpty()
    try:
        _verify(app_url, tmp_path, "--json", stderr=terminal)
        _verify(app_url, tmp_path, stderr=terminal)
        shown = os.read(screen, 10_000).decode()
    finally:
        os.close(screen)
        os.close(terminal)
    assert re.fullmatch(r"\rVerifying 3 transfers … 0 s.*, [0-9,]+ a second\r\n", shown), shown


def _tamper(owner_url: str, what: str) -> str:
    """The name of the row that must be found."""
    table, statement = TAMPERINGS[what]
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for tampered in (table, "grant_moves"):
            owner.execute(f"ALTER TABLE {tampered} DISABLE TRIGGER USER".encode())
        cursor = owner.execute(statement.encode())
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        assert row is not None
    return f"{'transfer' if table == 'transfers' else 'audit_log'} {row[0]}"


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERINGS)
async def test_tampering_ends_with_1_and_names_the_row(
    database: Database, app_url: str, owner_url: str, tmp_path: Path, what: str
) -> None:
    """T-196."""
    await _history(database)
    named = _tamper(owner_url, what)

    process = _verify(app_url, tmp_path)

    assert process.returncode == 1, process.stdout
    assert named in process.stdout
    assert "breaks in" in process.stderr


@pytest.mark.tampers
async def test_programs_read_what_is_broken(database: Database, app_url: str, owner_url: str, tmp_path: Path) -> None:
    await _history(database)
    named = _tamper(owner_url, "a transfer is flipped")

    process = _verify(app_url, tmp_path, "--json")

    assert process.returncode == 1, process.stdout
    answer = json.loads(process.stdout)
    assert answer["whole"] is False and named in [found["row"] for found in answer["breaks"]]
