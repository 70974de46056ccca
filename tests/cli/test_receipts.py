"""`pantheon receipts show`."""

import json

from pantheon.ids import uuid7
from pantheon.money.rate_card import Usage
from tests.cli.conftest import Run
from tests.installation import Installation
from tests.turns.used import fund, use


async def test_operators_read_receipts_with_the_providers_cost(installation: Installation, run: Run) -> None:
    ada = await installation.person()
    await fund(installation, ada, 10)
    id_ = await use(installation, ada, Usage(input=10_000), provider_cost=2_500_000)

    shown, as_json = run("receipts", "show", str(id_)), run("receipts", "show", str(id_), "--json")
    unknown = run("receipts", "show", str(uuid7()))

    assert "gpt-4o" in shown.stdout and "input_tokens" in shown.stdout and "0.0025" in shown.stdout, shown.stderr
    found = json.loads(as_json.stdout)
    assert (found["id"], found["total_credits"], found["provider_cost_usd"]) == (str(id_), "0.7", "0.0025")
    assert found["user_id"] == str(ada.id)
    assert (unknown.returncode, unknown.stderr) == (1, "pantheon: Receipt not found.\n")
