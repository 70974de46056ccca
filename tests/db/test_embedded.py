"""The private server: its life, its crashes and what it refuses. Each test has a home of its own."""

import os
import pwd
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pantheon.db import embedded
from pantheon.db.embedded import APP, OWNER, EmbeddedServer, EmbeddedServerError

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder that another account may pass through, which pytest's own temporary folders do not allow."""
    folder = Path(tempfile.mkdtemp(prefix="pantheon-embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(parent: Path) -> Iterator[Callable[[], EmbeddedServer]]:
    """Starts the server of one home, and stops it at the end however often it was started."""
    started: list[EmbeddedServer] = []

    def start_it() -> EmbeddedServer:
        started.append(embedded.start(parent / "home"))
        return started[-1]

    yield start_it
    for server in started:
        server.stop()


def _modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    return {path: (s.st_mode, s.st_uid, s.st_gid) for path in folder.parents if (s := path.stat())}


def _runs_as(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_life_of_a_server(parent: Path, start: Callable[[], EmbeddedServer]) -> None:
    home = parent / "home"
    home.mkdir()
    before = _modes(home)
    server = start()

    # It is private, and durable, whatever the machine's defaults are.
    assert not server.attached
    assert home.stat().st_mode & 0o777 == 0o700
    assert _modes(home) == before
    with psycopg.connect(server.owner_url, autocommit=True) as owner:
        shown = {name: owner.execute(f"SHOW {name}".encode()).fetchone() for name in ("fsync", "data_checksums")}
        assert shown == {"fsync": ("on",), "data_checksums": ("on",)}
        assert owner.execute("SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin").fetchall() == [
            ("postgres",)
        ]
        owner.execute("CREATE TABLE kept AS SELECT 1 AS number")
        owner.execute(f"GRANT SELECT ON kept TO {APP}".encode())
    with psycopg.connect(server.app_url) as app:
        assert app.execute("SELECT number FROM kept").fetchone() == (1,)
    if AS_ROOT:
        assert pwd.getpwuid(_runs_as(server.pid)).pw_name in ("postgres", "nobody")
    else:
        assert _runs_as(server.pid) == os.geteuid()

    # A second start takes over the one that runs.
    again = start()
    assert (again.attached, again.pid, again.owner_url) == (True, server.pid, server.owner_url)

    # Killed in the middle of its work, it comes back with everything that was committed.
    with psycopg.connect(server.owner_url, autocommit=True) as owner:
        owner.execute("INSERT INTO kept SELECT generate_series(2, 1000)")
    open_work = psycopg.connect(server.owner_url)
    open_work.execute("INSERT INTO kept VALUES (-1)")
    os.kill(server.pid, signal.SIGKILL)
    _until(lambda: _is_gone(server.pid))
    recovered = start()
    open_work.close()
    assert not recovered.attached
    assert recovered.owner_url == server.owner_url
    with psycopg.connect(recovered.owner_url) as owner:
        assert owner.execute("SELECT count(*), min(number) FROM kept").fetchone() == (1000, 1)

    # Stopping twice, and stopping a server that was replaced, do nothing.
    server.stop()
    with psycopg.connect(recovered.owner_url) as owner:
        assert owner.execute("SELECT 1").fetchone() == (1,)
    recovered.stop()
    recovered.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(recovered.owner_url, connect_timeout=2)


def test_nobody_gets_in_without_the_password_or_as_superuser(start: Callable[[], EmbeddedServer]) -> None:
    server = start()
    for role, password in (("postgres", ""), ("postgres", "postgres"), (OWNER, "guess"), (APP, "")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                host="127.0.0.1", port=server.port, dbname="postgres", user=role, password=password, connect_timeout=2
            )


def test_no_password_is_shown_by_a_server_that_is_printed(start: Callable[[], EmbeddedServer]) -> None:
    server = start()
    password = server.owner_url.split(":")[2].split("@")[0]

    assert password not in repr(server)
    assert password not in server.log_file.read_text()


@pytest.mark.skipif(not AS_ROOT, reason="root alone starts servers for other accounts")
def test_a_folder_of_roots_that_is_in_use_is_left_alone(parent: Path) -> None:
    home = parent / "home"
    home.mkdir()
    (home / "precious").write_text("mine")

    with pytest.raises(EmbeddedServerError, match="Use a new or an empty folder"):
        embedded.start(home)
    assert [path.name for path in home.iterdir()] == ["precious"]
    assert home.stat().st_uid == 0


@pytest.mark.skipif(not AS_ROOT, reason="root alone starts servers for other accounts")
def test_a_home_that_the_servers_account_cannot_reach_is_refused_and_no_permission_changed(parent: Path) -> None:
    parent.chmod(0o700)
    before = _modes(parent / "home")

    with pytest.raises(EmbeddedServerError, match=r"A folder above .* is closed to"):
        embedded.start(parent / "home")
    assert _modes(parent / "home") == before


def test_lost_passwords_are_said_and_not_replaced(parent: Path, start: Callable[[], EmbeddedServer]) -> None:
    start().stop()
    (parent / "home" / "server.json").unlink()

    with pytest.raises(EmbeddedServerError, match="Put it back from a backup"):
        start()


def test_a_folder_without_programs_is_said(parent: Path) -> None:
    (parent / "bin").mkdir()

    with pytest.raises(EmbeddedServerError, match="No working PostgreSQL 15 or newer was found"):
        embedded.start(parent / "home", bin_dir=parent / "bin")


def test_a_port_that_was_taken_meanwhile_is_exchanged(parent: Path, start: Callable[[], EmbeddedServer]) -> None:
    server = start()
    server.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", server.port))
        squatter.listen()
        moved = start()

    assert moved.port != server.port
    with psycopg.connect(moved.owner_url) as owner:
        assert owner.execute("SELECT 1").fetchone() == (1,)
    assert start().port == moved.port
