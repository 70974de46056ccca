"""People at work over real HTTP: `ada` and the stranger `bob`, each with a desk of their own. No job runs.

One installation serves all tests of this folder, because starting it takes longer than most of them: people see only
what is theirs, and each test has its own. So a module says `pytestmark = SHARED`, to run in the installation's loop.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.conftest import APP_URL, OWNER_URL, new_database, on
from tests.installation import Installation, Person, installed

SHARED = pytest.mark.asyncio(loop_scope="session")

_numbers = count()


@dataclass(frozen=True)
class Desk:
    it: Installation
    person: Person

    async def call(self, method: str, path: str, **request: Any) -> httpx2.Response:
        return await self.it.client.request(method, f"/api/v1{path}", headers=self.person.headers, **request)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def make(self, path: str, **body: Any) -> Any:
        answer = await self.call("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def change(self, path: str, **body: Any) -> Any:
        answer = await self.call("PATCH", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def delete(self, path: str) -> None:
        answer = await self.call("DELETE", path)
        assert answer.status_code == 204, answer.text

    async def refusal(self, method: str, path: str, **request: Any) -> tuple[int, str]:
        """Status and detail of a request that must not succeed."""
        answer = await self.call(method, path, **request)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.status_code, answer.json()["detail"]

    async def upload(self, room: Any, filename: str, content: bytes) -> httpx2.Response:
        return await self.call("POST", f"/rooms/{room['id']}/files", files={"file": (filename, content)})

    async def file(self, room: Any, filename: str = "notes.txt", content: bytes = b"Notes.") -> Any:
        answer = await self.upload(room, filename, content)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def agent(self, key: str = "writer", **fields: Any) -> Any:
        return await self.make("/agents", **{"agent_key": key, "name": key.title(), "model_alias": "demo", **fields})

    async def room(self, **fields: Any) -> Any:
        return await self.make("/rooms", **{"name": "Novel", **fields})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def it() -> AsyncIterator[Installation]:
    with new_database() as name:
        urls = {"app_url": on(os.environ[APP_URL], name), "owner_url": on(os.environ[OWNER_URL], name)}
        async with installed(**urls, worker=False) as installation:
            yield installation


async def new_desk(it: Installation, name: str) -> Desk:
    return Desk(it, await it.person(email=f"{name}{next(_numbers)}@example.com"))


@pytest_asyncio.fixture(loop_scope="session")
async def ada(it: Installation) -> Desk:
    return await new_desk(it, "ada")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(it: Installation) -> Desk:
    return await new_desk(it, "bob")
