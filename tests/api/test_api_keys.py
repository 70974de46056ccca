"""API keys: made, shown, used and revoked over HTTP."""

from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import select, text

from pantheon.db.tables import api_keys
from pantheon.runtime import Runtime
from pantheon.users.create_api_key import MAX_KEYS
from pantheon.users.rights import Role, Scope
from tests.api.conftest import Browser, MakeUser, Person

PATH = "/api/v1/users/me/api-keys"


async def create(client: httpx2.AsyncClient, person: Person, **fields: object) -> httpx2.Response:
    body = {"name": "report", "scopes": ["wallet:read"], **fields}
    return await client.post(PATH, json=body, headers=person.headers)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_a_key_is_shown_once_and_stored_as_a_hash(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime
) -> None:
    ada = await make_user()
    answer = await create(client, ada, scopes=["usage:read", "wallet:read", "usage:read"], monthly_limit="12.50")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert key.startswith("pk_") and len(key) == 46 and key.startswith(made["key_start"])
    assert len(made["key_start"]) == 10
    assert made["scopes"] == ["usage:read", "wallet:read"]
    assert (made["name"], made["monthly_limit"], made["last_used_at"]) == ("report", "12.5", None)
    listed = await client.get(PATH, headers=ada.headers)
    assert listed.json() == {"api_keys": [made], "total": 1}
    assert key not in listed.text
    async with runtime.database.transaction() as tx:
        assert key not in str((await tx.execute(select(api_keys))).one())


async def test_a_key_is_its_user_with_its_scopes(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user()
    key = (await create(client, ada)).json()["key"]
    shown = (await client.get("/api/v1/auth/me", headers=bearer(key))).json()
    assert (shown["user_id"], shown["via"]) == (str(ada.user_id), "api_key")
    assert (shown["scopes"], shown["csrf_token"]) == (["wallet:read"], None)
    listed = (await client.get(PATH, headers=ada.headers)).json()["api_keys"]
    assert listed[0]["last_used_at"] is not None


async def test_a_revoked_key_is_nobody(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user()
    made = (await create(client, ada)).json()
    assert (await client.get("/api/v1/auth/me", headers=bearer(made["key"]))).status_code == 200
    assert (await client.delete(f"{PATH}/{made['id']}", headers=ada.headers)).status_code == 204
    assert (await client.get("/api/v1/auth/me", headers=bearer(made["key"]))).status_code == 401
    assert (await client.get(PATH, headers=ada.headers)).json() == {"api_keys": [], "total": 0}
    assert (await client.delete(f"{PATH}/{made['id']}", headers=ada.headers)).status_code == 404


async def test_nobody_sees_or_revokes_another_users_key(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada, mallory = await make_user(), await make_user(role=Role.OWNER)
    made = (await create(client, ada)).json()
    others = await client.delete(f"{PATH}/{made['id']}", headers=mallory.headers)
    missing = await client.delete(f"{PATH}/{uuid4()}", headers=mallory.headers)
    assert (others.status_code, others.content) == (missing.status_code, missing.content) == (404, missing.content)
    assert (await client.get(PATH, headers=mallory.headers)).json()["total"] == 0
    assert (await client.get("/api/v1/auth/me", headers=bearer(made["key"]))).status_code == 200


@pytest.mark.parametrize(("role", "status"), [(Role.USER, 403), (Role.ANALYST, 201), (Role.OWNER, 201)])
async def test_the_admin_scope_is_for_admins(
    client: httpx2.AsyncClient, make_user: MakeUser, role: Role, status: int
) -> None:
    answer = await create(client, await make_user(role=role), scopes=["admin"])
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["detail"] == "Admin access required."


async def test_a_key_cannot_manage_keys(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user(role=Role.OWNER)
    made = (await create(client, ada, scopes=[str(scope) for scope in Scope])).json()
    headers = bearer(made["key"])
    answers = [
        await client.post(PATH, json={"name": "child", "scopes": ["wallet:read"]}, headers=headers),
        await client.get(PATH, headers=headers),
        await client.delete(f"{PATH}/{made['id']}", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_keys_need_a_signed_in_user_and_from_a_page_its_token(
    client: httpx2.AsyncClient, make_user: MakeUser, browser: Browser
) -> None:
    body = {"name": "report", "scopes": ["wallet:read"]}
    assert (await client.post(PATH, json=body)).status_code == 401
    page = await browser(await make_user())
    assert (await page.post(PATH, json=body)).status_code == 201
    assert (await page.post(PATH, json=body, headers={"X-CSRF-Token": "wrong"})).status_code == 403
    assert (await page.delete(f"{PATH}/{uuid4()}", headers={"Origin": "https://evil.example.com"})).status_code == 403


IMPOSSIBLE: list[dict[str, object]] = [
    *({"scopes": scopes} for scopes in ([], ["wallet:write"], "wallet:read", [None], [["admin"]], ["admin\0"])),
    *({"name": name} for name in ("", "x" * 101, "a\0b", "a\nb", "\u202etxt", None, 7, True, ["x"])),
    *({"monthly_limit": limit} for limit in ("0", "-1", "1e3", "NaN", "1.0000000001", "", True, [], "9" * 18)),
    {"user_id": str(uuid4())},
]


async def test_what_no_key_can_be_is_refused(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user()
    for fields in IMPOSSIBLE:
        answer = await create(client, ada, **fields)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), fields
    assert (await client.get(PATH, headers=ada.headers)).json()["total"] == 0


async def test_numbers_in_a_body_are_read_exactly_or_refused(client: httpx2.AsyncClient, make_user: MakeUser) -> None:
    ada = await make_user()

    async def limited_to(literal: bytes) -> httpx2.Response:
        body = b'{"name":"x","scopes":["wallet:read"],"monthly_limit":%s}' % literal
        headers = {"Content-Type": "application/json", **ada.headers}
        return await client.post(PATH, content=body, headers=headers)

    assert (await limited_to(b"0.100000001")).json()["monthly_limit"] == "0.100000001"
    assert (await limited_to(b"1000000000")).json()["monthly_limit"] == "1000000000"
    for literal in (b"NaN", b"Infinity", b"1e400", b"1e2", b"-0.0", b"1000000000.1", b"9" * 5000):
        assert (await limited_to(literal)).status_code == 422, literal


async def test_keys_have_a_limit_and_pages(client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime) -> None:
    ada = await make_user()
    async with runtime.database.transaction() as tx:
        await tx.execute(
            text(
                "INSERT INTO api_keys (id, user_id, name, scopes, key_hash, key_start, created_at)"
                " SELECT gen_random_uuid(), :user, 'k', '{wallet:read}', uuid_send(gen_random_uuid()), 'pk_', now()"
                " FROM generate_series(2, :count)"
            ),
            {"user": ada.user_id, "count": MAX_KEYS},
        )
    assert (await create(client, ada, name="the last")).status_code == 201
    assert (await create(client, ada)).status_code == 409
    page = (await client.get(PATH, params={"limit": 2}, headers=ada.headers)).json()
    assert (page["total"], len(page["api_keys"])) == (MAX_KEYS, 2)
    assert (await client.get(PATH, params={"limit": 201}, headers=ada.headers)).status_code == 422
