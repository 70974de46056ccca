"""A backup that was never restored is a hope: these restore them."""

import asyncio
import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pantheon.db.backup import BackupError, Manifest, back_up, read_manifest, restore
from pantheon.db.engine import Database
from pantheon.db.migrate import migrate
from pantheon.ledger.verify import verify
from tests.conftest import APP_URL, OWNER_URL, on
from tests.installation import Installation, Person, installed
from tests.ledger.books import Books


def silent(_: int) -> None:
    pass


def balances(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT id, available, held, debt, seq, head_hash FROM wallets ORDER BY id"
        ).fetchall()


async def breaks(url: str) -> list[Any]:
    database = Database(url)
    try:
        async with database.transaction() as tx:
            return await verify(tx)
    finally:
        await database.close()


async def pay(installation: Installation, person: Person) -> None:
    top_up = (await installation.top_up(person)).json()
    (row,) = installation.rows("SELECT payment_intent_id FROM top_ups WHERE id = %s", top_up["top_up_id"])
    assert installation.runtime.stripe is not None
    await installation.runtime.stripe.confirm_payment(
        row["payment_intent_id"], payment_method="pm_card_visa", return_url=installation.url
    )


async def test_a_backup_during_traffic_restores_to_one_moment_that_serves(
    installation: Installation, fresh: str, tmp_path: Path, database: Database
) -> None:
    """The drill: back up under load, restore elsewhere, verify the books, and go on there."""
    person = await installation.person()
    books = Books(database, installation.owner_url)
    wallet = await books.open_wallet()
    await books.grant(wallet, 1_000_000)
    stop = asyncio.Event()
    moves = 0

    async def traffic() -> None:
        nonlocal moves
        while not stop.is_set():
            await books.grant(wallet, 5)
            await books.hold(wallet, 1)
            if moves % 10 == 0 and moves < 100:
                await pay(installation, person)
            moves += 1

    running = asyncio.create_task(traffic())
    while moves < 3:
        await asyncio.sleep(0)
        assert not running.done(), running.exception()
    before = moves
    file = tmp_path / "drill.backup"
    manifest = await asyncio.to_thread(back_up, installation.owner_url, file, progress=silent)
    stop.set()
    await running
    assert moves > before, "nothing was booked while the backup ran, so this showed nothing"

    owner_url, app_url = on(os.environ[OWNER_URL], fresh), on(os.environ[APP_URL], fresh)
    restored = await asyncio.to_thread(restore, owner_url, file, replace=False, progress=silent)
    await asyncio.to_thread(migrate, owner_url, app_url=app_url)

    assert restored == manifest == read_manifest(file, progress=silent)
    assert await breaks(app_url) == []
    # The restored wallet is as the chain of the original was at that moment, which is not its end.
    (there,) = [row for row in balances(owner_url) if row[0] == wallet]
    (then,) = installation.rows(
        "SELECT available_after, held_after, debt_after, hash FROM transfers WHERE wallet_id = %s AND wallet_seq = %s",
        wallet,
        there[4],
    )
    assert there[1:4] == (then["available_after"], then["held_after"], then["debt_after"])
    assert bytes(there[5]) == bytes(then["hash"])
    assert there[4] < max(row[4] for row in balances(installation.owner_url))

    async with installed(app_url=app_url, owner_url=owner_url) as after:
        someone = await after.person(email="new@example.com")
        answer = await after.top_up(someone)
        assert answer.status_code == 201, answer.text
        # The session from before the backup is known there too.
        assert (await after.client.get("/api/v1/users/me/wallet", headers=person.headers)).status_code == 200


async def test_the_application_gets_its_rights_there_and_no_more(
    owner_url: str, database: Database, fresh: str, tmp_path: Path
) -> None:
    file = tmp_path / "b"
    back_up(owner_url, file, progress=silent)
    restore(on(os.environ[OWNER_URL], fresh), file, replace=False, progress=silent)
    migrate(on(os.environ[OWNER_URL], fresh), app_url=on(os.environ[APP_URL], fresh))

    rights = (
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = %s AND table_schema = 'public' ORDER BY 1, 2"
    )
    functions = (
        "SELECT proname, has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY oid::regprocedure::text"
    )
    role = psycopg.conninfo.conninfo_to_dict(os.environ[APP_URL])["user"]
    with psycopg.connect(owner_url) as here, psycopg.connect(on(os.environ[OWNER_URL], fresh)) as there:
        for query in (rights, functions):
            assert here.execute(query, [role]).fetchall() == there.execute(query, [role]).fetchall() != []


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda _: b"", lambda _: b"something else"])
async def test_a_damaged_file_is_refused_before_anything_is_lost(
    owner_url: str, database: Database, tmp_path: Path, damage: Any
) -> None:
    wallet = await Books(database, owner_url).open_wallet()
    await database.close()
    file = tmp_path / "b"
    back_up(owner_url, file, progress=silent)
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(BackupError, match="Nothing was changed"):
        restore(owner_url, file, replace=True, progress=silent)

    assert [row[0] for row in balances(owner_url)] == [wallet]


async def test_a_database_with_something_in_it_is_replaced_only_on_demand(
    owner_url: str, app_url: str, database: Database, tmp_path: Path
) -> None:
    books = Books(database, owner_url)
    kept = await books.open_wallet()
    file = tmp_path / "b"
    back_up(owner_url, file, progress=silent)
    await books.open_wallet()
    with pytest.raises(BackupError, match="Stop Pantheon first"):
        restore(owner_url, file, replace=True, progress=silent)
    await database.close()

    with pytest.raises(BackupError, match="not empty"):
        restore(owner_url, file, replace=False, progress=silent)
    assert len(balances(owner_url)) == 2

    restore(owner_url, file, replace=True, progress=silent)
    migrate(owner_url, app_url=app_url)
    assert [row[0] for row in balances(owner_url)] == [kept]


async def test_a_dump_that_is_not_what_its_manifest_says_leaves_the_old_database(
    owner_url: str, database: Database, tmp_path: Path, fresh: str
) -> None:
    books = Books(database, owner_url)
    wallet = await books.open_wallet()
    other, whole, forged = tmp_path / "other", tmp_path / "whole", tmp_path / "forged"
    back_up(owner_url, other, progress=silent)
    await books.grant(wallet, 5)
    await database.close()
    back_up(owner_url, whole, progress=silent)
    before = balances(owner_url)
    with zipfile.ZipFile(other) as source, zipfile.ZipFile(whole) as stated, zipfile.ZipFile(forged, "w") as target:
        dump = source.read("database.dump")
        manifest = json.loads(stated.read("manifest.json")) | {"sha256": hashlib.sha256(dump).hexdigest()}
        target.writestr("database.dump", dump)
        target.writestr("manifest.json", json.dumps(manifest))

    differences = "0 rows in transfers, not 1; other chains of wallets. Nothing was changed"
    for url, replace in ((owner_url, True), (on(os.environ[OWNER_URL], fresh), False)):
        with pytest.raises(BackupError, match=differences):
            restore(url, forged, replace=replace, progress=silent)

    assert balances(owner_url) == before
    with psycopg.connect(on(os.environ[OWNER_URL], fresh)) as connection:
        assert connection.execute("SELECT to_regclass('public.wallets')").fetchone() == (None,)


async def test_a_dump_that_breaks_off_midway_leaves_the_old_database(
    owner_url: str, database: Database, tmp_path: Path, fresh: str
) -> None:
    """Its manifest vouches for it, so that only pg_restore finds out: what it had sent by then is rolled back."""
    wallet = await Books(database, owner_url).open_wallet()
    await database.close()
    whole, forged = tmp_path / "whole", tmp_path / "forged"
    back_up(owner_url, whole, progress=silent)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(forged, "w") as target:
        dump = source.read("database.dump")[:-2000]
        manifest = json.loads(source.read("manifest.json")) | {"sha256": hashlib.sha256(dump).hexdigest()}
        target.writestr("database.dump", dump)
        target.writestr("manifest.json", json.dumps(manifest))

    with pytest.raises(BackupError):
        restore(owner_url, forged, replace=True, progress=silent)

    assert [row[0] for row in balances(owner_url)] == [wallet]


def test_a_backup_is_private_complete_and_never_overwritten(owner_url: str, tmp_path: Path) -> None:
    file = tmp_path / "b"
    manifest = back_up(owner_url, file, progress=silent)

    assert isinstance(manifest, Manifest)
    assert manifest.rows["installation"] == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    with pytest.raises(BackupError, match="exists already"):
        back_up(owner_url, file, progress=silent)


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path, fresh: str) -> None:
    with pytest.raises(BackupError, match="no books"):
        back_up(on(os.environ[OWNER_URL], fresh), tmp_path / "b", progress=silent)
    assert list(tmp_path.iterdir()) == []
