"""`pantheon rates`: what is shown before anything is published, and what has to be said for it."""

import json
from pathlib import Path

import pytest

from pantheon.db.engine import Database
from pantheon.turns.rate_cards import list_versions
from tests.cli.conftest import Run
from tests.models.scripted_provider import streamed
from tests.turns.metering import ALIAS, metering
from tests.turns.price_lists import listed, price_list
from tests.turns.test_what_if import USED, Install, call


@pytest.fixture
def prices(tmp_path: Path) -> str:
    """A list that makes gpt-4o cheaper and gpt-4o-mini dearer."""
    file = tmp_path / "prices.json"
    models = price_list(listed("openai/gpt-4o"), listed("openai/gpt-4o-mini", prompt="0.00000105"))
    file.write_text(json.dumps(models))
    return file.name


async def versions(database: Database) -> int:
    return (await list_versions(database))[1]


async def test_an_import_shows_its_changes_and_asks(run: Run, prices: str, database: Database) -> None:
    arguments = ("rates", "import", prices, "--margin", "30%", "--only", "gpt-4o,gpt-4o-mini")

    shown = run(*arguments, "--dry-run")
    unnamed = run(*arguments, stdin="gpt-4o\ny\n")
    too_easy = run(*arguments, "--yes")
    assert await versions(database) == 1
    published = run(*arguments, stdin="gpt-4o-mini\ny\n")

    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["changed", "gpt-4o", "input", "70", "6.5", "-90.7", "%", "0.15", "30", "%"] in rows
    assert ["changed", "gpt-4o-mini", "input", "35", "45.5", "+30", "%", "1.05", "30", "%"] in rows
    assert "gpt-4o-mini: cached input tokens +355 %" in shown.stdout
    assert "Nothing was published." in shown.stdout
    assert (unnamed.returncode, too_easy.returncode) == (1, 1)
    assert "Confirm these models by name: gpt-4o-mini" in too_easy.stderr and "Traceback" not in too_easy.stderr
    assert published.returncode == 0, published.stderr
    assert "Published version 2, in force now." in published.stdout
    assert await versions(database) == 2


@pytest.mark.prove
async def test_a_script_names_what_it_confirms_and_reads_json(run: Run, prices: str, database: Database) -> None:
    arguments = ("rates", "import", prices, "--margin", "30%", "--yes", "--confirm", "gpt-4o-mini", "--json")

    now = json.loads(run(*arguments, "--note", "Winter prices").stdout)
    later = json.loads(run(*arguments, "--only", "gpt-4o", "--margin", "40%", "--effective-at", "2030-01-01").stdout)
    listed_ = json.loads(run("rates", "list", "--json").stdout)

    assert (now["published"], later["published"]) == (2, 3)
    # The list replaces all of the provider's models, and those that it lacks are gone.
    assert {change["kind"] for change in now["changes"] if change["model_alias"].startswith("claude")} == {"gone"}
    assert [item["version"] for item in listed_["versions"]] == [3, 2, 1]
    assert [item["note"] for item in listed_["versions"]][1] == "Winter prices"
    assert listed_["version"]["version"] == 2
    assert [model["model_alias"] for model in listed_["models"]] == ["demo", "gpt-4o", "gpt-4o-mini"]
    assert "Gone, and no longer to be called: claude-haiku" in run("rates", "diff", "1", "2").stdout


@pytest.mark.prove
def test_a_version_is_shown_and_what_cannot_be_done_is_said_in_one_line(
    run: Run, prices: str, tmp_path: Path, database: Database
) -> None:
    people = run("rates", "list", "--version", "1").stdout
    assert "in force" in people and "openrouter: deepseek/deepseek-chat" in people
    (tmp_path / "broken.json").write_text("{")
    for arguments, reason in (
        (("import", prices, "--margin", "0.3"), "margin must be a percentage such as 30%"),
        (("import", "broken.json", "--margin", "3%"), "broken.json is not JSON"),
        (("diff", "1", "2"), "There is no rate card 2."),
        (("what-if", "1", "--from", "2026-12-01", "--to", "2026-11-01"), "--to must be later than --from"),
    ):
        refused = run("rates", *arguments)
        assert refused.returncode == 1
        assert reason in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.prove
async def test_the_past_is_priced_at_a_version_or_at_a_list(run: Run, install: Install, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(json.dumps(price_list(listed("model-of-theirs"))))
    period = ("--from", "2020-01-01", "--to", "2100-01-01")
    async with metering(install, streamed("one", usage=USED)) as m:
        await call(m)
        await m.ended()

        same = json.loads(run("rates", "what-if", "2", *period, "--json").stdout)
        other = run("rates", "what-if", "prices.json", "--margin", "30%", "--provider", "scripted", *period)

    sums = {"calls": 1, "charged": "0.000000039", "price": "0.000000039", "would_be": "0.000000039"}
    assert (same["models"], same["priced"]) == ({ALIAS: sums}, sums)
    # 9 tokens at 6,500 nanocredits, 3 at 26,000.
    assert ["altogether", "1", "0.000000039", "0.000000039", "0.0001365"] in [
        line.split()[:5] for line in other.stdout.splitlines()
    ], other.stderr
