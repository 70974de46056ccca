from pantheon.users.rights import Role
from tests.installation import Installation
from tests.web.conftest import Visit


async def test_only_admins_see_admin_pages(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    for path in ("/admin", f"/admin/users/{ada.person.id}"):
        answer = await ada.get(path)
        assert answer.status_code == 403
        assert "Admin access required." in answer.text
        assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/admin"' not in (await ada.get("/wallet")).text


async def test_an_analyst_looks_and_cannot_give(installation: Installation, visit: Visit) -> None:
    ada = await installation.person()
    analyst = await visit(await installation.person(Role.ANALYST, "analyst@example.com"))

    page = await analyst.get(f"/admin/users/{ada.id}")
    answer = await analyst.post(f"/admin/users/{ada.id}/grant", form_id="a", amount="100", note="Thank you")

    assert page.status_code == 200
    assert "Only an owner can give credits." in page.text and "<form method" not in page.text.split("</header>")[1]
    assert answer.status_code == 403
    assert await installation.balance(ada) == "0"


async def test_users_are_found_by_a_part_of_their_address_or_their_id(installation: Installation, visit: Visit) -> None:
    ada = await installation.person()
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))

    everybody = (await owner.get("/admin")).text
    assert "2 users" in everybody and "ada@example.com" in everybody
    for search in ("ADA@", str(ada.id)):
        found = (await owner.get("/admin", params={"search": search})).text
        assert "1 user<" in found.replace("\n", "") and f"/admin/users/{ada.id}" in found
    assert "Nobody found." in (await owner.get("/admin", params={"search": "%"})).text
    for hostile in ("\x00", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "a" * 5000):
        assert (await owner.get("/admin", params={"search": hostile})).status_code == 200


async def test_an_owner_gives_credits_once_for_each_form(installation: Installation, visit: Visit) -> None:
    ada = await installation.person()
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    path = f"/admin/users/{ada.id}"
    form = (await owner.get(path)).text.split('name="form_id" value="')[1].split('"')[0]
    fields = {"form_id": form, "amount": "100.5", "note": "Thank you", "category": "promotional", "expires_on": ""}

    first = await owner.post(f"{path}/grant", **fields)
    second = await owner.post(f"{path}/grant", **fields)
    other = await owner.post(f"{path}/grant", **{**fields, "amount": "200"})

    assert first.status_code == 200
    assert "100.50 credits were given. The balance is now 100.50 credits." in first.text
    assert f'value="{form}"' not in first.text
    assert "100.50 credits were given already; this form was sent twice and counts once." in second.text
    assert other.status_code == 422
    assert "This form was sent before with other figures." in other.text
    assert await installation.balance(ada) == "100.5"
    (audited,) = installation.rows("SELECT actor FROM audit_log WHERE action = 'grant.posted'")
    assert audited["actor"] == owner.person.id


async def test_a_grant_may_end_with_a_day(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))

    answer = await owner.post(
        f"/admin/users/{ada.person.id}/grant",
        {"HX-Request": "true"},
        form_id="a1",
        amount="5",
        note="For the weekend",
        category="paid",
        expires_on="2099-12-31",
    )

    assert answer.status_code == 200
    assert answer.text.lstrip().startswith('<div id="admin-wallet">')
    (grant,) = installation.rows("SELECT category, expires_at FROM grants")
    assert grant["category"] == "paid"
    assert grant["expires_at"].isoformat() == "2100-01-01T00:00:00+00:00"
    assert "5.00 credits expire" in (await ada.get("/wallet")).text


async def test_a_wrong_grant_is_explained_and_keeps_what_was_written(installation: Installation, visit: Visit) -> None:
    ada = await installation.person()
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    good = {"form_id": "a1", "amount": "5", "note": "Thank you", "expires_on": ""}
    for wrong, words in (
        ({"amount": "0"}, "Amount must be greater than 0 and at most 10000."),
        ({"amount": "10000.01"}, "Amount must be greater than 0 and at most 10000."),
        ({"amount": "1e3"}, "Amount must be a plain decimal number."),
        ({"note": " "}, "Note must say why the credits are given."),
        ({"note": "a" * 257}, "Note must have at most 256 characters."),
        ({"note": "a\x00b"}, "Note must not contain control or invisible characters."),
        ({"expires_on": "tomorrow"}, "Expires on must be a date."),
        ({"expires_on": "2020-01-01"}, "Expires at must be in the future"),
        ({"expires_on": "9999-12-31"}, "Expires on must be a date."),
    ):
        answer = await owner.post(f"/admin/users/{ada.id}/grant", **{**good, **wrong})
        assert answer.status_code == 422, wrong
        assert words in answer.text
        assert 'name="form_id" value="a1"' in answer.text
    assert (await owner.post(f"/admin/users/{ada.id}/grant", **{**good, "form_id": "<b>"})).status_code == 422
    assert await installation.balance(ada) == "0"


async def test_somebody_who_does_not_exist_is_not_found(installation: Installation, visit: Visit) -> None:
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    nobody = "01a20000-0000-7000-8000-000000000000"
    assert (await owner.get(f"/admin/users/{nobody}")).status_code == 404
    assert (await owner.post(f"/admin/users/{nobody}/grant", form_id="a", amount="1", note="x")).status_code == 404
    assert (await owner.get("/admin/users/1")).status_code == 404
