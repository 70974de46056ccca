"""What a failed call to Stripe means for us: the one place where the SDK's errors are told apart.

What matters is whether the outcome is known. A definite refusal ends a top-up; after everything else nobody knows, and
the same request with the same key goes on with it.
"""

import stripe
import structlog

from pantheon.errors import (
    AmountOutOfRangeError,
    PantheonError,
    PaymentDeclinedError,
    PaymentRejectedError,
    PaymentsUnavailableError,
)
from pantheon.payments.declines import category_of

_RETRY_AFTER_SECONDS = 5

_logger = structlog.get_logger(__name__)

Failure = stripe.StripeError | TimeoutError


class FailureReplayedError(Exception):
    """Stripe keeps a failure for this idempotency key and will only repeat it. What it did before it failed, if
    anything, only a look at its objects can tell."""


class CustomerGoneError(Exception):
    """The customer of the request is not there any more; nothing was done."""


def translate(failure: Failure) -> PantheonError | FailureReplayedError | CustomerGoneError:
    # The SDK's exceptions hold request bodies, so neither they nor their messages go any further.
    code, status = code_of(failure), getattr(failure, "http_status", None)
    log = _logger.error if isinstance(failure, _NEEDS_A_PERSON) else _logger.warning
    log("stripe_call_failed", kind=type(failure).__name__, code=code, status=status)
    match failure:
        case stripe.CardError():
            return PaymentDeclinedError(category=category_of(getattr(failure.error, "decline_code", None) or code))
        case stripe.InvalidRequestError(param="customer") if code == "resource_missing":
            return CustomerGoneError()
        case stripe.InvalidRequestError() if code in ("amount_too_small", "amount_too_large"):
            return AmountOutOfRangeError("The payment provider does not take this amount. Please choose another one.")
        case stripe.InvalidRequestError():
            return PaymentRejectedError()
        case stripe.APIError() if (failure.headers or {}).get("idempotent-replayed") == "true":
            return FailureReplayedError()
    return PaymentsUnavailableError(retry_after=_RETRY_AFTER_SECONDS)


_NEEDS_A_PERSON = (
    stripe.AuthenticationError,
    stripe.PermissionError,
    stripe.IdempotencyError,
    stripe.InvalidRequestError,
)
"""A bad key, or a request that Stripe does not understand: waiting does not mend it."""


def code_of(failure: Failure) -> str | None:
    # Not `failure.code`: of several kinds of error the SDK leaves that empty.
    return failure.error.code if isinstance(failure, stripe.StripeError) and failure.error else None


def is_locked(failure: Failure) -> bool:
    """Whether another request has the object just now: nothing was done, and it is over in a moment."""
    return isinstance(failure, stripe.RateLimitError) and code_of(failure) == "lock_timeout"


def is_outage(failure: Failure) -> bool:
    """Whether it speaks of Stripe, or of our access to it, rather than of this one request."""
    return isinstance(
        failure,
        TimeoutError
        | stripe.APIConnectionError
        | stripe.APIError
        | stripe.AuthenticationError
        | stripe.PermissionError,
    )
