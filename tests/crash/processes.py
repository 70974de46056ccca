"""Real processes that can be killed: API and worker in a process of their own, and Stripe's sandbox outlives them.

A template process imports everything once; each process is a fork of it, so that a start costs milliseconds.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from pantheon import logs
from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.payments.stripe.sandbox import Sandbox, Switch, create_sandbox_app
from pantheon.runtime import open_runtime
from pantheon.web.app import create_app
from pantheon.worker.run import working
from tests.installation import WEBHOOK_SECRET, Installation, installed

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["pytest", "stripe", "httpx", "tests.crash.processes", "pantheon.workspace.play_turn"])

SECONDS = 30


def _serve(settings: dict[str, Any], port: int, failpoint: str | None) -> None:
    os.environ["APP_ENV"] = "test"
    logs.configure("json", level=logging.ERROR)
    if failpoint is not None:
        os.environ["FAILPOINT"] = failpoint
    asyncio.run(_serving(settings, port))


async def _serving(settings: dict[str, Any], port: int) -> None:
    async with (
        open_runtime(all_settings.load(_env_file=None, **settings), sandbox=True) as runtime,
        serving(create_app(runtime), bind("127.0.0.1", port)),
        working(runtime),
    ):
        await asyncio.Event().wait()


@dataclass
class Service:
    """One API and worker that dies and is started again, always at the same address."""

    settings: dict[str, Any]
    port: int
    failpoints: list[str] = field(default_factory=list)
    """Where the next starts will die, each in its turn; when none is left, they live."""
    process: Any = None
    deaths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        failpoint = self.failpoints[0] if self.failpoints else None
        self.process = forks.Process(target=_serve, args=(self.settings, self.port, failpoint), daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(SECONDS)
        assert self.process.exitcode == -signal.SIGKILL

    def rise(self) -> None:
        """Starts it again if it has died, which it may only have done where it was told to."""
        if self.process.exitcode is None:
            return
        assert self.process.exitcode == -signal.SIGKILL
        self.deaths.append(self.failpoints.pop(0))
        self.start()

    async def post(self, path: str, **request: Any) -> httpx2.Response | None:
        """The answer; None when the process died instead of giving one. A process that starts is waited for."""
        async with asyncio.timeout(SECONDS):
            while self.process.exitcode is None:
                try:
                    async with httpx2.AsyncClient(base_url=self.url, timeout=SECONDS) as client:
                        return await client.post(path, **request)
                except httpx2.ConnectError:
                    await asyncio.sleep(0.01)
                except httpx2.TransportError:
                    self.process.join(SECONDS)
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def service(
    app_url: str, owner_url: str, *, failpoints: list[str], **overrides: Any
) -> AsyncIterator[tuple[Service, Installation]]:
    """The service, not started yet, and an installation without a worker that shows what is in the database."""
    async with installed(app_url=app_url, owner_url=owner_url, worker=False) as beside:
        port, sandbox_listener = free_port(), bind("127.0.0.1", 0)
        sandbox_url = f"http://127.0.0.1:{sandbox_listener.getsockname()[1]}"
        service = Service(settings(app_url, port, sandbox_url, **overrides), port, failpoints)
        sandbox = Sandbox(
            base_url=sandbox_url,
            webhook_url=f"{service.url}/webhooks/stripe",
            webhook_secrets=[WEBHOOK_SECRET],
            retry_ms=[20, 50, 100],
        )
        # The only event to come is the one about the money.
        for unused in ("payment_intent.created", "charge.*"):
            sandbox.switches.add(Switch(name="drop_webhook", on=unused, times=None))
        async with sandbox, serving(create_sandbox_app(sandbox), sandbox_listener):
            try:
                yield service, Installation(beside.runtime, service.url, sandbox, beside.client, owner_url)
            finally:
                if service.process is not None:
                    service.process.kill()
                    service.process.join(SECONDS)


def settings(app_url: str, port: int, sandbox_url: str, **overrides: Any) -> dict[str, Any]:
    return {
        "app_env": "test",
        "database_url": app_url,
        "public_url": f"http://127.0.0.1:{port}",
        "stripe_secret_key": "sk_test_pantheon_sandbox",
        "stripe_publishable_key": "pk_test_pantheon_sandbox",
        "stripe_webhook_secret": WEBHOOK_SECRET,
        "stripe_account_id": "acct_pantheon_sandbox",
        "stripe_api_base": sandbox_url,
        "database_pool_size": 5,
        **overrides,
    }
