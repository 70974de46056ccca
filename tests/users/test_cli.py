"""`pantheon users` and `pantheon keys`, as an operator runs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from pantheon.cli import keys, users

Run = Callable[..., Result]


@pytest.fixture
def environment() -> dict[str, str]:
    return {"REGISTRATION": "invite"}


@pytest.fixture
def run(
    app_url: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    # Away from any .env of the checkout.
    monkeypatch.chdir(tmp_path)
    variables = {"APP_ENV": "test", "DATABASE_URL": app_url, "PUBLIC_URL": "https://p.example", **environment}
    apps = {"users": users.app, "keys": keys.app}

    def invoke(command: str, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(apps[command], arguments, input=stdin, env=variables)

    return invoke


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_owner_is_made_and_shown_a_link_to_sign_in(run: Run, owner_url: str) -> None:
    made = run("users", "add", "Ada@Example.com", "--owner")
    assert made.exit_code == 0
    assert "Created ada@example.com as owner" in made.stdout
    assert "https://p.example/sign-in/link/" in made.stdout
    listed = parsed(run("users", "list", "--json"))
    assert [(user["email"], user["role"], user["state"]) for user in listed["users"]] == [
        ("ada@example.com", "owner", "active")
    ]
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM wallets").fetchone() == (1,)
        actors = connection.execute("SELECT DISTINCT actor_name, actor FROM audit_log").fetchall()
    assert actors == [("cli", None)]


def test_a_password_is_read_and_not_shown(run: Run) -> None:
    made = run("users", "add", "ada@example.com", "--password-stdin", "--json", stdin="correct horse\n")
    assert parsed(made)["sign_in_link"] is None
    assert "correct horse" not in made.output
    assert run("users", "add", "bob@example.com", "--password-stdin", stdin="short\n").exit_code == 1


def test_roles_links_and_locks(run: Run) -> None:
    run("users", "add", "ada@example.com")
    assert "was user and is analyst now" in run("users", "role", "ADA@example.com", "analyst").stdout
    assert parsed(run("users", "reset-link", "ada@example.com", "--json"))["reset_link"].startswith(
        "https://p.example/password-reset/"
    )
    assert run("users", "disable", "ada@example.com").exit_code == 0
    assert parsed(run("users", "list", "--json"))["users"][0]["state"] == "disabled"
    assert run("users", "reset-link", "ada@example.com").exit_code == 1
    assert run("users", "enable", "ada@example.com").exit_code == 0
    assert run("users", "invite", "eve@example.com").stdout.startswith("https://p.example/sign-up/")
    assert "1 of 1 users" in run("users", "list", "--search", "ada").stdout


def test_keys_are_made_listed_and_revoked(run: Run) -> None:
    run("users", "add", "ada@example.com")
    made = parsed(
        run("keys", "create", "ada@example.com", "report", "--scope", "usage:read", "--monthly-limit", "2.5", "--json")
    )
    assert made["key"].startswith("pk_")
    assert (made["scopes"], made["monthly_limit"]) == (["usage:read"], "2.5")
    listed = run("keys", "list", "ada@example.com")
    assert made["key_start"] in listed.stdout
    assert made["key"] not in listed.stdout
    assert run("keys", "revoke", "ada@example.com", made["id"]).exit_code == 0
    assert parsed(run("keys", "list", "ada@example.com", "--json")) == {"api_keys": []}


IMPOSSIBLE = {
    ("users", "add", "no address"): "email must be an e-mail address",
    ("users", "add", "bob@example.com"): "An account with this e-mail exists already.",
    ("users", "role", "nobody@example.com", "owner"): "There is no user with this e-mail or id.",
    ("users", "invite", "bob@example.com"): "An account with this e-mail exists already.",
    ("keys", "create", "bob@example.com", "k", "--scope", "admin"): "Admin access required.",
    ("keys", "create", "bob@example.com", "k", "--scope", "workspace", "--monthly-limit", "1e3"): "plain decimal",
    ("keys", "revoke", "bob@example.com", "00000000-0000-0000-0000-000000000000"): "API key not found.",
}


def test_what_cannot_be_done_is_said_in_one_line(run: Run) -> None:
    run("users", "add", "bob@example.com")
    for arguments, says in IMPOSSIBLE.items():
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert says in result.stderr
        assert "Traceback" not in result.output


@pytest.mark.parametrize("environment", [{"REGISTRATION": "closed"}])
def test_an_invitation_that_would_not_work_is_not_made(run: Run) -> None:
    result = run("users", "invite")
    assert result.exit_code == 1
    assert "REGISTRATION is closed" in result.stderr


def test_every_command_shows_an_example() -> None:
    for app in (users.app, keys.app):
        for command in app.registered_commands:
            assert command.callback is not None
            assert "Example: pantheon " in (command.callback.__doc__ or "")
