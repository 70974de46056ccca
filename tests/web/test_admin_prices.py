"""The pages of prices: read by analysts, published by owners, and nothing that is not confirmed."""

import json
from typing import Any

import httpx2

from pantheon.users.rights import Role
from tests.installation import Installation
from tests.turns.price_lists import listed, price_list
from tests.web.conftest import Visit, Visitor

HOSTILE = "<script>alert(1)</script>"


async def upload(owner: Visitor, document: Any, **fields: str) -> httpx2.Response:
    """As htmx sends the form with a file."""
    return await owner.client.post(
        "/admin/prices/preview",
        data={"source": "file", "margin": "30", "provider": "openrouter", **fields},
        files={"document": ("prices.json", json.dumps(document).encode())},
        headers={"X-CSRF-Token": owner.csrf_token, "HX-Request": "true"},
    )


def hidden(page: str) -> dict[str, str]:
    """The fields of the form that publishes, as a browser would send them."""
    from html.parser import HTMLParser

    found: dict[str, str] = {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            values = dict(attributes)
            if tag == "input" and values.get("type") == "hidden":
                found[values["name"] or ""] = values["value"] or ""

    Reader().feed(page[page.index('action="/admin/prices/publish"') :])
    del found["csrf_token"]
    return found


async def test_users_see_no_prices_and_analysts_only_look(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    analyst = await visit(await installation.person(Role.ANALYST, "analyst@example.com"))

    for visitor, reads in ((ada, 403), (analyst, 200)):
        for path in ("/admin/prices", "/admin/prices/versions/1"):
            assert (await visitor.get(path)).status_code == reads
        for path in ("multiplier", "preview", "publish"):
            assert (await visitor.post(f"/admin/prices/{path}")).status_code == 403
    page = (await analyst.get("/admin/prices")).text
    assert "Only an owner can publish prices." in page and 'action="/admin/prices' not in page
    for number in ("2", "0", "x", "9" * 40):
        assert (await analyst.get(f"/admin/prices/versions/{number}")).status_code == 404
    assert 'href="/admin/prices"' in (await analyst.get("/admin")).text


async def test_an_owner_reads_the_card_in_credits_and_money_and_sets_a_multiplier(
    installation: Installation, visit: Visit
) -> None:
    owner = await visit(await installation.person(Role.OWNER))

    page = (await owner.get("/admin/prices")).text

    # 35 × 2 credits, of which 100 cost 3 dollars.
    assert "70<" in page and "$2.10" in page
    # 10 × 0.1 credits.
    assert "1<" in page and "$0.03" in page
    assert "the card that every installation begins with" in page

    fields = {"model_alias": "gpt-4o", "based_on": "1"}

    refused = await owner.post("/admin/prices/multiplier", **fields, multiplier="0")
    done = await owner.post("/admin/prices/multiplier", **fields, multiplier="2.5")
    stale = await owner.post("/admin/prices/multiplier", **fields, multiplier="3")

    assert refused.status_code == 422 and "Multiplier must be greater than 0 and at most 100." in refused.text
    assert "Version 2 is in force." in done.text and "× 2.5" in done.text
    assert stale.status_code == 409 and "Another pricing version is in force by now." in stale.text
    version = (await owner.get("/admin/prices/versions/2")).text
    assert "What differs" in version and "+25 %" in version
    compared = (await owner.get("/admin/prices/versions/1?against=2")).text
    assert "−20 %" in compared


async def test_an_import_is_previewed_confirmed_and_published(installation: Installation, visit: Visit) -> None:
    owner = await visit(await installation.person(Role.OWNER))
    document = price_list(
        listed("openai/gpt-4o", prompt="0.000003", description=HOSTILE), listed("maker/unused"), listed(HOSTILE)
    )

    preview = await upload(owner, document, only="gpt-4o", note=f"Note {HOSTILE}")

    assert preview.status_code == 200 and "<html" not in preview.text
    assert HOSTILE not in preview.text
    assert "+85.7 %" in preview.text and "$3.00" in preview.text and "30 %" in preview.text
    fields = hidden(preview.text)
    # Only what is imported goes back and forth.
    assert [model["id"] for model in json.loads(fields["document"])["data"]] == ["openai/gpt-4o"]
    unconfirmed = await owner.post("/admin/prices/publish", **fields)
    assert unconfirmed.status_code == 409 and "Confirm these models by name: gpt-4o" in unconfirmed.text
    published = await owner.post("/admin/prices/publish", **hidden(unconfirmed.text), confirm="gpt-4o")
    assert "Version 2 is in force." in published.text and "130<" in published.text and "30 %" in published.text
    assert HOSTILE not in published.text
    stale = await owner.post("/admin/prices/publish", **fields, confirm="gpt-4o")
    assert stale.status_code == 409 and "Another pricing version" in stale.text

    # The list that comes along needs no file, and prices may begin later.
    fields = {"source": "bundled", "margin": "30%", "only": "gpt-4o-mini", "effective_at": "2030-01-01T12:30"}
    preview = await owner.post("/admin/prices/preview", **fields)
    published = await owner.post("/admin/prices/publish", **hidden(preview.text))
    assert "In force from" in preview.text and "openrouter with a margin of 30 %" in preview.text
    soon = await owner.post("/admin/prices/preview", **fields | {"only": "gpt-4o,\r\n", "effective_at": ""})
    assert "which does not have these changes" in soon.text and "which does not" not in preview.text
    assert "Version 3 begins at 2030-01-01 12:30 UTC." in published.text and "to come" in published.text


async def test_what_cannot_be_imported_is_said_on_the_page(installation: Installation, visit: Visit) -> None:
    owner = await visit(await installation.person(Role.OWNER))
    for document, fields, said in (
        (price_list(), {"margin": "x"}, "Margin must be a plain decimal number."),
        (price_list(), {"only": "nobody"}, "leave them out: nobody (the list has no price for it)"),
        ({}, {}, "The price list cannot be read"),
        (price_list(), {"effective_at": "2020-01-01T00:00"}, "Effective at must be in the future"),
        (price_list(), {"effective_at": "soon"}, "Effective at must be a date and a time."),
    ):
        refused = await upload(owner, document, **fields)
        assert refused.status_code == 422 and said in refused.text and 'role="alert"' in refused.text
    nothing = await owner.post("/admin/prices/preview", source="file", margin="30")
    assert nothing.status_code == 422 and "Choose the file of the price list." in nothing.text
    unread = await owner.post("/admin/prices/publish", source="bundled", margin="30", only="gpt-4o", based_on="x")
    assert unread.status_code == 404
    assert len(installation.rows("SELECT FROM rate_cards")) == 1
