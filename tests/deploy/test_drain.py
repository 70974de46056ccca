"""SIGTERM lets what runs finish, in real processes that share nothing but the database."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.crash.processes import free_port

PROGRAM = Path(sys.executable).with_name("pantheon")
SECONDS = 30
BODY = b'{"email": "nobody@example.com"}'


@pytest.fixture
def port(app_url: str, tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    process = subprocess.Popen(
        [PROGRAM, "serve", "--no-worker", "--port", str(port)],
        env={
            "PATH": os.defpath,
            "APP_ENV": "staging",
            "PUBLIC_URL": "https://pantheon.example.com",
            "SECRET_KEYS": "correct-horse-battery-staple-0123456789",
            "DATABASE_URL": app_url,
        },
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield port, process
    finally:
        process.kill()
        process.wait(SECONDS)


def _await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/api/v1/ready").status_code == 200:
                return
        except httpx2.TransportError:
            assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "it does not get ready"
        time.sleep(0.02)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_that_runs_is_answered_and_nobody_else_is_let_in(
    port: tuple[int, subprocess.Popen[bytes]],
) -> None:
    number, process = port
    _await_ready(number, process)
    with socket.create_connection(("127.0.0.1", number), timeout=SECONDS) as running:
        running.sendall(
            b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(BODY)
        )
        # The server asks for the body, so the request is in its hands.
        assert running.recv(1024).startswith(b"HTTP/1.1 100")
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + SECONDS
        while not _refuses(number):
            assert time.monotonic() < deadline, "it still accepts"
            time.sleep(0.01)
        assert process.poll() is None

        running.sendall(BODY)
        answer = running.recv(65536)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 503")), answer
    assert process.wait(SECONDS) == 0
