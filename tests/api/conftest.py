"""The API over real HTTP, for every test that calls it.

    async def test_something(client, make_user):
        ada = await make_user()
        answer = await client.get("/api/v1/auth/me", headers=ada.headers)

`client`      an httpx2 client of the served application (`runtime` behind it, on the test's own database)
`make_user`   a user with a wallet and a bearer token; `role=` and `email=` if they matter. There is no password unless
              one is given, because each costs a fifth of a second.
`browser`     `await browser(ada)`: a client with the session cookie, and the headers that a page of ours sends
`overrides`   settings that differ: `@pytest.mark.parametrize("overrides", [{"registration": "open"}])`
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from uuid import UUID

import httpx2
import pytest

from pantheon import settings as all_settings
from pantheon.api import csrf
from pantheon.api.app import create_api
from pantheon.api.callers import cookie_name
from pantheon.api.server import bind, serving
from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.runtime import Runtime, open_runtime
from pantheon.settings import Settings
from pantheon.users.create_user import create_user
from pantheon.users.rights import Role
from pantheon.users.sessions import Device, open_session

TEST_ACTOR = Actor(None, "test")


class Person(NamedTuple):
    user_id: UUID
    email: str
    headers: dict[str, str]


MakeUser = Callable[..., Awaitable[Person]]
Browser = Callable[[Person], Awaitable[httpx2.AsyncClient]]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {}


@pytest.fixture
def settings(app_url: str, overrides: dict[str, Any]) -> Settings:
    return all_settings.load(
        **{"_env_file": None, "app_env": "test", "database_url": app_url, "database_pool_size": 10, **overrides}
    )


@pytest.fixture
async def runtime(settings: Settings, database: Database) -> AsyncIterator[Runtime]:
    # `database` is asked for because it verifies the books once everything else has stopped.
    async with open_runtime(settings) as runtime:
        yield runtime


@pytest.fixture
async def base_url(runtime: Runtime) -> AsyncIterator[str]:
    listener = bind("127.0.0.1", 0)
    async with serving(create_api(runtime), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=base_url, timeout=30) as client:
        yield client


@pytest.fixture
def make_user(runtime: Runtime) -> MakeUser:
    made = 0

    async def make(*, role: Role = Role.USER, email: str | None = None, password: str | None = None) -> Person:
        nonlocal made
        made += 1
        address = email or f"user{made}@example.com"
        user = await create_user(runtime.database, email=address, role=role, password=password, actor=TEST_ACTOR)
        async with runtime.database.transaction() as tx:
            session = await open_session(tx, user.id, Device())
        return Person(user.id, address, {"Authorization": f"Bearer {session.token}"})

    return make


@pytest.fixture
async def browser(runtime: Runtime, base_url: str) -> AsyncIterator[Browser]:
    async with AsyncExitStack() as stack:

        async def open_browser(person: Person) -> httpx2.AsyncClient:
            async with runtime.database.transaction() as tx:
                session = await open_session(tx, person.user_id, Device())
            client = httpx2.AsyncClient(
                base_url=base_url,
                timeout=30,
                headers={"Origin": base_url, csrf.HEADER: csrf.token_for(runtime.settings, session.id)},
            )
            # With the domain, so that the answer to a sign-out removes it as it does in a browser.
            client.cookies.set(cookie_name(runtime.settings), session.token, domain="127.0.0.1")
            return await stack.enter_async_context(client)

        yield open_browser
