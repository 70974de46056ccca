"""Brings events to the webhook endpoints, signed, at least once, again and again until one says 2xx."""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2
from stripe import WebhookSignature

from pantheon.payments.stripe.sandbox.store import Delivery, Json, Store

GIVE_UP_AFTER_MS = 3 * 24 * 3_600 * 1_000
MAX_AT_ONCE = 20

_TLS = ssl.create_default_context()
"""Made once: it takes longer than anything else at the start."""


@dataclass(frozen=True)
class Endpoint:
    url: str
    secrets: Sequence[str] = field(repr=False)
    """Several while one secret replaces another: then each signs every event."""


class Deliveries:
    def __init__(
        self,
        store: Store,
        endpoints: list[Endpoint],
        *,
        retry_ms: Sequence[int],
        timeout_ms: int,
        now_ms: Callable[[], int],
    ) -> None:
        self.endpoints = endpoints
        self._store = store
        self._retry_ms = retry_ms
        self._timeout = timedelta(milliseconds=timeout_ms).total_seconds()
        self._now_ms = now_ms
        self._wake = asyncio.Event()
        self._under_way: set[int] = set()
        self._client: httpx2.AsyncClient | None = None

    def plan(self, event_id: str, *, endpoint: int, state: str = "pending", delay_ms: int = 0) -> int:
        self._wake.set()
        due_ms = self._now_ms() + delay_ms
        return self._store.add_delivery(event_id=event_id, endpoint=endpoint, state=state, due_ms=due_ms)

    async def run(self) -> None:
        """Delivers what is due, until cancelled. What was held back when the last run ended goes out at once."""
        self._store.unhold()
        # Proxies of the environment are for the outside; a redirect counts as a failure, as with Stripe.
        client = httpx2.AsyncClient(verify=_TLS, timeout=self._timeout, trust_env=False, follow_redirects=False)
        async with client as self._client, asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                waiting = [delivery for delivery in self._store.pending() if delivery.id not in self._under_way]
                now_ms = self._now_ms()
                for delivery in waiting[: max(0, MAX_AT_ONCE - len(self._under_way))]:
                    if delivery.due_ms <= now_ms:
                        self._under_way.add(delivery.id)
                        tasks.create_task(self._attempt_one(delivery.id))
                later = [delivery.due_ms - now_ms for delivery in waiting if delivery.due_ms > now_ms]
                with suppress(TimeoutError):
                    async with asyncio.timeout(timedelta(milliseconds=min(later, default=60_000)).total_seconds()):
                        await self._wake.wait()

    async def deliver_now(self, ids: Sequence[int]) -> list[Delivery]:
        """Attempts these deliveries in this order, one after the other, and says what became of them."""
        mine = [id for id in ids if id not in self._under_way]
        self._under_way.update(mine)
        try:
            for id in mine:
                await self._attempt(id)
        finally:
            self._under_way.difference_update(mine)
            self._wake.set()
        return [self._store.delivery(id) for id in ids]

    async def _attempt_one(self, id: int) -> None:
        try:
            await self._attempt(id)
        finally:
            self._under_way.discard(id)
            self._wake.set()

    async def _attempt(self, id: int) -> None:
        delivery = self._store.delivery(id)
        if delivery.endpoint >= len(self.endpoints):
            self._store.set_delivery(id, state="dropped", due_ms=delivery.due_ms, attempts=delivery.attempts)
            return
        event = self._store.get("event", delivery.event_id)
        assert event is not None
        outcome = await self._send(self.endpoints[delivery.endpoint], event)
        attempts = [*delivery.attempts, {"at_ms": self._now_ms(), **outcome}]
        wait_ms = self._retry_ms[min(len(attempts), len(self._retry_ms)) - 1]
        if 200 <= outcome.get("status", 0) < 300:
            state = "delivered"
        else:
            state = "failed" if self._now_ms() - attempts[0]["at_ms"] > GIVE_UP_AFTER_MS else "pending"
        self._store.set_delivery(id, state=state, due_ms=self._now_ms() + wait_ms, attempts=attempts)

    async def _send(self, endpoint: Endpoint, event: Json) -> Json:
        assert self._client is not None, "webhooks are delivered only inside of `async with sandbox`"
        payload = json.dumps(event, indent=2)
        try:
            response = await self._client.post(
                endpoint.url,
                content=payload.encode(),
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                    "Stripe-Signature": signature(payload, endpoint.secrets),
                },
            )
        except httpx2.HTTPError as error:
            return {"error": type(error).__name__}
        return {"status": response.status_code}


def signature(payload: str, secrets: Sequence[str]) -> str:
    """The Stripe-Signature header: one time, and a `v1` for each secret."""
    first = str(WebhookSignature.generate_signature_header(payload, secrets[0]))
    timestamp = int(first.partition(",")[0].removeprefix("t="))
    others = (
        str(WebhookSignature.generate_signature_header(payload, secret, timestamp)).partition(",")[2]
        for secret in secrets[1:]
    )
    return ",".join([first, *others])
