"""S12, S13: nobody reaches what is another's, on any route with an id, and no other site uses anybody's cookie."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

from pantheon.money.rate_card import Usage
from pantheon.users.rights import Role
from tests.installation import Installation, Person
from tests.turns.used import use

Install = Callable[..., AbstractAsyncContextManager[Installation]]

METHODS = ("get", "post", "put", "patch", "delete")
NOBODYS = ("/v1/models/{model_alias}",)
"""Routes whose ids are of things that everybody may see."""


async def _things_of(installation: Installation, person: Person) -> dict[str, str]:
    """What a person has, by the name that routes give its id. A new name in a route has to be added here."""
    key = await installation.client.post(
        "/api/v1/users/me/api-keys", json={"name": "k", "scopes": ["wallet:read"]}, headers=person.headers
    )
    workspace = await _workspace_of(installation, person)
    return {
        **workspace,
        "user_id": str(person.id),
        "top_up_id": (await installation.top_up(person)).json()["top_up_id"],
        "api_key_id": key.json()["id"],
        "id": str(person.id),
        "inbox_event_id": str(uuid4()),
        "model_alias": "demo",
        "version": "1",
        "receipt_id": str(await use(installation, person, Usage(input=1), mode="off")),
        # Everybody has statements of their own, and of the same months: but not of one before they came.
        "month": "1999-01",
    }


TURN = """
    INSERT INTO turns (id, session_id, turn_index, mode, roster, user_input, status, created_at, ended_at)
    VALUES (gen_random_uuid(), %s, 0, 'manual', '[]', 'Really?', 'completed', now(), now()) RETURNING id
"""


async def _workspace_of(installation: Installation, person: Person) -> dict[str, str]:
    async def made(path: str, body: dict[str, str]) -> str:
        answer = await installation.client.post(f"/api/v1{path}", json=body, headers=person.headers)
        return str(answer.json()["id"])

    agent_id = await made("/agents", {"agent_key": "a", "name": "A", "model_alias": "demo"})
    room_id = await made("/rooms", {"name": "R"})
    await made(f"/rooms/{room_id}/agents", {"agent_id": agent_id})
    session_id = await made(f"/rooms/{room_id}/sessions", {})
    file = {"files": {"file": ("a.txt", b"A.")}}
    sent = await installation.client.post(f"/api/v1/rooms/{room_id}/files", headers=person.headers, **file)
    file_id = str(sent.json()["id"])
    [turn] = installation.rows(TURN, session_id)
    return {
        "agent_id": agent_id,
        "room_id": room_id,
        "session_id": session_id,
        "file_id": file_id,
        "turn_id": str(turn["id"]),
    }


def _everything(installation: Installation) -> list[list[dict[str, Any]]]:
    tables = ("top_ups", "api_keys", "agents", "rooms", "room_agents", "chat_sessions", "turns")
    # The worker reads the text out of files meanwhile.
    files = installation.rows("SELECT id, room_id, filename, deleted_at FROM files ORDER BY id")
    return [files, *(installation.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables)]


async def _routes_with_ids(installation: Installation) -> list[tuple[str, str]]:
    document = (await installation.client.get("/api/v1/openapi.json")).json()
    return [(m, path) for path, item in document["paths"].items() if "{" in path for m in item if m in METHODS]


BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("post", r".*/(grant|adjust)", {"json": {"amount": "1", "note": "x"}}),
    ("patch", r".*/v1/agents/{agent_id}", {"json": {"name": "x"}}),
    ("patch", r".*/v1/rooms/{room_id}", {"json": {"name": "x"}}),
    ("post", r".*/turns(/stream)?", {"json": {"message": "x"}}),
    ("post", r".*/stop", {"json": {}}),
    ("patch", r".*/mode", {"json": {"mode": "manual"}}),
    ("post", r".*/rooms/{room_id}/agents", {"json": {"agent_id": str(uuid4())}}),
    ("patch", r".*/rooms/{room_id}/agents/{agent_id}", {"json": {"position": 0}}),
]
"""What a route has to be sent before it looks at its id."""


def _body(method: str, path: str) -> dict[str, Any]:
    return next((body for verb, route, body in BODIES if verb == method and re.fullmatch(route, path)), {})


async def test_no_route_with_an_id_shows_or_changes_what_is_anothers(
    installation: Installation, subtests: pytest.Subtests
) -> None:
    """T-202. A route that is new is tried as well, because the routes are read from the API's own description."""
    ada = await installation.person()
    bob = await installation.person(email="bob@example.com")
    analyst = await installation.person(Role.ANALYST, email="analyst@example.com")
    things = await _things_of(installation, ada)
    before = _everything(installation)
    routes = [(method, path) for method, path in await _routes_with_ids(installation) if path not in NOBODYS]
    assert len(routes) >= 35

    for method, path in routes:
        with subtests.test(method=method, path=path):
            theirs = re.sub(r"{(\w+)}", lambda name: things[name[1]], path)
            nobodys = re.sub(r"{\w+}", str(uuid4()), path)
            body = _body(method, path)

            answer = await installation.client.request(method, theirs, headers=bob.headers, **body)
            unknown = await installation.client.request(method, nobodys, headers=bob.headers, **body)
            anonymous = await installation.client.request(method, theirs, **body)

            is_admin = "/admin/" in path
            assert answer.status_code == (403 if is_admin else 404)
            # Whether the id exists must not show.
            assert (unknown.status_code, unknown.json()) == (answer.status_code, answer.json())
            assert anonymous.status_code == 401
            if is_admin and method != "get":
                assert (
                    await installation.client.request(method, theirs, headers=analyst.headers, **body)
                ).status_code == 403
    assert before == _everything(installation)
    assert all(rows for rows in before)
    assert installation.rows("SELECT FROM transfers") == []


HOSTILE_IDS = [
    "0",
    "-1",
    "null",
    "%2e%2e",
    "%00",
    "%27%20OR%201=1--",
    "a" * 5000,
    "%F0%9F%92%A9",
    "%ff",
    "00000000-0000",
]


@pytest.mark.prove
async def test_no_id_breaks_a_route(installation: Installation, subtests: pytest.Subtests) -> None:
    """S27, T-210."""
    owner = await installation.person(Role.OWNER)
    for method, path in await _routes_with_ids(installation):
        for hostile in HOSTILE_IDS:
            with subtests.test(method=method, path=path, id=hostile[:20]):
                answer = await installation.client.request(
                    method, re.sub(r"{\w+}", hostile, path), headers=owner.headers, **_body(method, path)
                )

                assert answer.status_code in (404, 405, 422)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example"])
async def test_other_sites_get_no_permission_and_named_ones_get_no_cookie(install: Install, origin: str) -> None:
    """T-201."""
    async with install(api_cors_allowed_origins="https://app.example", worker=False) as installation:
        sent = "authorization, content-type, idempotency-key, x-stainless-lang"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent}
        for path in ("/api/v1/auth/me", "/api/v1/users/me/wallet/top-up", "/webhooks/stripe", "/v1/chat/completions"):
            refused = await installation.client.options(path, headers={"Origin": origin, **asked})
            named = await installation.client.options(path, headers={"Origin": "https://app.example", **asked})

            assert "access-control-allow-origin" not in refused.headers
            assert named.status_code == 200
            assert named.headers["access-control-allow-origin"] == "https://app.example"
            assert "access-control-allow-credentials" not in named.headers
