from pantheon.users.rights import Role
from tests.installation import Installation
from tests.web.conftest import Visit


async def test_a_limit_is_set_shown_changed_and_removed(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    set_ = await ada.post("/wallet/limits", what="wallet", period="day", amount="12.5")
    await ada.post("/wallet/limits", what="model:demo", period="month", amount="0")

    assert (set_.status_code, set_.headers["location"]) == (303, "/wallet#limits")
    page = (await ada.get("/wallet")).text
    assert "0.00 of 12.50 credits spent" in page and "Model demo" in page
    assert '<progress max="1000" value="0"' in page and '<progress max="1000" value="1000" class="full"' in page

    await ada.post("/wallet/limits", what="wallet", period="day", amount="20")
    assert "of 20.00 credits spent" in (await ada.get("/wallet")).text
    for _ in range(2):
        removed = await ada.post("/wallet/limits/remove", what="wallet", period="day")
        assert removed.status_code == 303
    page = (await ada.get("/wallet")).text
    assert "of 20.00 credits spent" not in page and "Model demo" in page


async def test_what_is_ones_own_can_be_chosen_and_what_is_not_is_refused(
    installation: Installation, visit: Visit
) -> None:
    person = await installation.person()
    ada, bob = await visit(person), await visit(await installation.person(email="bob@example.com"))
    room = await installation.client.post("/api/v1/rooms", json={"name": "<Plans>"}, headers=person.headers)
    choice = f"room:{room.json()['id']}"

    assert f'<option value="{choice}">&lt;Plans&gt;</option>' in (await ada.get("/wallet")).text
    assert choice not in (await bob.get("/wallet")).text
    theirs = await bob.post("/wallet/limits", what=choice, period="day", amount="1")
    assert theirs.status_code == 404 and "Room not found." in theirs.text
    await ada.post("/wallet/limits", what=choice, period="day", amount="1")
    assert "Room &lt;Plans&gt;" in (await ada.get("/wallet")).text


async def test_a_wrong_limit_is_explained_and_what_was_written_stays(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    wrong = await ada.post("/wallet/limits", what="model:demo", period="day", amount="lots")
    nothing = await ada.post("/wallet/limits", what="everything", period="day", amount="1")

    assert wrong.status_code == nothing.status_code == 422
    assert "Amount must be a plain decimal number." in wrong.text and 'value="lots"' in wrong.text
    assert '<option value="model:demo" selected>' in wrong.text
    assert "Limit must be for something in the list." in nothing.text
    assert installation.rows("SELECT FROM spend_limits") == []


async def test_an_operators_limit_is_shown_without_a_way_to_remove_it(installation: Installation, visit: Visit) -> None:
    person = await installation.person()
    owner = await installation.person(Role.OWNER, "owner@example.com")
    body = {"scope": "wallet", "period": "day", "amount": "7"}
    await installation.client.put(f"/api/v1/admin/users/{person.id}/limits", json=body, headers=owner.headers)
    ada = await visit(person)

    page = (await ada.get("/wallet")).text
    assert "Set by the operator" in page and "/wallet/limits/remove" not in page
    await ada.post("/wallet/limits/remove", what="wallet", period="day")
    assert "Set by the operator" in (await ada.get("/wallet")).text
