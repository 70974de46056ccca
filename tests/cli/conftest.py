"""`pantheon` as operators run it: a process of its own, which shares nothing with the test but the database."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.installation import Installation

PROGRAM = Path(sys.executable).with_name("pantheon")
SECONDS = 60

Install = Callable[..., AbstractAsyncContextManager[Installation]]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(app_url: str) -> dict[str, str]:
    variables = {"APP_ENV": "test", "PUBLIC_URL": "https://pantheon.example.com", "DATABASE_URL": app_url}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            # Away from any .env of the checkout.
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    return run
