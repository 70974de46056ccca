"""Calls to Stripe. The one place where the SDK's objects and errors are seen; both are translated here.

Every call that creates something carries an idempotency key made from our own row, so a repeat finds the first one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import stripe
from pydantic import ValidationError

from pantheon import metrics
from pantheon.errors import InvariantError, PaymentRejectedError
from pantheon.payments.stripe.breaker import Breaker
from pantheon.payments.stripe.failures import is_locked, is_outage, translate
from pantheon.payments.stripe.objects import Payment
from pantheon.settings import Settings
from pantheon.tracing import span

API_VERSION: str = stripe.api_version
"""The version that requests ask for and events should be rendered in: the one that the SDK was made for."""

_CONNECT_SECONDS = 3
_CLOCK_SKEW = timedelta(minutes=10)
_CREATION_WINDOW = timedelta(hours=25)
_MAX_NETWORK_RETRIES = 2
_WAITS_FOR_A_LOCK = (timedelta(milliseconds=200), timedelta(milliseconds=500))


class Stripe:
    def __init__(self, key: str, *, api_base: str | None, timeout_seconds: int, breaker: Breaker | None = None) -> None:
        import httpx

        timeout = httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)
        self._http = stripe.HTTPXClient(timeout=timeout)
        self._seconds = timeout_seconds
        self._breaker = breaker or Breaker()
        # The client does not retry unless it is told to.
        self.livemode = key.startswith(("sk_live_", "rk_live_"))
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

    async def create_customer(self, user_id: str, *, idempotency_key: str) -> str:
        """The id of a customer who is known to Stripe by our id of the user, and by nothing else.

        Raises FailureReplayedError.
        """
        answer = await self._call(
            "create_customer",
            lambda: self._client.v1.customers.create_async(
                {"metadata": {"user_id": user_id}}, options={"idempotency_key": idempotency_key}
            ),
        )
        return str(answer.id)

    async def create_payment(self, params: Mapping[str, Any], *, idempotency_key: str) -> Payment:
        """Raises CustomerGoneError, FailureReplayedError, and AmountOutOfRangeError where Stripe takes less than we."""
        return await self._payment(
            "create_payment",
            lambda: self._client.v1.payment_intents.create_async(
                params,  # type: ignore[arg-type]  # stored as JSON with our row, so that a repeat is the same to the byte
                options={"idempotency_key": idempotency_key},
            ),
        )

    async def retrieve_payment(self, payment_id: str) -> Payment:
        return await self._payment(
            "retrieve_payment", lambda: self._client.v1.payment_intents.retrieve_async(payment_id)
        )

    async def cancel_payment(self, payment_id: str) -> Payment:
        """The payment as it is afterwards: canceled, or whatever it had become before we asked."""
        try:
            return await self._payment(
                "cancel_payment", lambda: self._client.v1.payment_intents.cancel_async(payment_id)
            )
        except PaymentRejectedError:
            return await self.retrieve_payment(payment_id)

    async def confirm_payment(self, payment_id: str, *, payment_method: str, return_url: str) -> Payment:
        """Pays, as the payer's browser does it with real cards: the sandbox's card form needs this, nothing else."""
        return await self._payment(
            "confirm_payment",
            lambda: self._client.v1.payment_intents.confirm_async(
                payment_id, {"payment_method": payment_method, "return_url": return_url}
            ),
        )

    async def find_payment(self, top_up_id: str, *, created_from: datetime) -> Payment | None:
        """The payment of a top-up whose answer we never got. Lists, because Stripe's search lags behind."""
        since = int((created_from - _CLOCK_SKEW).timestamp())
        until = int((created_from + _CREATION_WINDOW).timestamp())
        page = await self._call(
            "list_payments",
            lambda: self._client.v1.payment_intents.list_async({"created": {"gte": since, "lte": until}, "limit": 100}),
        )
        while True:
            for found in page.data:
                if found.metadata.to_dict().get("top_up_id") == top_up_id:
                    return _read(found)
            if not page.has_more:
                return None
            page = await self._call("list_payments", page.next_page_async)

    async def _payment(self, kind: str, request: Callable[[], Awaitable[Any]]) -> Payment:
        return _read(await self._call(kind, request))

    async def _call(self, kind: str, request: Callable[[], Awaitable[Any]]) -> Any:
        """Raises PaymentRejectedError when Stripe refused for good, PaymentsUnavailableError when nobody knows."""
        self._breaker.admit()
        started, outcome = time.monotonic(), "unknown"
        try:
            with span(f"stripe.{kind}"):
                async with asyncio.timeout(self._seconds):
                    answer = await _patiently(request)
        except (stripe.StripeError, TimeoutError) as failure:
            if is_outage(failure):
                outcome = "outage"
                self._breaker.failed()
            else:
                outcome = "refused"
                self._breaker.worked()
            raise translate(failure) from None
        else:
            outcome = "ok"
            self._breaker.worked()
            return answer
        finally:
            metrics.STRIPE_CALLS.labels(kind, outcome).observe(time.monotonic() - started)


async def _patiently(request: Callable[[], Awaitable[Any]]) -> Any:
    """The SDK repeats what broke on the way, but not what met an object that was locked."""
    for wait in _WAITS_FOR_A_LOCK:
        try:
            return await request()
        except stripe.RateLimitError as failure:
            if not is_locked(failure):
                raise
        await asyncio.sleep(wait.total_seconds())
    return await request()


def _read(payment: Any) -> Payment:
    try:
        return Payment.model_validate(payment.to_dict())
    except ValidationError as error:
        # Named without what was read, which holds the client secret.
        fields = sorted({str(problem["loc"][0]) for problem in error.errors(include_input=False)})
        raise InvariantError(f"Stripe's answer cannot be read: {', '.join(fields)}") from None
