"""Generated documents are what the code says at this moment."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pantheon.cli.docs import app
from pantheon.cli.documents import BY, DOCUMENTS, ROOT, stale
from pantheon.money.chart import Account, Kind
from pantheon.settings import Settings

SETTINGS = {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_generated_document_is_fresh_and_says_how_it_is_made(name: str) -> None:
    text = (ROOT / name).read_text()

    assert text == DOCUMENTS[name](), "run `pantheon docs write`"
    assert BY in text.splitlines()[0]


def test_the_check_passes_on_fresh_documents_and_names_missing_and_stale_ones(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["check"]).exit_code == 0

    (tmp_path / "docs").mkdir()
    for name, render in list(DOCUMENTS.items())[1:]:
        (tmp_path / name).write_text(render())
    (tmp_path / ".env.example").write_text("#APP_ENV=production")

    assert stale(tmp_path) == ["docs/chart_of_accounts.md", ".env.example"]


def test_every_setting_is_in_the_example_and_in_the_contract_once() -> None:
    example = re.findall(r"^#([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    contract = re.findall(r"^\| `([A-Z0-9_]+)` \|", (ROOT / "docs/env_contract.md").read_text(), re.MULTILINE)

    assert sorted(example) == sorted(contract) == sorted(SETTINGS)


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_example_sets_nothing_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []
    secrets = [line for line in lines if re.match(r"#[A-Z_]*(SECRET|KEY|URL)[A-Z_]*=", line)]
    assert [line for line in secrets if not line.endswith("=")] == [
        "#PUBLIC_URL=http://127.0.0.1:8000",
        "#OPENROUTER_BASE_URL=https://openrouter.ai/api/v1",
        "#TAVILY_BASE_URL=https://api.tavily.com",
    ]


def test_the_chart_names_every_account_and_kind() -> None:
    chart = (ROOT / "docs/chart_of_accounts.md").read_text()

    assert {name for name in (*Account, *Kind) if f"| `{name}` |" not in chart} == set()


def test_the_description_of_the_api_is_json_and_says_what_version_it_is() -> None:
    document = json.loads((ROOT / "docs/openapi.json").read_text())

    assert document["openapi"].startswith("3.")
