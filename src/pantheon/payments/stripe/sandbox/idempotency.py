"""Idempotency keys, as Stripe keeps them: the first answer to a key is the answer to every later use of it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pantheon.payments.stripe.sandbox.errors import ApiError
from pantheon.payments.stripe.sandbox.params import Pairs
from pantheon.payments.stripe.sandbox.store import Answer, Store

KEPT_SECONDS = 24 * 3_600
MAX_LENGTH = 255


def fingerprint(method: str, path: str, pairs: Pairs) -> str:
    """The same for requests that mean the same: the order of parameters does not matter."""
    return hashlib.sha256(json.dumps([method, path, sorted(pairs)]).encode()).hexdigest()


def key_in_use(key: str | None) -> ApiError:
    return ApiError(
        409,
        "idempotency_error",
        f"There is currently another in-progress request using this Idempotent Key ({key}). Keys can only be used by "
        "one request at a time. Try again, or wait for the original request to complete.",
        code="idempotency_key_in_use",
    )


class Idempotency:
    def __init__(self, store: Store, *, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        # In memory: after a crash nothing is running any more.
        self._running: set[str] = set()

    def saved(self, key: str, fingerprint: str) -> Answer | None:
        """The answer to replay, or None where `key` is new."""
        if len(key) > MAX_LENGTH:
            raise ApiError(400, "invalid_request_error", f"Idempotency keys have at most {MAX_LENGTH} characters.")
        self._store.forget_answers(older_than=self._now() - KEPT_SECONDS)
        answer = self._store.answer(key)
        if answer is not None and answer.fingerprint != fingerprint:
            raise ApiError(
                400,
                "idempotency_error",
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
            )
        return answer

    @contextmanager
    def running(self, key: str | None) -> Iterator[None]:
        """Holds the key while its first request runs; a second one is told so."""
        if key is None:
            yield
            return
        if key in self._running:
            raise key_in_use(key)
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def save(self, key: str, answer: Answer) -> None:
        self._store.save_answer(key, answer, created=self._now())
