"""`pantheon grant`, `wallet show`, `db shell` and `db status`."""

import json
from pathlib import Path

from pantheon.db.engine import Database
from tests.cli.conftest import Run
from tests.conftest import on
from tests.installation import Installation


async def test_a_grant_is_booked_audited_and_shown(installation: Installation, run: Run) -> None:
    ada = await installation.person()

    given = run("grant", ada.email, "100.5", "--note", "Thank you")
    again = run(
        "grant", str(ada.id), "1", "--note", "And more", "--category", "paid", "--expires", "2099-12-31", "--json"
    )

    assert given.stdout == "Gave 100.5 credits to ada@example.com. The balance is 100.5 now.\n", given.stderr
    assert json.loads(again.stdout)["new_balance"] == "101.5"
    shown = json.loads(run("wallet", "show", ada.email, "--json").stdout)
    assert (shown["available"], shown["held"], shown["debt"], shown["balance"]) == ("101.5", "0", "0", "101.5")
    assert [(grant["remaining"], grant["category"]) for grant in shown["grants"]] == [
        ("1", "paid"),
        ("100.5", "promotional"),
    ]
    assert [movement["note"] for movement in shown["transactions"]] == ["And more", "Thank you"]
    people = run("wallet", "show", str(ada.id)).stdout
    assert "available  101.5" in people and "Thank you" in people and "2099-12-31" in people
    audited = installation.rows("SELECT actor, actor_name FROM audit_log WHERE action = 'grant.posted'")
    assert audited == [{"actor": None, "actor_name": "cli"}] * 2


async def test_what_cannot_be_granted_is_refused_in_one_line(installation: Installation, run: Run) -> None:
    ada = await installation.person()
    for arguments, reason in (
        (("nobody@example.com", "1", "--note", "x"), "There is no user with this e-mail or id."),
        ((ada.email, "1e3", "--note", "x"), "amount must be a plain decimal number"),
        ((ada.email, "1", "--note", ""), "--note must say why"),
    ):
        refused = run("grant", *arguments)
        assert refused.returncode == 1
        assert reason in refused.stderr and "Traceback" not in refused.stderr
    assert await installation.balance(ada) == "0"


def test_a_shell_is_the_applications_unless_the_owners_is_asked_for(
    run: Run, environment: dict[str, str], app_url: str, owner_url: str
) -> None:
    environment["DATABASE_MIGRATION_URL"] = owner_url
    for arguments, url in (((), app_url), (("--owner",), owner_url)):
        found = run("db", "shell", *arguments, stdin="SELECT 'I am ' || current_user;\n")
        assert f"I am {url.split('//')[1].split(':')[0]}" in found.stdout, found.stderr


def test_programs_read_which_revision_the_database_is_at(run: Run, database: Database) -> None:
    shown = run("db", "status", "--json")
    answer = json.loads(shown.stdout)
    assert shown.returncode == 0 and answer["database"] == answer["expected"]


def test_an_empty_database_is_named_and_what_to_do(run: Run, environment: dict[str, str]) -> None:
    # Every server has it, and nothing is in it.
    environment["DATABASE_URL"] = on(environment["DATABASE_URL"], "postgres")

    status, users = run("db", "status", "--json"), run("users", "list")

    assert (status.returncode, json.loads(status.stdout)["database"]) == (1, None)
    assert (users.returncode, users.stdout) == (1, "")
    assert users.stderr == (
        'pantheon: the database does not fit: relation "users" does not exist;'
        " `pantheon db status` says whether it has to be migrated\n"
    )


def test_a_database_that_is_away_is_named_with_the_reason(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["DATABASE_URL"] = "postgresql://pantheon:secret-password@127.0.0.1:1/pantheon"

    for command in (("users", "list"), ("backup", str(tmp_path / "x.backup"))):
        refused = run(*command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("pantheon: the database cannot be used: connection failed")
        assert "Connection refused" in refused.stderr and "secret-password" not in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
