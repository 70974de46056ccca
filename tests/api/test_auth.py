"""Signing up, in and out, and passwords, over HTTP."""

import asyncio
import itertools
import json
import re
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import func, select, text

from pantheon.db.tables import sessions, users, wallets
from pantheon.runtime import Runtime
from pantheon.users.create_api_key import create_api_key
from pantheon.users.disable_user import disable_user
from pantheon.users.invite import invite
from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose
from pantheon.users.rights import Scope
from tests.api.conftest import TEST_ACTOR, Browser, MakeUser

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple battery horse"
COOKIE = "pantheon_session"


async def sign_in(client: httpx2.AsyncClient, email: str, password: str = PASSWORD, **more: object) -> httpx2.Response:
    return await client.post("/api/v1/auth/sign-in", json={"email": email, "password": password, **more})


async def me(client: httpx2.AsyncClient, token: str | None = None) -> httpx2.Response:
    return await client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"} if token else {})


async def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada = await make_user(password=PASSWORD)
    answer = await sign_in(client, " Ada@Example.com ".replace("Ada", "USER1"))
    assert answer.status_code == 200
    assert set(answer.json()) == {"user_id", "expires_at", "csrf_token"}
    assert answer.headers["cache-control"] == "no-store"
    name_and_value, *flags = answer.headers["set-cookie"].split("; ")
    assert re.fullmatch(COOKIE + "=ps_[A-Za-z0-9_-]{43}", name_and_value)
    assert {flag.split("=")[0].lower() for flag in flags} == {"expires", "httponly", "path", "samesite"}
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(flags)

    shown = (await me(client)).json()
    assert shown == {
        "user_id": str(ada.user_id),
        "email": ada.email,
        "role": "user",
        "via": "session",
        "scopes": None,
        "csrf_token": answer.json()["csrf_token"],
    }


@pytest.mark.parametrize("overrides", [{"public_url": "https://pantheon.example.com"}])
async def test_behind_https_the_cookie_is_bound_to_the_host(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user(password=PASSWORD)
    cookie = (await sign_in(client, ada.email)).headers["set-cookie"]
    assert cookie.startswith("__Host-pantheon_session=ps_")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada, bob, disabled = await make_user(password=PASSWORD), await make_user(), await make_user(password=PASSWORD)
    await disable_user(runtime.database, user_id=disabled.user_id, actor=TEST_ACTOR)
    answers = [
        await sign_in(client, ada.email, "not the password"),
        await sign_in(client, "nobody@example.com", PASSWORD),
        await sign_in(client, bob.email, PASSWORD),
        await sign_in(client, disabled.email, PASSWORD),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    different = ("x-request-id", "date")
    headers = [sorted(item for item in answer.headers.items() if item[0] not in different) for answer in answers]
    assert all(item == headers[0] for item in headers)
    assert not any("set-cookie" in answer.headers for answer in answers)


async def test_a_session_from_before_the_sign_in_is_not_taken_over(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada, mallory = await make_user(password=PASSWORD), await make_user()
    planted = mallory.headers["Authorization"].removeprefix("Bearer ")
    client.cookies.set(COOKIE, planted)
    answer = await sign_in(client, ada.email)
    own = answer.cookies[COOKIE]
    assert own != planted
    client.cookies.clear()
    assert (await me(client, own)).json()["user_id"] == str(ada.user_id)
    assert (await me(client, planted)).json()["user_id"] == str(mallory.user_id)


async def test_a_token_that_nobody_issued_never_becomes_a_session(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada = await make_user(password=PASSWORD)
    invented = "ps_" + "A" * 43
    client.cookies.set(COOKIE, invented)
    assert (await sign_in(client, ada.email)).cookies[COOKIE] != invented
    client.cookies.clear()
    assert (await me(client, invented)).status_code == 401


async def test_a_program_signs_in_for_a_bearer_token_and_gets_no_cookie(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada = await make_user(password=PASSWORD)
    answer = await sign_in(client, ada.email, use="token")
    assert set(answer.json()) == {"user_id", "expires_at", "token"}
    assert "set-cookie" not in answer.headers
    token = answer.json()["token"]
    shown = (await me(client, token)).json()
    assert (shown["user_id"], shown["via"], shown["csrf_token"]) == (str(ada.user_id), "session", None)
    signed_out = await client.post("/api/v1/auth/sign-out", headers={"Authorization": f"Bearer {token}"})
    assert signed_out.status_code == 204
    assert (await me(client, token)).status_code == 401


async def test_signing_out_ends_the_session_and_not_only_the_cookie(
    make_user: MakeUser, browser: Browser, client: httpx2.AsyncClient
) -> None:
    page = await browser(await make_user())
    token = page.cookies[COOKIE]
    answer = await page.post("/api/v1/auth/sign-out")
    assert answer.status_code == 204
    assert 'pantheon_session=""' in answer.headers["set-cookie"]
    assert COOKIE not in page.cookies
    assert (await me(client, token)).status_code == 401


async def test_an_expired_session_is_nobody(client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime) -> None:
    ada = await make_user()
    async with runtime.database.transaction() as tx:
        await tx.execute(text("UPDATE sessions SET expires_at = now() - interval '1 second'"))
    assert (await client.get("/api/v1/auth/me", headers=ada.headers)).status_code == 401


async def test_tokens_are_stored_as_hashes_only(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user(password=PASSWORD)
    token = (await sign_in(client, ada.email, use="token")).json()["token"]
    async with runtime.database.transaction() as tx:
        stored = [str(row) for table in (users, sessions) for row in await tx.execute(select(table))]
    assert not any(token in row or PASSWORD in row for row in stored)


# -- how often


@pytest.mark.parametrize("overrides", [{"rate_limit_sign_ins_per_hour": 3}])
async def test_failed_sign_ins_are_limited_for_the_account_even_when_they_come_at_once(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada = await make_user(password=PASSWORD)
    answers = await asyncio.gather(*(sign_in(client, ada.email, f"guess number {n}") for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 5
    refused = await sign_in(client, ada.email, PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 3600


@pytest.mark.parametrize("overrides", [{"rate_limit_sign_ins_per_hour": 2}])
async def test_failed_sign_ins_are_limited_for_the_address_whoever_is_tried(client: httpx2.AsyncClient) -> None:
    codes = [(await sign_in(client, f"nobody{n}@example.com", PASSWORD)).status_code for n in range(3)]
    assert codes == [401, 401, 429]


@pytest.mark.parametrize("overrides", [{"rate_limit_sign_ins_per_hour": 1}])
async def test_sign_ins_that_succeed_are_not_limited(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user(password=PASSWORD)
    assert [(await sign_in(client, ada.email)).status_code for _ in range(3)] == [200, 200, 200]


# -- cross-site requests


async def test_a_page_of_ours_may_change_things_with_its_cookie(make_user: MakeUser, browser: Browser) -> None:
    page = await browser(await make_user())
    assert (await page.post("/api/v1/auth/sign-out")).status_code == 204


@pytest.mark.parametrize("overrides", [{"public_url": "https://pantheon.example.com"}])
async def test_the_public_address_is_an_origin_of_ours(make_user: MakeUser, browser: Browser) -> None:
    page = await browser(await make_user())
    answer = await page.post("/api/v1/auth/sign-out", headers={"Origin": "https://pantheon.example.com"})
    assert answer.status_code == 204


FOREIGN: list[dict[str, str]] = [
    {},
    *(
        {"Origin": origin}
        for origin in ("https://evil.example.com", "null", "http://127.0.0.1", "https://127.0.0.1:99999")
    ),
    {"Origin": ""},
    {"Referer": "https://evil.example.com/http://127.0.0.1/"},
]


async def test_the_cookie_is_not_enough_from_another_site_or_from_nowhere(
    make_user: MakeUser, browser: Browser
) -> None:
    page = await browser(await make_user())
    del page.headers["Origin"]
    for headers in FOREIGN:
        answer = await page.post("/api/v1/auth/sign-out", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), headers
    assert (await page.get("/api/v1/auth/me")).status_code == 200


async def test_a_referer_stands_in_for_a_missing_origin(make_user: MakeUser, browser: Browser, base_url: str) -> None:
    page = await browser(await make_user())
    del page.headers["Origin"]
    answer = await page.post("/api/v1/auth/sign-out", headers={"Referer": f"{base_url}/wallet?page=2"})
    assert answer.status_code == 204


async def test_the_cookie_is_not_enough_without_the_sessions_own_token(make_user: MakeUser, browser: Browser) -> None:
    ada = await make_user()
    page, other = await browser(ada), await browser(ada)
    del page.headers["X-CSRF-Token"]
    assert (await page.post("/api/v1/auth/sign-out")).status_code == 403
    for token in ("", "0" * 64, "é", other.headers["X-CSRF-Token"]):
        answer = await page.post("/api/v1/auth/sign-out", headers={"X-CSRF-Token": token.encode()})
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), token


async def test_the_token_may_be_a_field_of_a_form_but_a_form_is_no_json(make_user: MakeUser, browser: Browser) -> None:
    page = await browser(await make_user())
    token = page.headers.pop("X-CSRF-Token")
    assert (await page.post("/api/v1/auth/sign-out", data={"name": "x"})).status_code == 403
    assert (await page.post("/api/v1/auth/password", data={"new_password": OTHER_PASSWORD})).status_code == 403
    as_form = await page.post("/api/v1/auth/password", data={"new_password": OTHER_PASSWORD, "csrf_token": token})
    assert as_form.status_code == 422
    assert (await page.post("/api/v1/auth/sign-out", data={"csrf_token": token})).status_code == 204


async def test_json_sent_as_text_is_refused(make_user: MakeUser, browser: Browser) -> None:
    page = await browser(await make_user())
    body = json.dumps({"name": "x", "scopes": ["wallet:read"]})
    answer = await page.post("/api/v1/users/me/api-keys", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


async def test_another_site_cannot_sign_anybody_in(client: httpx2.AsyncClient) -> None:
    for path, body in (
        ("sign-in", {"email": "a@b.c", "password": PASSWORD}),
        ("sign-up", {"email": "a@b.c", "password": PASSWORD}),
        ("password-reset", {"token": "x", "password": PASSWORD}),
    ):
        headers = {"Origin": "https://evil.example.com"}
        answer = await client.post(f"/api/v1/auth/{path}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), path


@pytest.mark.parametrize(
    "overrides", [{"app_env": "staging", "secret_keys": "k" * 32, "public_url": "https://p.example"}]
)
async def test_outside_of_local_the_hosts_own_name_is_not_believed(
    make_user: MakeUser, browser: Browser, base_url: str
) -> None:
    page = await browser(await make_user())
    assert (await page.post("/api/v1/auth/sign-out", headers={"Origin": base_url})).status_code == 403
    assert (await page.post("/api/v1/auth/sign-out", headers={"Origin": "https://p.example"})).status_code == 204


# -- signing up


async def test_nobody_signs_up_while_registration_is_closed(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/auth/sign-up", json={"email": "eve@example.com", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")


@pytest.mark.parametrize("overrides", [{"registration": "open"}])
async def test_open_registration_makes_a_user_with_a_wallet_and_signs_in(
    client: httpx2.AsyncClient, runtime: Runtime
) -> None:
    answer = await client.post("/api/v1/auth/sign-up", json={"email": "Eve@Example.com", "password": PASSWORD})
    assert answer.status_code == 201
    shown = (await me(client)).json()
    assert (shown["email"], shown["role"]) == ("eve@example.com", "user")
    async with runtime.database.transaction() as tx:
        owner = await tx.scalar(select(wallets.c.user_id))
    assert owner == UUID(answer.json()["user_id"])
    assert (await sign_in(client, "eve@example.com")).status_code == 200


@pytest.mark.parametrize("overrides", [{"registration": "open"}])
async def test_an_email_is_taken_once_however_it_is_written(client: httpx2.AsyncClient, runtime: Runtime) -> None:
    bodies = [
        {"email": email, "password": PASSWORD} for email in ("eve@example.com", "EVE@example.com ", "Eve@EXAMPLE.COM")
    ]
    answers = await asyncio.gather(*(client.post("/api/v1/auth/sign-up", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    async with runtime.database.transaction() as tx:
        counts = [await tx.scalar(select(func.count()).select_from(table)) for table in (users, wallets)]
    assert counts == [1, 1]


@pytest.mark.parametrize("overrides", [{"registration": "open", "rate_limit_sign_ins_per_hour": 1}])
async def test_one_address_cannot_fill_the_installation_with_accounts(client: httpx2.AsyncClient) -> None:
    bodies = [{"email": f"eve{n}@example.com", "password": PASSWORD} for n in range(2)]
    codes = [(await client.post("/api/v1/auth/sign-up", json=body)).status_code for body in bodies]
    assert codes == [201, 429]


@pytest.mark.parametrize("overrides", [{"registration": "invite"}])
async def test_an_invitation_lets_one_person_in_once(client: httpx2.AsyncClient, runtime: Runtime) -> None:
    async def sign_up(email: str, **more: str) -> httpx2.Response:
        return await client.post("/api/v1/auth/sign-up", json={"email": email, "password": PASSWORD, **more})

    token = await invite(runtime.database, email=None, actor=TEST_ACTOR)
    assert (await sign_up("eve@example.com")).json()["code"] == "registration_closed"
    assert (await sign_up("eve@example.com", invitation="made up")).status_code == 410
    answers = await asyncio.gather(*(sign_up(f"eve{n}@example.com", invitation=token) for n in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 410, 410]
    async with runtime.database.transaction() as tx:
        assert await tx.scalar(select(func.count()).select_from(users)) == 1


@pytest.mark.parametrize("overrides", [{"registration": "invite"}])
async def test_an_invitation_for_one_address_is_not_for_another(client: httpx2.AsyncClient, runtime: Runtime) -> None:
    token = await invite(runtime.database, email="Eve@example.com", actor=TEST_ACTOR)
    body = {"email": "mallory@example.com", "password": PASSWORD, "invitation": token}
    assert (await client.post("/api/v1/auth/sign-up", json=body)).status_code == 410
    body["email"] = "eve@example.com"
    assert (await client.post("/api/v1/auth/sign-up", json=body)).status_code == 201


@pytest.mark.parametrize("overrides", [{"registration": "invite"}])
async def test_an_invitation_survives_an_attempt_with_a_taken_email(
    client: httpx2.AsyncClient, runtime: Runtime, make_user: MakeUser
) -> None:
    ada = await make_user()
    token = await invite(runtime.database, email=None, actor=TEST_ACTOR)
    body = {"email": ada.email, "password": PASSWORD, "invitation": token}
    assert (await client.post("/api/v1/auth/sign-up", json=body)).json()["code"] == "email_taken"
    body["email"] = "eve@example.com"
    assert (await client.post("/api/v1/auth/sign-up", json=body)).status_code == 201


# -- passwords


async def test_a_new_password_ends_the_other_sessions_and_links(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user(password=PASSWORD)
    own = (await sign_in(client, ada.email, use="token")).json()["token"]
    link = await make_link(runtime.database, Purpose.PASSWORD_RESET, user_id=ada.user_id, actor=TEST_ACTOR)
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    answer = await client.post("/api/v1/auth/password", json=body, headers={"Authorization": f"Bearer {own}"})
    assert answer.status_code == 204
    assert (await me(client, own)).status_code == 200
    assert (await client.get("/api/v1/auth/me", headers=ada.headers)).status_code == 401
    reset = await client.post("/api/v1/auth/password-reset", json={"token": link, "password": PASSWORD})
    assert reset.status_code == 410
    assert (await sign_in(client, ada.email, PASSWORD)).status_code == 401
    assert (await sign_in(client, ada.email, OTHER_PASSWORD)).status_code == 200


@pytest.mark.parametrize("overrides", [{"rate_limit_sign_ins_per_hour": 2}])
async def test_a_stolen_session_cannot_guess_the_password(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user(password=PASSWORD)
    codes = []
    for current in ("wrong wrong wrong", None, PASSWORD):
        body = {"current_password": current, "new_password": OTHER_PASSWORD}
        codes.append((await client.post("/api/v1/auth/password", json=body, headers=ada.headers)).status_code)
    assert codes == [422, 422, 429]


async def test_a_user_without_a_password_chooses_the_first_one(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user()
    body = {"new_password": OTHER_PASSWORD}
    assert (await client.post("/api/v1/auth/password", json=body, headers=ada.headers)).status_code == 204
    assert (await sign_in(client, ada.email, OTHER_PASSWORD)).status_code == 200


async def test_an_api_key_cannot_change_the_password(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user()
    _, key = await create_api_key(
        runtime.database, runtime.settings, user_id=ada.user_id, name="all", scopes=list(Scope)[:5], actor=TEST_ACTOR
    )
    body = {"new_password": OTHER_PASSWORD}
    answer = await client.post("/api/v1/auth/password", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403


async def test_a_password_has_10_to_1000_characters(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    for length, status in ((9, 422), (10, 204), (1000, 204), (1001, 422)):
        ada = await make_user()
        answer = await client.post("/api/v1/auth/password", json={"new_password": "ü" * length}, headers=ada.headers)
        assert answer.status_code == status, length


async def test_a_reset_link_sets_the_password_once_and_ends_all_sessions(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user(password=PASSWORD)
    token = await make_link(runtime.database, Purpose.PASSWORD_RESET, user_id=ada.user_id, actor=TEST_ACTOR)
    body = {"token": token, "password": OTHER_PASSWORD}
    answers = await asyncio.gather(*(client.post("/api/v1/auth/password-reset", json=body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [204, 410, 410]
    assert (await client.get("/api/v1/auth/me", headers=ada.headers)).status_code == 401
    assert (await sign_in(client, ada.email, OTHER_PASSWORD)).status_code == 200


async def test_a_link_of_another_purpose_or_past_its_time_resets_nothing(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user()
    sign_in_link = await make_link(runtime.database, Purpose.SIGN_IN, user_id=ada.user_id, actor=TEST_ACTOR)
    expired = await make_link(runtime.database, Purpose.PASSWORD_RESET, user_id=ada.user_id, actor=TEST_ACTOR)
    async with runtime.database.transaction() as tx:
        await tx.execute(
            text("UPDATE one_time_links SET expires_at = now() - interval '1 second' WHERE purpose = 'password_reset'")
        )
    for token in (sign_in_link, expired):
        answer = await client.post("/api/v1/auth/password-reset", json={"token": token, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (410, "link_invalid")
    assert (await sign_in(client, ada.email)).status_code == 401


# -- hostile input

HOSTILE_VALUES = [
    *(
        b'"a\\u0000@example.com"',
        b'"\\ud800\\ud800\\ud800@\\udfff\\ud800\\ud800"',
        b'"\\u202eevil@example.com"',
        b'"\xff"',
    ),
    *(b"NaN", b"1e400", b"-Infinity", b"12345678901", b"1" * 5000, b"1.50", b"true", b"null"),
    *(b"[]", b"{}", b'""', b'"' + b"x" * 2000 + b'"', b"[" * 100_000),
]


HOSTILE_FIELDS = {
    "sign-in": ("email", "password", "use"),
    "sign-up": ("email", "password", "invitation", "use"),
    "password-reset": ("token", "password"),
    "password": ("current_password", "new_password"),
}


@pytest.mark.parametrize("overrides", [{"registration": "invite", "rate_limit_sign_ins_per_hour": 1000}])
async def test_hostile_bodies_are_refused_and_never_break_anything(
    client: httpx2.AsyncClient, make_user: MakeUser
) -> None:
    ada = await make_user()
    for path, fields in HOSTILE_FIELDS.items():
        good = dict.fromkeys(fields, b'"eve@example.com"') | {"use": b'"token"'}
        for field, value in itertools.product(fields, HOSTILE_VALUES):
            parts = {name: good[name] for name in fields} | {field: value}
            body = b"{" + b",".join(b'"%s":%s' % (name.encode(), part) for name, part in parts.items()) + b"}"
            headers = {"Content-Type": "application/json", **(ada.headers if path == "password" else {})}
            answer = await client.post(f"/api/v1/auth/{path}", content=body, headers=headers)
            assert 200 <= answer.status_code < 500, (path, field, value[:40], answer.text)
            if field == "email":
                assert answer.status_code == 422, (path, value[:40], answer.text)


async def test_a_body_that_is_not_what_is_asked_for_is_refused(client: httpx2.AsyncClient) -> None:
    for body in (
        *(b"", b"null", b"[]", b'"x"', b"{", b"\xff"),
        b'{"email":"a@b.c","email":"d@e.f","password":"xxxxxxxxxx"}',
        b'{"email":"a@b.c","password":"xxxxxxxxxx","role":"owner"}',
    ):
        headers = {"Content-Type": "application/json"}
        answer = await client.post("/api/v1/auth/sign-in", content=body, headers=headers)
        assert answer.status_code == 422, body


async def test_ten_megabytes_are_too_much(client: httpx2.AsyncClient) -> None:
    body = {"email": "a@b.c", "password": "x" * 10_000_000}
    assert (await client.post("/api/v1/auth/sign-in", json=body)).status_code == 413


async def test_nothing_secret_is_repeated_in_an_answer_or_a_log(
    client: httpx2.AsyncClient, make_user: MakeUser, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ada = await make_user(password=PASSWORD)
    signed_in = await sign_in(client, ada.email, use="token")
    token = signed_in.json()["token"]
    answers = [
        await sign_in(client, ada.email, "my secret guess"),
        await sign_in(client, ada.email, "my secret guess", more=1),
        await client.post("/api/v1/auth/sign-in", json={"email": ada.email, "password": ["my secret guess"]}),
        await client.post("/api/v1/auth/password", json={"new_password": "my secre"}, headers=ada.headers),
        await client.post(
            "/api/v1/auth/password-reset", json={"token": "my secret guess", "password": "my secret guess"}
        ),
        await me(client, token + "x"),
    ]
    assert all(answer.status_code in (401, 410, 422) for answer in answers)
    assert not any("my secre" in answer.text or token in answer.text for answer in answers)
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "request" in logged
    assert not any(secret in logged for secret in ("my secre", token, PASSWORD))
