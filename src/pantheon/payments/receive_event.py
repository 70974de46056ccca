"""Takes in one delivery of Stripe: verify, store the raw event once, wake a worker with the same commit."""

import hashlib
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import update

from pantheon import clock, failpoints, metrics
from pantheon.db.engine import Tx
from pantheon.db.tables import inbox_events
from pantheon.db.wake_ups import INBOX, wake_up
from pantheon.errors import InvalidSignatureError, PaymentsNotConfiguredError
from pantheon.ids import uuid7
from pantheon.payments.inbox import Inbox
from pantheon.payments.stripe.objects import Event
from pantheon.payments.stripe.webhooks import parse_event, verify
from pantheon.settings import Settings

USED_TYPES = frozenset(
    {
        "payment_intent.succeeded",
        "payment_intent.processing",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "payment_intent.canceled",
    }
)

_logger = structlog.get_logger(__name__)


class Received(StrEnum):
    STORED = "ok"
    SEEN_BEFORE = "already_processed"
    IGNORED = "ignored"


@dataclass(frozen=True)
class _Delivery:
    event: Event
    body: bytes
    secret_index: int | None
    """Which of the configured secrets signed it; None for the local shortcut."""


async def receive_event(
    inbox: Inbox, settings: Settings, *, body: bytes, signature: str | None, peer: str | None
) -> Received:
    """Stored and durable once this returns. `peer` is the address of the socket, whatever any header says.

    Raises InvalidSignatureError, MalformedWebhookError and PaymentsNotConfiguredError.
    """
    if settings.stripe_webhook_secret:
        try:
            index = verify(body, signature, settings.stripe_webhook_secret, now=int(clock.now().timestamp()))
        except InvalidSignatureError:
            metrics.EVENTS_RECEIVED.labels("none", "refused").inc()
            raise
        delivery = _Delivery(parse_event(body), body, index)
    elif settings.is_local:
        delivery = _Delivery(_unsigned(body, peer), body, None)
    else:
        raise PaymentsNotConfiguredError
    structlog.contextvars.bind_contextvars(event_id=delivery.event.id)
    failpoints.reach("event.verified")
    received = await _store(inbox, settings, delivery)
    failpoints.reach("event.stored")
    event_type = delivery.event.type if delivery.event.type in USED_TYPES else "other"
    metrics.EVENTS_RECEIVED.labels(event_type, received).inc()
    return received


def _unsigned(body: bytes, peer: str | None) -> Event:
    """The shortcut for trying things out: no secret, but only from this machine and only with test data."""
    if peer is None or not _is_loopback(peer):
        raise InvalidSignatureError
    event = parse_event(body)
    if event.livemode:
        raise InvalidSignatureError
    _logger.warning("unsigned_event_accepted", event_id=event.id)
    return event


def _is_loopback(peer: str) -> bool:
    address = ipaddress.ip_address(peer)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def _store(inbox: Inbox, settings: Settings, delivery: _Delivery) -> Received:
    event, digest, now = delivery.event, hashlib.sha256(delivery.body).digest(), clock.now()
    top_up_id = _top_up_id(event.payload, await inbox.installation_id())
    ignored = _why_ignored(settings, event, top_up_id)
    is_new = await inbox.add(
        {
            "id": uuid7(),
            "event_id": event.id,
            "type": event.type,
            "livemode": event.livemode,
            "account": event.account,
            "api_version": event.api_version,
            "body": delivery.body,
            "body_hash": digest,
            "verified": delivery.secret_index is not None,
            "secret_index": delivery.secret_index,
            "state": "ignored" if ignored else "received",
            "outcome": ignored,
            "received_at": now,
            "next_attempt_at": now,
            "handled_at": now if ignored else None,
            "top_up_id": _uuid(top_up_id),
        }
    )
    if not is_new:
        async with inbox.database.transaction() as tx:
            await _count_again(tx, event, digest, ignored)
        return Received.SEEN_BEFORE
    if ignored:
        _logger.info("event_ignored", event_id=event.id, type=event.type, reason=ignored)
        return Received.IGNORED
    return Received.STORED


async def _count_again(tx: Tx, event: Event, digest: bytes, ignored: str | None) -> None:
    row = (
        await tx.execute(
            update(inbox_events)
            .where(inbox_events.c.event_id == event.id, inbox_events.c.livemode == event.livemode)
            .values(received_count=inbox_events.c.received_count + 1)
            .returning(inbox_events.c.id, inbox_events.c.state, inbox_events.c.body_hash)
        )
    ).one()
    if bytes(row.body_hash) != digest:
        _logger.error("event_came_again_with_another_body", event_id=event.id)
    if row.state in ("parked", "dead") or (row.state == "ignored" and ignored is None):
        await wake(tx, row.id)


def _why_ignored(settings: Settings, event: Event, top_up_id: Any) -> str | None:
    """Why an event is none of our business, as a code. Refusing it would make Stripe send it again for days."""
    if event.type not in USED_TYPES:
        return "type_not_used"
    if event.livemode != settings.livemode:
        return "livemode_differs"
    if event.account is not None and event.account != settings.stripe_account_id:
        return "account_differs"
    if top_up_id is None:
        return "payment_not_ours"
    return None


def _top_up_id(payload: Any, installation_id: UUID | None) -> Any:
    """What the payment calls its top-up, whatever that is; None where the payment is of another installation."""
    metadata = payload.get("metadata") if isinstance(payload, dict) else None
    if not isinstance(metadata, dict) or metadata.get("environment_id") != str(installation_id):
        return None
    return metadata.get("top_up_id")


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


async def wake(tx: Tx, inbox_event_id: UUID) -> None:
    """Looks once more at what we had given up on or took for none of ours: Stripe or an operator gave a reason to."""
    await tx.execute(
        update(inbox_events)
        .where(inbox_events.c.id == inbox_event_id)
        .values(state="received", outcome=None, handled_at=None, next_attempt_at=clock.now())
    )
    await wake_up(tx, INBOX)
