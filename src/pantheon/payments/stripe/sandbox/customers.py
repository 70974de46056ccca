"""Customers, as far as payments need them: who they are is known to the application alone."""

from collections.abc import Callable
from typing import Any

from pantheon.payments.stripe.sandbox import objects
from pantheon.payments.stripe.sandbox.errors import invalid, missing
from pantheon.payments.stripe.sandbox.store import Json, Store


class Customers:
    def __init__(self, store: Store, *, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def create(self, params: dict[str, Any]) -> Json:
        customer = objects.customer(created=self._now(), metadata=checked_metadata(params))
        self._store.put(customer)
        return customer

    def get(self, id: str) -> Json:
        """What is left of a deleted one says no more than that."""
        found = self._store.get("customer", id)
        if found is None:
            raise missing("customer", id)
        return found if not self._store.get_private(id).get("deleted") else objects.deleted(id)

    def delete(self, id: str) -> Json:
        customer = self.get(id)
        if "deleted" in customer:
            raise missing("customer", id)
        self._store.put(customer, private={"deleted": True})
        return objects.deleted(id)

    def check(self, id: str) -> None:
        """That a payment can be made with it."""
        if self._store.get("customer", id) is None or "deleted" in self.get(id):
            raise missing("customer", id, param="customer", status=400)


def checked_metadata(params: dict[str, Any]) -> dict[str, str]:
    metadata = {key: value for key, value in params.get("metadata", {}).items() if value}
    if len(metadata) > 50:
        raise invalid("Metadata can have at most 50 keys.", param="metadata")
    for key, value in metadata.items():
        if len(key) > 40 or len(value) > 500:
            raise invalid("Metadata keys have at most 40 characters and values 500.", param="metadata")
    return metadata
