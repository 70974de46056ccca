"""A pgbouncer of the test's own, in transaction mode, in front of the test's server."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests.crash.processes import free_port

PROGRAM = shutil.which("pgbouncer", path=os.defpath + ":/usr/sbin:/usr/local/sbin")
SERVER_CONNECTIONS = 2
"""Fewer than requests at once, so that neighbours share a connection and whatever one leaves on it is seen."""


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """The same address through the pooler."""
    assert PROGRAM is not None
    server, port = make_url(url), free_port()
    with tempfile.TemporaryDirectory(prefix="pantheon-pooler-") as name:
        folder = Path(name)
        (folder / "users.txt").write_text(f'"{server.username}" "{server.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={server.host} port={server.port or 5432}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\n"
            f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 200\n"
            f"logfile = {folder}/log\n"
        )
        account = None
        if os.geteuid() == 0:
            # Like PostgreSQL, it refuses to run as root.
            account = pwd.getpwnam("nobody")
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        process = subprocess.Popen(
            [PROGRAM, "-q", str(folder / "pgbouncer.ini")],
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=[] if account else None,
        )
        through = server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        try:
            _await(through, process)
            yield through
        finally:
            process.terminate()
            process.wait(10)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, "pgbouncer ended"
            assert time.monotonic() < deadline, "pgbouncer does not answer"
            time.sleep(0.02)
