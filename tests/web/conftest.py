"""Pages over real HTTP, as a browser asks for them.

    async def test_something(installation, visit):
        ada = await visit(await installation.person())
        answer = await ada.get("/wallet")

`visit`       somebody with a session cookie, whose `post` sends what a form of ours would
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from pantheon.api import csrf
from pantheon.api.callers import cookie_name
from pantheon.users.sessions import Device, open_session
from tests.installation import NO_TLS, Installation, Person


@dataclass(frozen=True)
class Visitor:
    person: Person
    client: httpx2.AsyncClient
    csrf_token: str

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
        return await self.client.post(path, data={"csrf_token": self.csrf_token, **fields}, headers=headers)


Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def visit(installation: Installation) -> AsyncIterator[Visit]:
    async with AsyncExitStack() as stack:

        async def visit(person: Person, url: str = installation.url) -> Visitor:
            runtime = installation.runtime
            async with runtime.database.transaction() as tx:
                session = await open_session(tx, person.id, Device())
            client = await stack.enter_async_context(
                httpx2.AsyncClient(base_url=url, timeout=30, verify=NO_TLS, headers={"Origin": url})
            )
            client.cookies.set(cookie_name(runtime.settings), session.token, domain="127.0.0.1")
            return Visitor(person, client, csrf.token_for(runtime.settings, session.id))

        yield visit
