"""A look at the account and its webhook endpoints that changes nothing, for `pantheon doctor`."""

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import stripe

from pantheon import clock
from pantheon.payments.stripe.client import API_VERSION


class InspectionError(Exception):
    """Stripe did not tell. The message says what to do, and holds nothing of what was sent."""


class NotAllowedError(InspectionError):
    """A restricted key, as it should be, may not read this."""


@dataclass(frozen=True)
class Endpoint:
    url: str
    enabled: bool
    api_version: str | None
    """None renders events in the account's own version."""
    events: frozenset[str]

    def problems(self, *, used: Collection[str], needs_https: bool = True) -> list[str]:
        found = []
        if not self.enabled:
            found.append("it is disabled: enable it at Stripe, then let the missed events be sent again")
        if needs_https and not self.url.startswith("https://"):
            found.append("its address does not begin with https")
        if self.api_version is not None and self.api_version != API_VERSION:
            found.append(f"it renders events in version {self.api_version}: create it anew with {API_VERSION}")
        if "*" not in self.events and (missing := sorted(set(used) - self.events)):
            found.append(f"it does not send {', '.join(missing)}")
        return found


@dataclass(frozen=True)
class Account:
    id: str
    charges_enabled: bool
    skew_seconds: int | None
    """How far this machine's clock is ahead of Stripe's; None where the answer had no date."""


class Inspector:
    """A client of its own, without the breaker and with every failure told: for a person who asks what is wrong."""

    def __init__(self, key: str, *, api_base: str | None, timeout_seconds: int) -> None:
        self._seconds = timeout_seconds
        self._http = stripe.HTTPXClient(timeout=timeout_seconds)
        self._api = stripe.StripeClient(
            key, http_client=self._http, base_addresses={"api": api_base} if api_base else {}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def account(self) -> Account:
        asked = clock.now()
        answer = await self._ask("Account", self._api.v1.accounts.retrieve_current_async())
        return Account(
            id=answer.id,
            charges_enabled=bool(answer.to_dict().get("charges_enabled")),
            skew_seconds=skew(answer.last_response.headers.get("date"), asked=asked, answered=clock.now()),
        )

    async def endpoints(self) -> list[Endpoint]:
        page = await self._ask("Webhook Endpoints", self._api.v1.webhook_endpoints.list_async({"limit": 100}))
        return [
            Endpoint(found.url, found.status == "enabled", found.api_version, frozenset(found.enabled_events))
            for found in page.data
        ]

    async def _ask(self, resource: str, request: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                return await request
        except stripe.AuthenticationError:
            raise InspectionError("Stripe refuses STRIPE_SECRET_KEY: set the one that its dashboard shows") from None
        except stripe.PermissionError:
            raise NotAllowedError(f"this restricted key may not read {resource}: allow it, or look by hand") from None
        except (stripe.StripeError, TimeoutError) as failure:
            raise InspectionError(f"Stripe did not answer ({type(failure).__name__}): try again") from None


def skew(date: str | None, *, asked: datetime, answered: datetime) -> int | None:
    """Seconds that this machine is ahead of an HTTP `Date`, which has no fractions; None where it cannot be read."""
    try:
        return clock.seconds_ahead(parsedate_to_datetime(date or ""), asked=asked, answered=answered)
    except (ValueError, TypeError):
        return None
