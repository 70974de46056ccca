"""The sandbox as one object: its memory, its faults, its webhooks, and the payer's part in code."""

import asyncio
import ipaddress
import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import stripe

from pantheon import clock
from pantheon.payments.stripe.sandbox.cards import find_method, method_name
from pantheon.payments.stripe.sandbox.customers import Customers
from pantheon.payments.stripe.sandbox.delivery import Deliveries, Endpoint
from pantheon.payments.stripe.sandbox.errors import ApiError, invalid, missing
from pantheon.payments.stripe.sandbox.events import Cause, Crafted, Events
from pantheon.payments.stripe.sandbox.idempotency import Idempotency
from pantheon.payments.stripe.sandbox.payment_intents import PaymentIntents, Status
from pantheon.payments.stripe.sandbox.store import Delivery, Json, Store
from pantheon.payments.stripe.sandbox.switches import Switches

Play = Literal["pay", "decline", "settle", "cancel"]
Order = Literal["same", "reverse", "random"]


class Sandbox:
    def __init__(
        self,
        *,
        database: Path | None = None,
        base_url: str,
        webhook_url: str | None = None,
        webhook_secrets: Sequence[str] = (),
        secret_key: str = "sk_test_pantheon_sandbox",  # noqa: S107 - it opens play money on loopback
        publishable_key: str = "pk_test_pantheon_sandbox",
        account_id: str = "acct_pantheon_sandbox",
        retry_ms: Sequence[int] = (1_000, 2_000, 5_000, 10_000, 30_000, 60_000),
        delivery_timeout_ms: int = 10_000,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`database` None keeps everything in memory. The last of `retry_ms` is repeated, for three days."""
        if webhook_url is not None and not webhook_secrets:
            raise ValueError("webhooks need a secret to sign them with")
        for url in filter(None, (base_url, webhook_url)):
            if not is_loopback(urlsplit(url).hostname):
                raise ValueError(f"the sandbox stays on this machine: {url} is not a loopback address")
        self.base_url = base_url.rstrip("/")
        self.secret_key = secret_key
        self.publishable_key = publishable_key
        self.account_id = account_id
        self.api_version: str = stripe.api_version
        self.endpoints = [Endpoint(webhook_url, tuple(webhook_secrets))] if webhook_url else []
        self.requests: deque[Json] = deque(maxlen=10_000)
        """Requests to the API, oldest first: method, path, idempotency_key, switch, status (None: no answer)."""
        self.switches = Switches()
        self._now = now
        self.store = Store(database)
        self.webhooks = Deliveries(
            self.store, self.endpoints, retry_ms=retry_ms, timeout_ms=delivery_timeout_ms, now_ms=self._now_ms
        )
        self.events = Events(
            self.store, self.switches, self.webhooks, api_version=self.api_version, now=self.now_seconds
        )
        self.idempotency = Idempotency(self.store, now=self.now_seconds)
        self.customers = Customers(self.store, now=self.now_seconds)
        self.payments = PaymentIntents(
            self.store, self.events, self.customers, base_url=self.base_url, now=self.now_seconds
        )
        self._delivering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._delivering = asyncio.create_task(self.webhooks.run(), name="sandbox webhooks")
        # One turn of the loop, so that the client for webhooks is there when the first request comes.
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._delivering is not None
        self.switches.clear()
        self._delivering.cancel()
        result = (await asyncio.gather(self._delivering, return_exceptions=True))[0]
        self.store.close()
        if not isinstance(result, asyncio.CancelledError) and result is not None:
            raise result

    def now_seconds(self) -> int:
        return self._now_ms() // 1_000

    def _now_ms(self) -> int:
        return (self._now() - _EPOCH) // timedelta(milliseconds=1)

    def play(
        self,
        reference: str,
        play: Play,
        *,
        method: str | None = None,
        return_url: str | None = None,
        cause: Cause | None = None,
    ) -> Json:
        """Does the payer's or the bank's part for a payment: an id, or a value from its metadata such as a top-up's id.

        `pay` and `decline` choose a payment method (a name or a card number), or where none is given answer the
        challenge or the debit that the payment waits for.
        """
        with self.store.transaction():
            intent = self.payments.find(reference)
            id, status = intent["id"], intent["status"]
            if play == "cancel":
                return self.payments.cancel(id, {}, Cause())
            if play == "settle" or (play == "pay" and method is None and status == Status.PROCESSING):
                return self.payments.settle(id)
            if play == "decline" and method is None and status == Status.PROCESSING:
                return self.payments.return_debit(id)
            if method is None and status == Status.REQUIRES_ACTION:
                return self.payments.answer_challenge(id, passed=play == "pay")
            name = method_name(method or ("pm_card_visa" if play == "pay" else "pm_card_chargeDeclined"))
            chosen = find_method(name)
            if play == "decline" and chosen is not None and chosen.decline is None:
                raise invalid(f"{name} is not declined. Choose a method that is, or `pay`.", param="method")
            try:
                return self.payments.confirm(
                    id,
                    {"payment_method": name, "return_url": return_url or f"{self.base_url}/done"},
                    cause or Cause(),
                )
            except ApiError as error:
                if error.status != 402:
                    raise
                return self.payments.get(id)

    async def emit(self, reference: str, crafted: Crafted) -> tuple[Json, list[Delivery]]:
        """Delivers an event that Stripe would not send, at once; the event and what became of it."""
        with self.store.transaction():
            intent = self.payments.find(reference) | crafted.object
            if crafted.keep:
                self.store.put(intent)
            event = self.events.render(crafted.type, intent, Cause()) | crafted.event
            if not isinstance(event["id"], str):
                raise invalid("An event needs an id.", param="event")
            self.store.put(event, kind="event")
        return event, await self._deliver(event["id"])

    async def resend(self, event_id: str) -> list[Delivery]:
        """Delivers an event once more, at once."""
        if self.store.get("event", event_id) is None:
            raise missing("event", event_id)
        return await self._deliver(event_id)

    async def release(self, order: Order = "same") -> list[Delivery]:
        """Delivers what `hold_webhook` kept back, one after the other, and says what became of it."""
        ids = [delivery.id for delivery in self.store.deliveries(state="held")]
        if order == "reverse":
            ids.reverse()
        elif order == "random":
            random.shuffle(ids)
        return await self.webhooks.deliver_now(ids)

    async def _deliver(self, event_id: str) -> list[Delivery]:
        ids = [self.webhooks.plan(event_id, endpoint=endpoint, state="held") for endpoint in range(len(self.endpoints))]
        return await self.webhooks.deliver_now(ids)

    def deliveries(self, event_id: str | None = None) -> list[Delivery]:
        return self.store.deliveries(event_id=event_id)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
