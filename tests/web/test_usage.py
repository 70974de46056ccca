"""The pages about where credits went."""

import re

from pantheon import clock
from pantheon.ids import uuid7
from pantheon.money.rate_card import Usage
from tests.installation import Installation
from tests.turns.used import fund, use
from tests.web.conftest import Visit


async def test_without_a_call_the_page_says_what_will_be_there(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    answer = await ada.get("/usage")

    assert answer.status_code == 200
    assert "Nothing was used yet." in answer.text and 'href="/account#api-keys"' in answer.text
    assert 'href="/usage" aria-current="page"' in answer.text


async def test_statements_are_files_for_spreadsheets(installation: Installation, visit: Visit) -> None:
    person = await installation.person()
    ada = await visit(person)
    await fund(installation, person, 100)
    installation.execute("UPDATE wallets SET created_at = now() - interval '400 days'")

    [newest, *older] = re.findall(r'href="(/usage/statements/[^"]+)"', (await ada.get("/usage")).text)
    answer = await ada.get(newest)

    assert newest == f"/usage/statements/{clock.now():%Y-%m}" and len(older) == 11 and older == sorted(older)[::-1]
    assert answer.headers["content-disposition"] == f'attachment; filename="pantheon-{clock.now():%Y-%m}.csv"'
    assert [line.split(",")[1:4] for line in answer.text.splitlines()][1:] == [
        ["opening_balance", "", "0"],
        ["grant", "100", "100"],
        ["closing_balance", "", "100"],
    ]
    assert (await ada.get(older[-1])).status_code == 200
    assert (await ada.get("/usage/statements/1999-01")).status_code == 404


async def test_usage_is_shown_by_day_and_model_and_each_call_has_a_receipt(
    installation: Installation, visit: Visit
) -> None:
    person = await installation.person()
    ada, bob = await visit(person), await visit(await installation.person(email="bob@example.com"))
    await fund(installation, person, 100)
    id_ = await use(installation, person, Usage(input=30_000, output=1000))
    await use(installation, person, Usage(input=1234), model="deepseek", drawn=1000)

    usage, receipt, wallet = [(await ada.get(path)).text for path in ("/usage", f"/receipts/{id_}", "/wallet")]

    assert "2 calls" in usage and "31,234" not in usage and "30,000" in usage and "deepseek" in usage
    assert '<span class="number">2.30</span>' in usage
    for page in (usage, wallet):
        assert f'href="/receipts/{id_}"' in page
    for shown in ("2.30", "30,000", "70.00", "200.00", "Counted by the provider", "Top-up", "Version 1", str(id_)):
        assert shown in receipt
    assert "Your balance was 97.70 after it" in receipt
    assert (await bob.get(f"/receipts/{id_}")).status_code == 404
    assert (await bob.get("/receipts/x")).status_code in (404, 422)
    assert (await ada.get(f"/receipts/{uuid7()}")).status_code == 404


async def test_addresses_that_were_edited_by_hand_still_lead_to_usage(installation: Installation, visit: Visit) -> None:
    person = await installation.person()
    ada = await visit(person)
    await fund(installation, person, 1)
    await use(installation, person, Usage(input=100), mode="off")
    for query in ("days=0", "days=7", "days=90&page=9", "days=x&page=x", "page=-1"):
        answer = await ada.get(f"/usage?{query}")
        assert answer.status_code == 200
        assert "1 call" in answer.text
