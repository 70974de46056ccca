"""Backups: one file with everything the database holds, taken at one moment while people go on working.

The file is a zip archive of pg_dump's output and of a manifest, which says what was there at that same moment. Owners
and rights are left out on purpose: whoever restores gives them anew by migrating, whatever the roles are called there.
"""

import hashlib
import json
import os
import re
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pantheon import VERSION, clock
from pantheon.db.embedded import binary_folders
from pantheon.db.engine import libpq_url
from pantheon.db.migrate import knows

_DUMP, _MANIFEST = "database.dump", "manifest.json"
_CHUNK_BYTES = 1024 * 1024
_MARK = "-- pantheon --"
_TRANSACTION_TIMEOUT_MAJOR = 17

Progress = Callable[[int], None]
"""Is told how many more bytes were worked on."""

Ask = Callable[[str], Iterator[str]]
"""The rows that a query gives, each as the text that COPY makes of it."""


class BackupError(RuntimeError):
    """A backup cannot be made, read or restored; the message says why, and that nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """What was in the database at the moment of the backup."""

    version: str
    revision: str
    taken_at: str
    rows: dict[str, int]
    heads: str
    """A digest of the chains of all wallets: two databases with the same one have the same books."""
    sha256: str
    """Of the dump, so that a damaged file is found before anything is touched."""


def back_up(owner_url: str, file: Path, *, progress: Progress) -> Manifest:
    """Writes the file, complete or not at all: it gets its name when everything is on the disk. Raises BackupError."""
    if file.exists():
        raise BackupError(f"{file} exists already, and a backup is never overwritten. Choose another name.")
    part = file.with_name(f"{file.name}.part")
    try:
        with (
            psycopg.connect(libpq_url(owner_url)) as connection,
            os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w+b") as target,
        ):
            manifest = _write(connection, owner_url, target, progress)
            target.flush()
            os.fsync(target.fileno())
        # Unlike a rename, a link never replaces a file that came to be meanwhile.
        os.link(part, file)
        _sync_folder(file.parent)
        return manifest
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _write(connection: psycopg.Connection[Any], owner_url: str, target: IO[bytes], progress: Progress) -> Manifest:
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
        connection.execute(sql.SQL("SET LOCAL {} = 0").format(sql.Identifier(name)))
    (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    revision, rows, heads = _contents(lambda query: _copied(connection, query))
    digest = hashlib.sha256()
    with zipfile.ZipFile(target, "w") as archive:
        # pg_dump compresses by itself. The time says nothing here, and a clock before 1980 would be refused.
        with archive.open(zipfile.ZipInfo(_DUMP), "w", force_zip64=True) as dump:
            # Both sides see the same moment, so that the manifest is true of the dump.
            arguments = ["--format=custom", "--no-owner", "--no-privileges", "--no-comments", f"--snapshot={snapshot}"]
            with _program("pg_dump", owner_url, connection, *arguments, stdout=subprocess.PIPE) as running:
                assert running.stdout is not None
                for chunk in _chunks(running.stdout):
                    digest.update(chunk)
                    dump.write(chunk)
                    progress(len(chunk))
        manifest = Manifest(VERSION, revision, clock.now().isoformat(), rows, heads, digest.hexdigest())
        archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(asdict(manifest), indent=1))
    return manifest


def read_manifest(file: Path, *, progress: Progress) -> Manifest:
    """Reads the whole file, so that a cut or altered one is found here. Raises BackupError."""
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = Manifest(**json.loads(archive.read(_MANIFEST)))
            digest = hashlib.sha256()
            with archive.open(_DUMP) as dump:
                for chunk in _chunks(dump):
                    digest.update(chunk)
                    progress(len(chunk))
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise BackupError(
            f"{file} is no backup, or it was cut off or damaged ({error}). Nothing was changed."
        ) from None
    if digest.hexdigest() != manifest.sha256:
        raise BackupError(f"{file} is damaged: its content is not what was written. Nothing was changed.")
    return manifest


def restore(owner_url: str, file: Path, *, replace: bool, progress: Progress) -> Manifest:
    """Puts the backup into an empty database, or with `replace` in the place of what is there, all of it or nothing.

    Migrate afterwards: that gives the application its rights. Raises BackupError.
    """
    manifest = read_manifest(file, progress=lambda _: None)
    if not knows(manifest.revision):
        raise BackupError(
            f"{file} was made by version {manifest.version} with schema {manifest.revision}, which this version"
            " does not know. Restore it with that version or a newer one. Nothing was changed."
        )
    with psycopg.connect(libpq_url(owner_url), autocommit=True) as connection:
        _refuse_loss(connection, replace=replace)
        with zipfile.ZipFile(file) as archive, archive.open(_DUMP) as dump:
            _load(connection, owner_url, dump, manifest, replace=replace, progress=progress)
    return manifest


def _refuse_loss(connection: psycopg.Connection[Any], *, replace: bool) -> None:
    others = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
    ).fetchone()
    if others and others[0]:
        raise BackupError(f"{others[0]} other connections use this database. Stop Pantheon first. Nothing was changed.")
    if list(_copied(connection, _TABLES)) and not replace:
        raise BackupError(
            "The database is not empty. Name an empty one, or add --replace to lose what is in it. Nothing was changed."
        )


def _load(
    connection: psycopg.Connection[Any],
    owner_url: str,
    dump: IO[bytes],
    manifest: Manifest,
    *,
    replace: bool,
    progress: Progress,
) -> None:
    """pg_restore's SQL through psql in one transaction, which is committed only when both of them have succeeded
    and what is there then is what the manifest says.
    """
    empty = ["--command=DROP SCHEMA public CASCADE", "--command=CREATE SCHEMA public"] if replace else []
    arguments = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", *empty, "--file=-"]
    with _program("psql", owner_url, connection, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as psql:
        assert psql.stdin is not None
        # When psql has given up, its own words say why.
        with suppress(BrokenPipeError):
            for statements in _statements(connection, dump, progress):
                psql.stdin.write(statements)
            _refuse_another_content(manifest, _contents(lambda query: _copied_by(psql, query)))
            # Only this end of the input lets psql commit; where something failed before, psql is killed instead.
            psql.stdin.close()


def _refuse_another_content(manifest: Manifest, found: tuple[str, dict[str, int], str]) -> None:
    revision, rows, heads = found
    differences = [
        f"{rows.get(name, 'no')} rows in {name}, not {manifest.rows.get(name, 'any')}"
        for name in sorted(rows.keys() | manifest.rows.keys())
        if rows.get(name) != manifest.rows.get(name)
    ]
    if revision != manifest.revision:
        differences.append(f"revision {revision}, not {manifest.revision}")
    if heads != manifest.heads:
        differences.append("other chains of wallets")
    if differences:
        raise BackupError(f"The dump is not what its manifest says: {'; '.join(differences)}. Nothing was changed.")


def _statements(connection: psycopg.Connection[Any], dump: IO[bytes], progress: Progress) -> Iterator[bytes]:
    folder = _tools("pg_restore", connection)
    arguments = [str(folder / "pg_restore"), "--no-owner", "--no-privileges", "--file=-"]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment({})
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None

        def feed(stdin: IO[bytes]) -> None:
            with suppress(BrokenPipeError), stdin:
                for chunk in _chunks(dump):
                    stdin.write(chunk)
                    progress(len(chunk))

        feeder = threading.Thread(target=feed, args=[running.stdin])
        feeder.start()
        first = True
        for chunk in _chunks(running.stdout):
            if first and _major(connection) < _TRANSACTION_TIMEOUT_MAJOR:
                chunk = chunk.replace(b"SET transaction_timeout = 0;\n", b"", 1)
            first = False
            yield chunk
        feeder.join()
        said = running.stderr.read().decode(errors="replace").strip()
    if running.returncode != 0:
        raise BackupError(f"pg_restore could not read the dump: {said}. Nothing was changed.")


_TABLES = """SELECT relname FROM pg_class
    WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p') ORDER BY 1"""
_COUNT = "SELECT count(*) FROM public.{}"
_HEADS = "SELECT concat(id, ' ', seq, ' ', encode(head_hash, 'hex')) FROM public.wallets ORDER BY id"


def _contents(ask: Ask) -> tuple[str, dict[str, int], str]:
    """Revision, rows of each table, and the digest of the chains."""
    names = list(ask(_TABLES))
    if "wallets" not in names or "alembic_version" not in names:
        raise BackupError("This is no database of Pantheon's: it has no books. Check DATABASE_MIGRATION_URL.")
    revision = "".join(ask("SELECT version_num FROM public.alembic_version"))
    rows = {name: int("".join(ask(_COUNT.format(sql.Identifier(name).as_string())))) for name in names}
    digest = hashlib.sha256()
    for head in ask(_HEADS):
        digest.update(f"{head}\n".encode())
    return revision, rows, digest.hexdigest()


def _copied(connection: psycopg.Connection[Any], query: str) -> Iterator[str]:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
        for (value,) in copy.rows():
            yield str(value)


def _copied_by(psql: subprocess.Popen[bytes], query: str) -> Iterator[str]:
    """Within the transaction of psql, which alone sees what is not committed."""
    assert psql.stdin is not None
    assert psql.stdout is not None
    # A line before and one after tell the rows from all else that it says.
    psql.stdin.write(
        f"COPY (SELECT '{_MARK}') TO STDOUT; COPY ({query}) TO STDOUT; COPY (SELECT '{_MARK}') TO STDOUT;\n".encode()
    )
    psql.stdin.flush()
    marks = 0
    while marks < 2:
        line = psql.stdout.readline()
        if not line:
            raise BrokenPipeError
        text = line.decode().rstrip("\n")
        if text == _MARK:
            marks += 1
        elif marks:
            yield text


@contextmanager
def _program(
    name: str,
    url: str,
    connection: psycopg.Connection[Any],
    *arguments: str,
    stdin: int | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A client of the database. What it failed with becomes a BackupError; an error in the block ends it at once."""
    conninfo = conninfo_to_dict(libpq_url(url))
    # Not on the command line, which everybody on this machine may read.
    password = str(conninfo.pop("password", None) or "")
    target = make_conninfo("", **conninfo)
    command = [str(_tools(name, connection) / name), *arguments, f"--dbname={target}"]
    environment = _environment({"PGPASSWORD": password} if password else {})
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stderr is not None
        try:
            yield running
            said = running.stderr.read().decode(errors="replace").strip()
        except BaseException:
            running.kill()
            raise
    if running.returncode != 0:
        raise BackupError(f"{name} failed: {said}")


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = ("PATH", "HOME", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLMODE", "PGPASSWORD")
    waits = {"PGOPTIONS": "-c lock_timeout=10s", "LC_ALL": "C"}
    return {name: os.environ[name] for name in kept if name in os.environ} | waits | more


def _tools(name: str, connection: psycopg.Connection[Any]) -> Path:
    """The folder of a program that is no older than the server: an older pg_dump would refuse, or miss something."""
    for folder in (*binary_folders(), *map(Path, os.get_exec_path())):
        if not (folder / name).is_file():
            continue
        printed = subprocess.run([folder / name, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\(PostgreSQL\) (\d+)", printed)
        if found and int(found[1]) >= _major(connection):
            return folder
    raise BackupError(f"No {name} of PostgreSQL {_major(connection)} or newer was found. Install its client programs.")


def _major(connection: psycopg.Connection[Any]) -> int:
    return connection.info.server_version // 10_000


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
