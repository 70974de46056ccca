"""The whole product as a newcomer starts it: real processes, a private PostgreSQL, the sandbox, and kill -9."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.conftest import new_home

SECONDS = 60


@pytest.fixture
def home() -> Iterator[Path]:
    home = new_home()
    yield home
    for pid in _postmasters(home):
        os.kill(pid, signal.SIGKILL)


def _postmasters(home: Path) -> list[int]:
    found = []
    for file in home.glob("pg*/postmaster.pid"):
        with suppress(OSError, ValueError, IndexError):
            found.append(int(file.read_text().splitlines()[0]))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    def __init__(self, home: Path, port: int) -> None:
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("pantheon"), "serve", "--port", str(port)],
            env=environment | {"APP_ENV": "local", "DATA_DIR": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + SECONDS
        while text not in self.printed:
            line = self.process.stdout.readline()
            assert line, f"ended before it printed {text!r}:\n{self.printed}"
            assert time.monotonic() < deadline, self.printed
            self.printed += line
        return self.printed

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=SECONDS)


def test_it_starts_serves_survives_kill_9_and_stops(home: Path) -> None:
    port = _free_port()
    first = Served(home, port)
    printed = first.read_until("Stop with Ctrl-C")
    assert f"Pantheon runs at {first.url}" in printed
    assert re.search(rf"{re.escape(first.url)}/sign-in/link/[A-Za-z0-9_-]{{43}}", printed)
    with httpx2.Client(base_url=first.url) as client:
        health = client.get("/api/v1/health").json()
        assert health["status"] == "ok"
        assert health["migration_revision"] == health["migration_head"]
        assert client.get("/api/v1/ready").status_code == 200
        assert client.get("/", follow_redirects=True).status_code == 200

    second = Served(home, port)
    assert "choose another with --port" in second.read_until("--port")
    second.process.communicate(timeout=SECONDS)
    assert second.process.returncode == 1

    (postmaster,) = _postmasters(home)
    first.kill()
    os.kill(postmaster, signal.SIGKILL)
    again = Served(home, port)
    again.read_until("Stop with Ctrl-C")
    with httpx2.Client(base_url=again.url) as client:
        assert client.get("/api/v1/ready").status_code == 200

    again.stop()

    assert again.process.returncode == 0
    assert _postmasters(home) == []


@pytest.mark.prove
def test_a_killed_process_leaves_a_database_that_the_next_one_takes_over(home: Path) -> None:
    port = _free_port()
    first = Served(home, port)
    first.read_until("Stop with Ctrl-C")
    (postmaster,) = _postmasters(home)
    first.kill()

    again = Served(home, port)
    again.read_until("Stop with Ctrl-C")

    assert _postmasters(home) == [postmaster]
    again.stop()


def test_production_without_a_database_says_what_is_missing() -> None:
    process = subprocess.run(
        [Path(sys.executable).with_name("pantheon"), "serve"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        cwd="/",
    )

    assert process.returncode == 1
    advice = "(`make run` starts with APP_ENV=local)"
    assert process.stderr == f"pantheon: DATABASE_URL is required outside of local {advice}\n"
