"""A whole installation for a test: the API on a real socket, the worker, and the sandbox in Stripe's place."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import httpx2
import psycopg
from psycopg.rows import dict_row

from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.audit import Actor
from pantheon.payments.stripe.sandbox import Sandbox, create_sandbox_app
from pantheon.runtime import Runtime, open_runtime
from pantheon.users.create_user import create_user
from pantheon.users.rights import Role
from pantheon.users.sessions import Device, open_session
from pantheon.web.app import create_app
from pantheon.worker.run import working

WEBHOOK_SECRET = "whsec_0123456789abcdef0123456789abcdef"
TEST = Actor(None, "test")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Everything here speaks plain HTTP, and to read the certificates for each client takes longer than most tests."""


@dataclass(frozen=True)
class Person:
    id: UUID
    email: str
    headers: dict[str, str]
    """Authorize requests as this person, by a bearer token."""


@dataclass(frozen=True)
class Installation:
    runtime: Runtime
    url: str
    sandbox: Sandbox
    client: httpx2.AsyncClient
    owner_url: str

    async def person(self, role: Role = Role.USER, email: str = "ada@example.com") -> Person:
        user = await create_user(self.runtime.database, email=email, actor=TEST, role=role)
        async with self.runtime.database.transaction() as tx:
            session = await open_session(tx, user.id, Device())
        return Person(user.id, email, {"Authorization": f"Bearer {session.token}"})

    async def top_up(self, person: Person, amount: Any = "10.00", **headers: str) -> httpx2.Response:
        return await self.client.post(
            "/api/v1/users/me/wallet/top-up", json={"amount_usd": amount}, headers=person.headers | headers
        )

    async def balance(self, person: Person) -> str:
        answer = await self.client.get("/api/v1/users/me/wallet", headers=person.headers)
        return str(answer.json()["balance"])

    async def status(self, person: Person, top_up_id: str) -> str:
        answer = await self.client.get(f"/api/v1/users/me/wallet/top-ups/{top_up_id}", headers=person.headers)
        return str(answer.json()["status"])

    async def becomes(self, person: Person, top_up_id: str, status: str, *, seconds: int = 10) -> None:
        async def reached() -> bool:
            return await self.status(person, top_up_id) == status

        await eventually(reached, seconds=seconds)

    async def all_events_handled(self) -> None:
        async def none_left() -> bool:
            return not self.rows("SELECT FROM inbox_events WHERE state = 'received'")

        await eventually(none_left)

    async def post_event(self, body: bytes, signature: str | None) -> httpx2.Response:
        headers = {"Stripe-Signature": signature} if signature is not None else {}
        return await self.client.post("/webhooks/stripe", content=body, headers=headers)

    def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """What the owner of the database sees."""
        with psycopg.connect(self.owner_url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query.encode(), arguments).fetchall()

    def execute(self, statement: str, *arguments: object) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement.encode(), arguments)


async def eventually(reached: Callable[[], Any], *, seconds: int = 10) -> None:
    """Waits until `reached()` is true; a test that waits in vain fails."""
    async with asyncio.timeout(seconds):
        while not await reached():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def installed(
    *, app_url: str, owner_url: str, payments: bool = True, worker: bool = True, **overrides: Any
) -> AsyncIterator[Installation]:
    """`payments=False` leaves Stripe's keys out; `overrides` are settings."""
    async with AsyncExitStack() as stack:
        listener, sandbox_listener = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
        stack.callback(listener.close)
        stack.callback(sandbox_listener.close)
        url, sandbox_url = (f"http://127.0.0.1:{socket.getsockname()[1]}" for socket in (listener, sandbox_listener))
        sandbox = await stack.enter_async_context(
            Sandbox(
                base_url=sandbox_url,
                webhook_url=f"{url}/webhooks/stripe",
                webhook_secrets=[WEBHOOK_SECRET],
                retry_ms=[20, 50, 100],
            )
        )
        await stack.enter_async_context(serving(create_sandbox_app(sandbox), sandbox_listener))
        stripe = {
            "stripe_secret_key": sandbox.secret_key,
            "stripe_publishable_key": sandbox.publishable_key,
            "stripe_webhook_secret": WEBHOOK_SECRET,
            "stripe_account_id": sandbox.account_id,
            "stripe_api_base": sandbox_url,
        }
        folder = stack.enter_context(TemporaryDirectory(prefix="pantheon-files-"))
        settings = all_settings.load(
            _env_file=None,
            **{
                "app_env": "test",
                "storage_url": folder,
                "database_url": app_url,
                "public_url": url,
                **(stripe if payments else {}),
                **overrides,
            },
        )
        runtime = await stack.enter_async_context(open_runtime(settings, sandbox=payments))
        await stack.enter_async_context(serving(create_app(runtime), listener))
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=30, verify=NO_TLS))
        if worker:
            await stack.enter_async_context(working(runtime))
        yield Installation(runtime, url, sandbox, client, owner_url)
