"""Events: a snapshot of an object, rendered once when something happened to it, and sent to every endpoint."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from pantheon.payments.stripe.sandbox import objects
from pantheon.payments.stripe.sandbox.delivery import Deliveries
from pantheon.payments.stripe.sandbox.store import Json, Store
from pantheon.payments.stripe.sandbox.switches import Switches


@dataclass
class Cause:
    """The request that made something happen. Without an id nobody asked: a bank settled, a payer authenticated."""

    request_id: str | None = None
    idempotency_key: str | None = None
    deliveries: list[int] = field(default_factory=list)
    """What is under way because of it."""


class Crafted(BaseModel):
    """An event about a payment that Stripe would not send: stale, foreign, forged or plain wrong."""

    model_config = ConfigDict(extra="forbid")

    type: str = "payment_intent.succeeded"
    object: dict[str, Any] = {}
    """Replaces fields of the payment, such as amount_received, currency, livemode or metadata."""
    event: dict[str, Any] = {}
    """Replaces or adds fields of the event, such as id, account, livemode, created or api_version."""
    keep: bool = False
    """Whether the payment itself, as the API shows it, gets the fields of `object` too."""


class Events:
    def __init__(
        self, store: Store, switches: Switches, deliveries: Deliveries, *, api_version: str, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._switches = switches
        self._deliveries = deliveries
        self._api_version = api_version
        self._now = now

    def render(self, type: str, data: Json, cause: Cause) -> Json:
        return objects.event(
            type=type,
            data=data,
            created=self._now(),
            api_version=self._api_version,
            cause={"id": cause.request_id, "idempotency_key": cause.idempotency_key},
            endpoints=len(self._deliveries.endpoints),
        )

    def emit(self, type: str, data: Json, cause: Cause) -> None:
        """Stores the event and plans its deliveries, in the caller's transaction."""
        event = self.render(type, data, cause)
        self._store.put(event)
        for endpoint in range(len(self._deliveries.endpoints)):
            switch = self._switches.meet_webhook(type)
            name = switch.name if switch else None
            state = {"drop_webhook": "dropped", "hold_webhook": "held"}.get(name or "", "pending")
            for _ in range(1 + (switch.copies if switch and name == "duplicate_webhook" else 0)):
                cause.deliveries.append(
                    self._deliveries.plan(
                        event["id"],
                        endpoint=endpoint,
                        state=state,
                        delay_ms=switch.ms if switch and name == "delay_webhook" else 0,
                    )
                )

    def shown(self, event: Json) -> Json:
        """The event as the API shows it now: only `pending_webhooks` changes after it was rendered."""
        open_endpoints = {
            delivery.endpoint
            for delivery in self._store.deliveries(event_id=event["id"])
            if delivery.state in ("pending", "held")
        }
        return event | {"pending_webhooks": len(open_endpoints)}
