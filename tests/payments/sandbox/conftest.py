"""A sandbox served over HTTP on loopback, a shop that takes its webhooks, and the official SDK between them."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import stripe
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pantheon.payments.stripe.sandbox import Sandbox, create_sandbox_app

SECRET = "whsec_sandbox_0123456789abcdef"
OTHER_SECRET = "whsec_sandbox_fedcba9876543210"
RETURN_URL = "http://127.0.0.1:1/back?tab=wallet"


def listening_socket() -> socket.socket:
    """A free port that is ours already, so that its address is known before anything is served on it."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY only then
    found.bind(("127.0.0.1", 0))
    return found


def address_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Waits for a condition, and fails where it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Shop:
    """Stands in for the application's webhook route: keeps what it got and answers as it is told."""

    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; afterwards 200."""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    on_event: Callable[[], Awaitable[None]] | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def app(self) -> ASGIApp:
        return Starlette(routes=[Route("/webhooks/stripe", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(request.headers["Stripe-Signature"])
        if self.on_event is not None:
            await self.on_event()
        return Response(status_code=self.answers.pop(0) if self.answers else 200)


class Stage:
    """Starts and stops sandboxes at one address, with one shop and, if wanted, one file."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.shop = Shop()

    async def open_shop(self) -> str:
        listener = listening_socket()
        await self._stack.enter_async_context(serving(self.shop.app, listener))
        return f"{address_of(listener)}/webhooks/stripe"

    @asynccontextmanager
    async def sandbox(self, **arguments: Any) -> AsyncIterator[Sandbox]:
        listener = listening_socket()
        arguments = {"webhook_secrets": [SECRET], "retry_ms": (10,)} | arguments
        async with (
            Sandbox(base_url=address_of(listener), **arguments) as sandbox,
            serving(create_sandbox_app(sandbox), listener),
        ):
            yield sandbox


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(stack)


@pytest.fixture
async def sandbox(stage: Stage) -> AsyncIterator[Sandbox]:
    """A sandbox in memory, without webhooks."""
    async with stage.sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def shop(stage: Stage) -> Shop:
    return stage.shop


@pytest.fixture
async def shop_sandbox(stage: Stage) -> AsyncIterator[Sandbox]:
    """A sandbox whose webhooks go to `shop`."""
    async with stage.sandbox(webhook_url=await stage.open_shop()) as sandbox:
        yield sandbox


Connect = Callable[..., stripe.StripeClient]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes SDK clients: `connect(sandbox, key=…, max_network_retries=…)`."""
    clients: list[stripe.HTTPXClient] = []

    def make(
        sandbox: Sandbox, *, key: str | None = None, max_network_retries: int = 0, timeout: float = 10
    ) -> stripe.StripeClient:
        http_client = stripe.HTTPXClient(timeout=timeout)
        clients.append(http_client)
        return stripe.StripeClient(
            key or sandbox.secret_key,
            base_addresses={"api": sandbox.base_url},
            http_client=http_client,
            max_network_retries=max_network_retries,
        )

    yield make
    for client in clients:
        await client.close_async()


@pytest.fixture
def client(sandbox: Sandbox, connect: Connect) -> stripe.StripeClient:
    return connect(sandbox)


async def open_payment(client: stripe.StripeClient, **params: Any) -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async(
        {
            "amount": 1000,
            "currency": "usd",
            "automatic_payment_methods": {"enabled": True},
            "capture_method": "automatic_async",
            "metadata": {"top_up_id": "019a"},
            "description": "Credits",
            **params,
        }
    )


async def confirm(client: stripe.StripeClient, id: str, method: str = "pm_card_visa") -> stripe.PaymentIntent:
    return await client.v1.payment_intents.confirm_async(id, {"payment_method": method, "return_url": RETURN_URL})


def database_at(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.sqlite3"
