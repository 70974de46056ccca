"""`pantheon backup` and `pantheon restore`, as an operator runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pantheon.db.migrate import head
from pantheon.wallets.grant_credits import grant_credits
from tests.conftest import APP_URL, OWNER_URL, on
from tests.installation import TEST, Installation

PROGRAM = Path(sys.executable).with_name("pantheon")


def pantheon(app_url: str, owner_url: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    urls = {"DATABASE_URL": app_url, "DATABASE_MIGRATION_URL": owner_url}
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "APP_ENV": "test", **urls}
    command = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.prove
async def test_one_command_each_way_and_the_books_are_verified_at_the_end(
    installation: Installation, app_url: str, owner_url: str, fresh: str, tmp_path: Path
) -> None:
    ada = await installation.person()
    await grant_credits(installation.runtime.database, TEST, user_id=ada.id, amount="5", note="x")
    there = on(os.environ[APP_URL], fresh), on(os.environ[OWNER_URL], fresh)
    sound, broken = tmp_path / "sound.backup", tmp_path / "broken.backup"

    made = pantheon(app_url, owner_url, "backup", sound, "--json")
    with psycopg.connect(owner_url) as somebody:
        somebody.execute("ALTER TABLE grants DISABLE TRIGGER USER")
        somebody.execute("UPDATE grants SET remaining = remaining - 1")
        somebody.commit()
        assert pantheon(app_url, owner_url, "backup", broken).returncode == 0
        somebody.execute("UPDATE grants SET remaining = remaining + 1")
        somebody.execute("ALTER TABLE grants ENABLE TRIGGER USER")
    restored = pantheon(*there, "restore", sound)
    replaced = pantheon(*there, "restore", broken, "--replace", "--json")

    told = json.loads(made.stdout)
    assert (told["file"], told["manifest"]["revision"], told["manifest"]["rows"]["transfers"]) == (
        str(sound),
        head(),
        1,
    )
    assert (restored.returncode, restored.stdout) == (0, "Restored. The books are whole.\n"), restored.stderr
    answer = json.loads(replaced.stdout)
    assert (replaced.returncode, answer["whole"], len(answer["breaks"]) > 0) == (1, False, True)
