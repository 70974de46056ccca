"""Calls to Stripe. The one place where the SDK's objects and errors are seen; both are translated here.

Every call that creates something carries an idempotency key made from our own row, so a repeat finds the first one.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import stripe
import structlog

from pantheon.errors import PantheonError, PaymentDeclinedError, PaymentRejectedError, PaymentsUnavailableError
from pantheon.payments.declines import category_of
from pantheon.payments.stripe.objects import Payment
from pantheon.settings import Settings

API_VERSION: str = stripe.api_version
"""The version that requests ask for and events should be rendered in: the one that the SDK was made for."""

_CONNECT_SECONDS = 3
_RETRY_AFTER_SECONDS = 5
_CLOCK_SKEW = timedelta(minutes=10)
_CREATION_WINDOW = timedelta(hours=25)
_MAX_NETWORK_RETRIES = 2

_logger = structlog.get_logger(__name__)


class Stripe:
    def __init__(self, key: str, *, api_base: str | None, timeout_seconds: int) -> None:
        import httpx

        timeout = httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)
        self._http = stripe.HTTPXClient(timeout=timeout)
        self._seconds = timeout_seconds
        # The client does not retry unless it is told to.
        self._client = stripe.StripeClient(
            key,
            http_client=self._http,
            max_network_retries=_MAX_NETWORK_RETRIES,
            base_addresses={"api": api_base} if api_base else {},
        )

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where no key is set: payments are off."""
        if settings.stripe_secret_key is None:
            return None
        return cls(
            settings.stripe_secret_key.get_secret_value(),
            api_base=settings.stripe_api_base,
            timeout_seconds=settings.stripe_timeout_seconds,
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def create_payment(self, params: Mapping[str, Any], *, idempotency_key: str) -> Payment:
        return await self._call(
            self._client.v1.payment_intents.create_async(
                params,  # type: ignore[arg-type]  # stored as JSON with our row, so that a repeat is the same to the byte
                options={"idempotency_key": idempotency_key},
            )
        )

    async def retrieve_payment(self, payment_id: str) -> Payment:
        return await self._call(self._client.v1.payment_intents.retrieve_async(payment_id))

    async def cancel_payment(self, payment_id: str) -> Payment:
        """The payment as it is afterwards: canceled, or whatever it had become before we asked."""
        try:
            return await self._call(self._client.v1.payment_intents.cancel_async(payment_id))
        except PaymentRejectedError:
            return await self.retrieve_payment(payment_id)

    async def confirm_payment(self, payment_id: str, *, payment_method: str, return_url: str) -> Payment:
        """Pays, as the payer's browser does it with real cards: the sandbox's card form needs this, nothing else."""
        return await self._call(
            self._client.v1.payment_intents.confirm_async(
                payment_id, {"payment_method": payment_method, "return_url": return_url}
            )
        )

    async def find_payment(self, top_up_id: str, *, created_from: datetime) -> Payment | None:
        """The payment of a top-up whose answer we never got. Lists, because Stripe's search lags behind."""
        since = int((created_from - _CLOCK_SKEW).timestamp())
        until = int((created_from + _CREATION_WINDOW).timestamp())
        try:
            page = await self._client.v1.payment_intents.list_async(
                {"created": {"gte": since, "lte": until}, "limit": 100}
            )
            async for found in page.auto_paging_iter():
                if found.metadata.to_dict().get("top_up_id") == top_up_id:
                    return Payment.model_validate(found.to_dict())
        except stripe.StripeError as error:
            raise _translate(error) from None
        return None

    async def _call(self, request: Awaitable[Any]) -> Payment:
        """Raises PaymentRejectedError when Stripe refused for good, PaymentsUnavailableError when nobody knows."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await request
        except (stripe.StripeError, TimeoutError) as error:
            raise _translate(error) from None
        return Payment.model_validate(answer.to_dict())


def _translate(error: stripe.StripeError | TimeoutError) -> PantheonError:
    # The SDK's exceptions hold request bodies, so neither they nor their messages go any further.
    code = error.error.code if isinstance(error, stripe.StripeError) and error.error else None
    kind = type(error).__name__
    status = getattr(error, "http_status", None)
    _logger.warning("stripe_call_failed", kind=kind, code=code, status=status)
    if isinstance(error, stripe.CardError):
        return PaymentDeclinedError(category=category_of(getattr(error.error, "decline_code", None) or code))
    if isinstance(error, stripe.InvalidRequestError):
        return PaymentRejectedError()
    return PaymentsUnavailableError(retry_after=_RETRY_AFTER_SECONDS)
