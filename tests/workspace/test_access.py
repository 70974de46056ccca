"""Who may work: people in person, and API keys that were made for it. (Strangers: `security/test_tenants.py`.)"""

import re
from uuid import uuid4

import pytest

from tests.workspace.conftest import SHARED, Desk

pytestmark = SHARED

TAGS = {"agents", "rooms", "sessions", "files"}


async def _key(desk: Desk, scope: str) -> dict[str, str]:
    made = await desk.make("/users/me/api-keys", name="k", scopes=[scope])
    return {"Authorization": f"Bearer {made['key']}"}


async def test_an_api_key_needs_the_scope_of_the_workspace_everywhere(ada: Desk, subtests: pytest.Subtests) -> None:
    key = await _key(ada, "wallet:read")
    document = await ada.get("/openapi.json")
    routes = [
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if TAGS & set(operation["tags"])
    ]
    assert {tag for operations in document["paths"].values() for o in operations.values() for tag in o["tags"]} >= TAGS

    for method, path in routes:
        with subtests.test(method=method, path=path):
            answer = await ada.it.client.request(method, re.sub(r"{\w+}", str(uuid4()), path), headers=key)

            assert answer.status_code == 403
            assert answer.json()["detail"] == "This API key lacks the scope workspace."


async def test_with_it_a_key_works_as_its_user(ada: Desk) -> None:
    key = await _key(ada, "workspace")

    made = await ada.it.client.post("/api/v1/rooms", json={"name": "R"}, headers=key)

    assert made.status_code == 201
    assert await ada.get("/rooms") == {"rooms": [made.json()], "total": 1}
