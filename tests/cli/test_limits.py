"""`pantheon limits`, within this process: commands in processes of their own are tried elsewhere."""

import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from pantheon.cli import limits, users


def test_operators_set_list_and_remove_limits(
    app_url: str, owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Away from any .env of the checkout.
    monkeypatch.chdir(tmp_path)
    variables = {"APP_ENV": "test", "DATABASE_URL": app_url, "PUBLIC_URL": "https://p.example"}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(limits.app, arguments, env=variables)

    CliRunner().invoke(users.app, ["add", "ada@example.com"], env=variables)
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "INSERT INTO spend_limits (id, wallet_id, scope, scope_id, period, amount, created_at)"
            " SELECT id, id, 'wallet', '', 'month', 80000000000, created_at FROM wallets"
        )
    on_demo = ("--period", "day", "--scope", "model", "--id", "demo")

    limited = json.loads(run("set", "ada@example.com", "50", *on_demo, "--json").stdout)
    assert (limited["amount"], limited["set_by"], limited["name"]) == ("50", "owner", "demo")
    table = run("list", "ada@example.com").stdout.splitlines()
    assert [line.split()[:6] for line in table[1:]] == [
        ["model", "day", "0", "0", "50", "owner"],
        ["wallet", "month", "0", "0", "80", "user"],
    ]

    assert run("remove", "ada@example.com", *on_demo).stdout == "The limit is removed.\n"
    # The user's own is not an operator's to remove.
    refused = run("remove", "ada@example.com")
    assert refused.exit_code == 1 and "There is no such limit." in refused.stderr
    with psycopg.connect(owner_url) as connection:
        audited = connection.execute("SELECT action FROM audit_log WHERE action LIKE 'limit.%' ORDER BY seq").fetchall()
    assert audited == [("limit.set",), ("limit.removed",)]
