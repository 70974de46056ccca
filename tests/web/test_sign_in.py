from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from pantheon.users.create_user import create_user
from pantheon.users.invite import invite
from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose
from pantheon.web.visitors import safe_next
from tests.installation import TEST, Installation
from tests.web.conftest import Visit

PASSWORD = "a long password"

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def make_account(installation: Installation, email: str = "ada@example.com") -> None:
    await create_user(installation.runtime.database, email=email, actor=TEST, password=PASSWORD)


async def sign_in(installation: Installation, **fields: str) -> httpx2.Response:
    data = {"email": "ada@example.com", "password": PASSWORD, **fields}
    return await installation.client.post("/sign-in", data=data, headers={"Origin": installation.url})


async def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back(installation: Installation) -> None:
    start = await installation.client.get("/")
    assert (start.status_code, start.headers["location"]) == (303, "/wallet")
    assert (await installation.client.get("/wallet")).headers["location"] == "/sign-in"
    wanted = await installation.client.get("/admin?search=ada")
    assert (wanted.status_code, wanted.headers["location"]) == (303, "/sign-in?next=/admin%3Fsearch%3Dada")


async def test_the_right_password_opens_a_session(installation: Installation) -> None:
    await make_account(installation)

    answer = await sign_in(installation, next="/account")

    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert (await installation.client.get("/account")).status_code == 200
    again = await installation.client.get("/sign-in?next=/account")
    assert (again.status_code, again.headers["location"]) == (303, "/account")


async def test_a_wrong_password_and_an_unknown_account_look_the_same(installation: Installation) -> None:
    await make_account(installation)

    wrong = await sign_in(installation, password="not the password")
    unknown = await sign_in(installation, email="bob@example.com")
    impossible = await sign_in(installation, email="no address")

    for answer in (wrong, unknown, impossible):
        assert answer.status_code == 401
        assert "E-mail or password is wrong." in answer.text
        assert "set-cookie" not in answer.headers
    assert wrong.text.replace("ada@", "bob@") == unknown.text


async def test_too_many_attempts_say_when_to_come_back(install: Install) -> None:
    async with install(rate_limit_sign_ins_per_hour=1) as installation:
        await make_account(installation)
        await sign_in(installation, password="not the password")

        answer = await sign_in(installation)

        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert "Too many attempts. Try again in" in answer.text


async def test_signing_in_from_another_site_is_refused(installation: Installation) -> None:
    await make_account(installation)
    data = {"email": "ada@example.com", "password": PASSWORD}
    for headers in ({"Origin": "https://evil.example"}, {}):
        answer = await installation.client.post("/sign-in", data=data, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/wallet@evil.example",
        "/wallet//evil.example",
        "/wallet\r\nSet-Cookie: x=1",
        "%2F%2Fevil.example",
        "/%2F/evil.example",
        "javascript:alert(1)",
        "/api/v1/health",
        "/sign-out",
        "",
    ],
)
async def test_signing_in_never_leads_to_another_site(installation: Installation, address: str) -> None:
    """T-213."""
    assert safe_next(address) == "/wallet"
    page = await installation.client.get("/sign-in", params={"next": address})
    assert 'name="next" value="/wallet"' in page.text


async def test_a_link_is_used_by_a_button_and_not_by_looking(installation: Installation) -> None:
    ada = await installation.person()
    token = await make_link(installation.runtime.database, Purpose.SIGN_IN, user_id=ada.id, actor=TEST)
    path, own = f"/sign-in/link/{token}", {"Origin": installation.url}

    for _ in range(2):
        assert "Continue" in (await installation.client.get(path)).text
    elsewhere = await installation.client.post(path, headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    answer = await installation.client.post(path, headers=own)

    assert (answer.status_code, answer.headers["location"]) == (303, "/wallet")
    assert (await installation.client.get("/wallet")).status_code == 200
    for used in (await installation.client.get(path), await installation.client.post(path, headers=own)):
        assert used.status_code == 410
        assert "Your operator can make a new one for you." in used.text


async def test_signing_out_ends_the_session(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())

    answer = await ada.post("/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await ada.get("/wallet")).status_code == 303
    assert installation.rows("SELECT FROM sessions WHERE user_id = %s", ada.person.id) != []  # the bearer token's


async def test_a_reset_link_sets_a_new_password(installation: Installation) -> None:
    ada = await installation.person()
    token = await make_link(installation.runtime.database, Purpose.PASSWORD_RESET, user_id=ada.id, actor=TEST)
    path, own = f"/password-reset/{token}", {"Origin": installation.url}

    assert (await installation.client.get(path)).status_code == 200
    short = await installation.client.post(path, data={"password": "short"}, headers=own)
    assert short.status_code == 422
    assert "Password must have 10 to 1000 characters." in short.text
    answer = await installation.client.post(path, data={"password": PASSWORD}, headers=own)

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?done=password")
    assert "Your new password is set." in (await installation.client.get(answer.headers["location"])).text
    assert (await sign_in(installation)).status_code == 303
    assert (await installation.client.get(path)).status_code == 410


async def test_registration_is_closed_unless_it_is_opened(installation: Installation) -> None:
    answer = await installation.client.get("/sign-up")
    assert answer.status_code == 403
    assert "Registration is closed here." in answer.text
    assert "/sign-up" not in (await installation.client.get("/sign-in")).text


async def test_anybody_signs_up_where_registration_is_open(install: Install) -> None:
    async with install(registration="open") as installation:
        assert "/sign-up" in (await installation.client.get("/sign-in")).text
        data, own = {"email": "ada@example.com", "password": PASSWORD}, {"Origin": installation.url}
        answer = await installation.client.post("/sign-up", data=data, headers=own)
        assert (answer.status_code, answer.headers["location"]) == (303, "/wallet")

        taken = await installation.client.post("/sign-up", data=data, headers=own)
        assert taken.status_code == 409
        assert "An account with this e-mail exists already." in taken.text


async def test_an_invitation_makes_an_account_for_its_address(install: Install) -> None:
    async with install(registration="invite") as installation:
        assert (await installation.client.get("/sign-up")).status_code == 403
        token = await invite(installation.runtime.database, email="ada@example.com", actor=TEST)
        path, own = f"/sign-up/{token}", {"Origin": installation.url}
        assert 'value="ada@example.com"' in (await installation.client.get(path)).text

        data = {"email": "ada@example.com", "password": PASSWORD}
        answer = await installation.client.post(path, data=data, headers=own)

        assert (answer.status_code, answer.headers["location"]) == (303, "/wallet")
        assert (await installation.client.get(path)).status_code == 410
