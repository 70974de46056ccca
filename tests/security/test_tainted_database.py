"""S3: credits that the local shortcut made never become real ones."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("app_env", ["production", pytest.param("staging", marks=pytest.mark.prove)])
def test_a_database_with_an_unsigned_event_is_not_served_outside_of_local(
    app_url: str, owner_url: str, tmp_path: Path, app_env: str
) -> None:
    """T-192."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO inbox_events (id, event_id, type, livemode, body, body_hash, verified, state, received_at,"
            " next_attempt_at) VALUES (gen_random_uuid(), 'evt_1', 'x', false, '{}', sha256('{}'), false, 'received',"
            " now(), now())"
        )

    process = subprocess.run(
        [Path(sys.executable).with_name("pantheon"), "serve", "--port", str(_free_port())],
        env={
            "PATH": os.environ["PATH"],
            "APP_ENV": app_env,
            "DATABASE_URL": app_url,
            "SECRET_KEYS": "k" * 32,
            "PUBLIC_URL": "https://pantheon.example",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )

    assert process.returncode == 1
    assert process.stderr.startswith("pantheon: DATABASE_URL names a database with 1 payment events that nobody signed")
    assert process.stderr.count("\n") == 1
