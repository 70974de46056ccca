"""Stops calling Stripe for a while once it has failed several times in a row, so that nobody waits for nothing."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from pantheon import clock, metrics
from pantheon.errors import PaymentsUnavailableError

_logger = structlog.get_logger(__name__)


class Breaker:
    """Of one process, in memory: each process finds out by itself, and a restart begins anew."""

    def __init__(
        self,
        *,
        failures: int = 5,
        pause: timedelta = timedelta(seconds=30),
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._limit = failures
        self._pause = pause
        self._now = now
        self._failures = 0
        self._paused_until = now()

    def admit(self) -> None:
        """Raises PaymentsUnavailableError during a pause. After it one call is let through to see how things are."""
        if self._failures < self._limit:
            return
        now = self._now()
        if now < self._paused_until:
            raise PaymentsUnavailableError(retry_after=(self._paused_until - now).seconds + 1)
        # The others go on waiting, for one more pause at most: the call that was let through may never come back.
        self._paused_until = now + self._pause

    def worked(self) -> None:
        self._failures = 0
        metrics.STRIPE_PAUSED.set(0)

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._paused_until = self._now() + self._pause
            metrics.STRIPE_PAUSED.set(1)
            _logger.error("stripe_calls_paused", failures=self._failures, seconds=self._pause.seconds)
