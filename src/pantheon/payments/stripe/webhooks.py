"""The door for Stripe's events: is the signature right, and is it an event. Only our own two errors come out."""

import re
from collections.abc import Sequence
from typing import Any

import stripe
import structlog
from pydantic import SecretStr, ValidationError

from pantheon.errors import InvalidSignatureError, MalformedWebhookError
from pantheon.exact_json import loads
from pantheon.payments.stripe.objects import Event
from pantheon.settings import MIN_SECRET_LENGTH

TOLERANCE_SECONDS = 300
_MAX_DEPTH = 32

_logger = structlog.get_logger(__name__)

_TIMESTAMP = re.compile(r"t=[0-9]{1,12}")
# Schemes other than v1 are passed over, and may look as Stripe likes.
_ELEMENT = re.compile(r"v1=[0-9a-f]{64}|(?!v1=|t=)[a-z0-9]{1,16}=[\x21-\x7e]{1,256}")


def verify(body: bytes, header: str | None, secrets: Sequence[SecretStr], *, now: int) -> int:
    """The index of the secret that signed `body`, by any signature of scheme v1. Raises InvalidSignatureError.

    Stricter than the SDK where that is lenient: it takes a time from the future and digits of any script.
    """
    timestamp = _timestamp(header)
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise InvalidSignatureError
    matching = [index for index, secret in enumerate(secrets) if _signed(body, header, secret.get_secret_value())]
    if not matching:
        raise InvalidSignatureError
    return matching[0]


def _timestamp(header: str | None) -> int:
    first, *rest = (header or "").split(",")
    if not _TIMESTAMP.fullmatch(first) or not rest or not all(_ELEMENT.fullmatch(element) for element in rest):
        raise InvalidSignatureError
    return int(first.removeprefix("t="))


def _signed(body: bytes, header: str | None, secret: str) -> bool:
    if len(secret.strip()) < MIN_SECRET_LENGTH:
        # The settings refuse it too, but anybody can sign with an empty key, and some releases of the SDK take it.
        return False
    try:
        # Its age is checked above, in both directions.
        return bool(stripe.WebhookSignature.verify_header(body, header, secret, tolerance=None))
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False


def parse_event(body: bytes) -> Event:
    """The event that `body` is. Raises MalformedWebhookError."""
    try:
        value = loads(body)
        if _is_too_deep(value):
            raise MalformedWebhookError
        if isinstance(value, dict) and str(value.get("object")).startswith("v2."):
            # Nobody who sets up an endpoint could tell from our 400 alone.
            _logger.error("webhook_is_a_thin_event", hint="Let the endpoint at Stripe send snapshot events.")
        return Event.model_validate(value)
    except (ValueError, RecursionError, ValidationError):
        raise MalformedWebhookError from None


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
