from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from pantheon.users.rights import Role
from pantheon.users.sessions import Device, open_session
from pantheon.wallets.adjust_credits import adjust_credits
from pantheon.wallets.grant_credits import grant_credits
from tests.installation import TEST, Installation
from tests.web.conftest import Visit

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_an_empty_wallet_says_so_and_offers_to_top_up(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    answer = await ada.get("/wallet")

    assert answer.status_code == 200
    assert '<span class="number">0.00</span>' in answer.text
    assert "Your balance is low." in answer.text
    assert "No movements yet." in answer.text
    assert "333.33 credits" in answer.text
    assert "On hold" not in answer.text and "Debt" not in answer.text


async def test_history_is_listed_filtered_and_paged(installation: Installation, visit: Visit) -> None:
    person = await installation.person()
    ada, database = await visit(person), installation.runtime.database
    for number in range(25):
        await grant_credits(database, TEST, user_id=person.id, amount="1", note=f"Gift number {number}")
    await adjust_credits(database, TEST, user_id=person.id, amount="-0.001", note="A little less")

    first, second = (await ada.get("/wallet")).text, (await ada.get("/wallet?page=2")).text

    assert "−&lt;0.01" in first and "Gift number 24" in first and "Page 1 of 2" in first
    assert "Gift number 0" in second and "Gift number 24" not in second
    only = (await ada.get("/wallet?kind=adjustment")).text
    assert "A little less" in only and "Gift number" not in only
    assert "Nothing of this kind yet." in (await ada.get("/wallet?kind=expiry")).text
    assert "There is nothing on this page." in (await ada.get("/wallet?page=9")).text


async def test_addresses_that_were_edited_by_hand_still_lead_to_the_wallet(
    installation: Installation, visit: Visit
) -> None:
    ada = await visit(await installation.person())
    for query in ("page=0", "page=-1", "page=x", "page=9999999999999999999", "page=%D9%A1", "kind=nothing", "page="):
        assert (await ada.get(f"/wallet?{query}")).status_code == 200


async def test_strings_from_outside_are_shown_escaped(installation: Installation, visit: Visit) -> None:
    """T-214."""
    person = await installation.person(email="<b>ada</b>@example.com")
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    await grant_credits(installation.runtime.database, TEST, user_id=person.id, amount="1", note=hostile)
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    ada = await visit(person)

    for answer in (
        await ada.get("/wallet"),
        await ada.get("/account"),
        await owner.get("/admin", params={"search": "<b>"}),
        await owner.get(f"/admin/users/{person.id}"),
        await ada.post("/wallet/top-ups", choice="own", amount=hostile),
        await ada.post("/account/api-keys", name=hostile),
        await owner.post(f"/admin/users/{person.id}/grant", form_id="a", amount=hostile, note=hostile),
    ):
        assert answer.status_code in (200, 201, 422)
        assert "<script>" not in answer.text and "<img src=x" not in answer.text and "<b>" not in answer.text


async def test_a_top_up_begins_with_an_amount_and_leads_to_its_page(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    suggested = await ada.post("/wallet/top-ups", choice="10.00", amount="")
    twice = await ada.post("/wallet/top-ups", choice="10.00", amount="")
    own = await ada.post("/wallet/top-ups", choice="own", amount="12.50")

    assert suggested.status_code == 303
    assert suggested.headers["location"].startswith("/wallet/top-ups/")
    assert twice.headers["location"] == suggested.headers["location"]
    assert own.headers["location"] != suggested.headers["location"]
    amounts = installation.rows("SELECT amount_minor FROM top_ups ORDER BY created_at")
    assert [row["amount_minor"] for row in amounts] == [1000, 1250]
    wallet = (await ada.get("/wallet")).text
    assert "Not finished" in wallet and suggested.headers["location"] in wallet


async def test_a_wrong_amount_is_explained_where_it_was_written(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    answer = await ada.post("/wallet/top-ups", choice="own", amount="1000")

    assert answer.status_code == 422
    assert "Choose an amount between $1.00 and $500.00." in answer.text
    assert 'value="1000" aria-invalid="true"' in answer.text
    assert (await ada.post("/wallet/top-ups")).status_code == 422
    assert installation.rows("SELECT FROM top_ups") == []


async def test_too_many_unpaid_top_ups_are_refused_in_place(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    for amount in ("1", "2", "3"):
        await ada.post("/wallet/top-ups", choice="own", amount=amount)

    answer = await ada.post("/wallet/top-ups", choice="own", amount="4")

    assert answer.status_code == 429
    assert "You have 3 unpaid top-ups open. Pay or cancel one of them first." in answer.text


async def test_the_quote_follows_the_choice(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    async def quote(**parameters: str) -> str:
        answer = await ada.get("/wallet/quote", params=parameters)
        assert answer.status_code == 200
        return answer.text

    assert "<strong>333.33 credits</strong>" in await quote(choice="10.00")
    assert "<strong>416.67 credits</strong>" in await quote(choice="own", amount="12.50")
    assert "Write an amount" in await quote(choice="own", amount=" ")
    assert "between $1.00 and $500.00" in await quote(choice="own", amount="501")
    assert "as a number" in await quote(choice="own", amount="<b>")


async def test_without_payments_the_wallet_says_whom_to_ask(install: Install) -> None:
    async with install(payments=False) as installation:
        ada = await installation.person()
        async with installation.runtime.database.transaction() as tx:
            session = await open_session(tx, ada.id, Device())
        installation.client.cookies.set("pantheon_session", session.token)

        answer = await installation.client.get("/wallet")

        assert answer.status_code == 200
        assert "Payments are not set up here." in answer.text
        assert "Continue to payment" not in answer.text
