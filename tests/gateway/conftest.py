"""OpenAI's own client at the door of one installation, with a scripted model behind it.

The installation serves all tests of this folder, because starting it takes longer than any of them. Each test has a
person of its own, with a wallet and an API key; the books are verified after each. A module says `pytestmark = SHARED`.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from pantheon.ledger.verify import verify
from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from tests.conftest import APP_URL, OWNER_URL, new_database, on
from tests.installation import TEST, Installation, eventually, installed
from tests.models.scripted_provider import Script, ScriptedProvider, whole
from tests.turns.metering import ALIAS, HELLO, Metering, metering

SHARED = pytest.mark.asyncio(loop_scope="session")
FUNDS = 10**6
"""Nanocredits. A token of input costs one, one of output ten."""

NewDoor = Callable[..., Awaitable["Door"]]

_numbers = count()


def asked(**changes: Any) -> dict[str, Any]:
    """The smallest request there is, and `changes`."""
    return {"model": ALIAS, "messages": HELLO, "max_tokens": 100} | changes


@dataclass(frozen=True)
class Door:
    metering: Metering
    headers: dict[str, str]
    """Authorize as the person who owns the key."""
    key: str
    openai: AsyncOpenAI

    @property
    def installation(self) -> Installation:
        return self.metering.installation

    @property
    def provider(self) -> ScriptedProvider:
        return self.metering.provider

    def plays(self, *scripts: Script) -> None:
        self.provider.scripts[:] = scripts
        self.provider.asked.clear()

    async def post(self, body: bytes | dict[str, Any], *, key: str | None = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        authorized = {"Authorization": f"Bearer {key or self.key}"}
        return await self.installation.client.post("/v1/chat/completions", headers=authorized | named, **sent)

    @property
    def receipts(self) -> list[dict[str, Any]]:
        query = "SELECT * FROM receipts WHERE wallet_id = %s ORDER BY created_at"
        return self.installation.rows(query, self.metering.wallet_id)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.installation.rows(
            "SELECT * FROM calls WHERE user_id = %s ORDER BY started_at", self.metering.user_id
        )

    @property
    def balances(self) -> tuple[int, int]:
        """Nanocredits: available, and held."""
        return self.metering.balances

    async def ended(self) -> None:
        """Until every call that was begun is written down as over."""

        async def none_open() -> bool:
            return not [call for call in self.calls if call["state"] == "open"]

        await eventually(none_open)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house() -> AsyncIterator[Metering]:
    with new_database() as name:
        urls = {"app_url": on(os.environ[APP_URL], name), "owner_url": on(os.environ[OWNER_URL], name)}
        async with metering(partial(installed, **urls), whole("Hello."), funds=0) as m:
            yield m


async def _new_door(house: Metering, *scopes: Scope, funds: int = FUNDS) -> Door:
    runtime = house.installation.runtime
    person = await house.installation.person(email=f"ada{next(_numbers)}@example.com")
    [wallet] = house.installation.rows("SELECT id FROM wallets WHERE user_id = %s", person.id)
    mine = replace(house, user_id=person.id, wallet_id=wallet["id"])
    if funds:
        await mine.fund(funds)
    _, key = await create_api_key(
        runtime.database, runtime.settings, user_id=person.id, name="client", scopes=scopes, actor=TEST
    )
    client = AsyncOpenAI(base_url=f"{house.installation.url}/v1", api_key=key, max_retries=0)
    return Door(mine, person.headers, key, client)


@pytest_asyncio.fixture(loop_scope="session")
async def new_door(house: Metering) -> AsyncIterator[NewDoor]:
    async with AsyncExitStack() as stack:

        async def new(*scopes: Scope, funds: int = FUNDS) -> Door:
            opened = await _new_door(house, *(scopes or (Scope.MODELS_CALL,)), funds=funds)
            opened.plays(whole("Hello."))
            await stack.enter_async_context(opened.openai)
            return opened

        yield new
    async with house.installation.runtime.database.transaction() as tx:
        assert await verify(tx) == []


@pytest_asyncio.fixture(loop_scope="session")
async def door(new_door: NewDoor) -> Door:
    return await new_door()
