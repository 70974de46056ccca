import re

from pantheon.users.create_user import create_user
from pantheon.users.rights import Role
from tests.installation import TEST, Installation, Person
from tests.web.conftest import Visit


async def test_the_account_shows_who_one_is(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    page = (await ada.get("/account")).text
    assert "ada@example.com" in page and str(ada.person.id) in page and "You have no API keys." in page


async def test_a_password_is_changed_with_the_present_one(installation: Installation, visit: Visit) -> None:
    user = await create_user(
        installation.runtime.database, email="ada@example.com", actor=TEST, password="a long password"
    )
    person = Person(user.id, "ada@example.com", {})
    ada, elsewhere = await visit(person), await visit(person)

    wrong = await ada.post("/account/password", current_password="wrong", new_password="another long one")
    short = await ada.post("/account/password", current_password="a long password", new_password="short")
    assert (wrong.status_code, short.status_code) == (422, 422)
    assert "Current password is wrong." in wrong.text
    assert "Password must have 10 to 1000 characters." in short.text
    done = await ada.post("/account/password", current_password="a long password", new_password="another long one")

    assert (done.status_code, done.headers["location"]) == (303, "/account?done=password")
    assert "Your password was changed." in (await ada.get("/account?done=password")).text
    assert (await elsewhere.get("/account")).status_code == 303


async def test_a_new_key_is_shown_once_works_and_can_be_revoked(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    made = await ada.post("/account/api-keys", name="Reports", scopes="wallet:read", monthly_limit="50")

    assert made.status_code == 201
    found = re.search(r'readonly value="(pk_[^"]+)"', made.text)
    assert found is not None
    headers = {"Authorization": f"Bearer {found[1]}"}
    assert (await installation.client.get("/api/v1/users/me/wallet", headers=headers)).status_code == 200
    page = (await ada.get("/account")).text
    assert found[1] not in page
    assert "Reports" in page and "at most 50.00 credits a month" in page

    key_id = page.split("/account/api-keys/")[1].split("/revoke")[0]
    revoked = await ada.post(f"/account/api-keys/{key_id}/revoke")
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/account?done=key#api-keys")
    assert (await installation.client.get("/api/v1/users/me/wallet", headers=headers)).status_code == 401
    assert (await ada.post(f"/account/api-keys/{key_id}/revoke")).status_code == 404


async def test_a_wrong_key_is_explained(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    nothing = await ada.post("/account/api-keys", name="Reports")
    limit = await ada.post("/account/api-keys", name="Reports", scopes="wallet:read", monthly_limit="lots")
    admin = await ada.post("/account/api-keys", name="Reports", scopes="admin")
    assert (nothing.status_code, limit.status_code, admin.status_code) == (422, 422, 403)
    assert "Scopes must name at least one scope." in nothing.text
    assert "Monthly limit must be a plain decimal number." in limit.text
    assert 'value="wallet:read" checked' in limit.text
    assert installation.rows("SELECT FROM api_keys") == []


async def test_only_admins_are_offered_the_admin_scope(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    assert 'value="admin"' not in (await ada.get("/account")).text
    assert 'value="admin"' in (await owner.get("/account")).text
