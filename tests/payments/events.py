"""Events as Stripe would send them, made by hand: signed or not, sound or not."""

import json
import time
from typing import Any

from stripe import WebhookSignature

from tests.installation import WEBHOOK_SECRET


def event_for(payment: dict[str, Any], *, type: str = "payment_intent.succeeded", **fields: Any) -> bytes:
    """The body of an event about a payment as the sandbox knows it. `fields` replace those of the event."""
    event = {
        "id": "evt_crafted",
        "object": "event",
        "type": type,
        "livemode": False,
        "api_version": None,
        "created": int(time.time()),
        "data": {"object": payment},
    }
    return json.dumps(event | fields).encode()


def succeeded(payment: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return payment | {"status": "succeeded", "amount_received": payment["amount"]} | fields


def signed(body: bytes, *, secret: str = WEBHOOK_SECRET, age: int = 0) -> str:
    return WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=int(time.time()) - age)
