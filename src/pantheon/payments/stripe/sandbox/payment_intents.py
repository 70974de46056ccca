"""The life of a PaymentIntent, as a table, and what each step does to the payment, its charge and the events."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pantheon.money.amounts import format_decimal
from pantheon.money.currencies import CURRENCIES, MAX_MINOR, Currency
from pantheon.payments.stripe.sandbox import objects
from pantheon.payments.stripe.sandbox.cards import RETURNED_DEBIT, Decline, Method, find_method
from pantheon.payments.stripe.sandbox.customers import Customers, checked_metadata
from pantheon.payments.stripe.sandbox.errors import ApiError, invalid, missing, unexpected_state
from pantheon.payments.stripe.sandbox.events import Cause, Events
from pantheon.payments.stripe.sandbox.store import Json, Store

MIN_MINOR = 50


class Status(StrEnum):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class Step(StrEnum):
    CONFIRM = "confirm"
    """The payer chose a payment method."""
    AUTHENTICATE = "authenticate"
    """The payer passed the bank's challenge."""
    FAIL_AUTHENTICATION = "fail_authentication"
    SETTLE = "settle"
    """The bank debited the account."""
    RETURN = "return"
    """The bank returned the debit."""
    CANCEL = "cancel"


_TRIED = frozenset({Status.SUCCEEDED, Status.REQUIRES_ACTION, Status.PROCESSING, Status.REQUIRES_PAYMENT_METHOD})

TRANSITIONS: dict[tuple[Status, Step], frozenset[Status]] = {
    (Status.REQUIRES_PAYMENT_METHOD, Step.CONFIRM): _TRIED,
    # A payer who left the challenge may come back with another card.
    (Status.REQUIRES_ACTION, Step.CONFIRM): _TRIED,
    (Status.REQUIRES_ACTION, Step.AUTHENTICATE): frozenset({Status.SUCCEEDED, Status.REQUIRES_PAYMENT_METHOD}),
    (Status.REQUIRES_ACTION, Step.FAIL_AUTHENTICATION): frozenset({Status.REQUIRES_PAYMENT_METHOD}),
    (Status.PROCESSING, Step.SETTLE): frozenset({Status.SUCCEEDED}),
    (Status.PROCESSING, Step.RETURN): frozenset({Status.REQUIRES_PAYMENT_METHOD}),
    (Status.REQUIRES_PAYMENT_METHOD, Step.CANCEL): frozenset({Status.CANCELED}),
    (Status.REQUIRES_ACTION, Step.CANCEL): frozenset({Status.CANCELED}),
    (Status.PROCESSING, Step.CANCEL): frozenset({Status.CANCELED}),
}
"""Where each step may lead. A pair that is not listed is refused. A paid or canceled payment never changes."""


class PaymentIntents:
    def __init__(
        self, store: Store, events: Events, customers: Customers, *, base_url: str, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._events = events
        self._customers = customers
        self._base_url = base_url
        self._now = now

    def get(self, id: str, *, param: str = "intent") -> Json:
        intent = self._store.get("payment_intent", id)
        if intent is None:
            raise missing("payment_intent", id, param=param)
        if intent["next_action"] is not None:
            # The sandbox may have been started at another address since the challenge was made.
            private = self._store.get_private(id)
            intent["next_action"]["redirect_to_url"]["url"] = self._challenge_url(id, private["challenge"])
        return intent

    def find(self, reference: str) -> Json:
        """A payment by its id, or by what the application calls it in its metadata."""
        if not reference.startswith("pi_") and (found := self._store.find_by_metadata("payment_intent", reference)):
            reference = found["id"]
        return self.get(reference)

    def create(self, params: dict[str, Any], cause: Cause) -> Json:
        currency = params["currency"].lower()
        if currency not in CURRENCIES:
            raise invalid(f"Invalid currency: {currency}. The sandbox takes {', '.join(CURRENCIES)}.", param="currency")
        _check_amount(params["amount"], CURRENCIES[currency])
        metadata = checked_metadata(params)
        if "customer" in params:
            self._customers.check(params["customer"])
        intent = objects.payment_intent(
            created=self._now(),
            amount=params["amount"],
            currency=currency,
            capture_method=params.get("capture_method", "automatic_async"),
            automatic_payment_methods=params.get("automatic_payment_methods[enabled]", True),
            metadata=metadata,
            description=params.get("description"),
            statement_descriptor_suffix=params.get("statement_descriptor_suffix"),
            receipt_email=params.get("receipt_email"),
            customer=params.get("customer"),
        )
        self._store.put(intent)
        self._events.emit("payment_intent.created", intent, cause)
        return intent

    def confirm(self, id: str, params: dict[str, Any], cause: Cause) -> Json:
        """Tries to pay. A decline raises the card error, after it was noted on the payment."""
        intent = self.get(id)
        self._check_step(intent, Step.CONFIRM)
        name = params.get("payment_method")
        if name is None:
            raise unexpected_state(
                "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update "
                "the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with "
                "a payment method or ConfirmationToken.",
                intent,
            )
        method = find_method(name)
        if method is None:
            raise missing("PaymentMethod", name, param="payment_method", status=400)
        if method.debit and "us_bank_account" not in intent["payment_method_types"]:
            raise invalid(
                "The PaymentMethod provided (us_bank_account) is not allowed for this PaymentIntent.",
                param="payment_method",
            )
        return_url = params.get("return_url")
        if return_url is None and intent["automatic_payment_methods"] is not None:
            raise invalid(
                "A `return_url` must be specified because this Payment Intent is configured to automatically accept "
                "the payment methods enabled in the Dashboard, some of which may require a full page redirect to "
                "succeed.",
                param="return_url",
            )
        return self._try(intent, method, return_url or f"{self._base_url}/done", cause)

    def _try(self, intent: Json, method: Method, return_url: str, cause: Cause) -> Json:
        payment_method = objects.payment_method(method, created=self._now())
        self._store.put(payment_method, private={"method": method.name})
        intent |= {"payment_method": payment_method["id"], "last_payment_error": None, "next_action": None}
        if method.challenge:
            challenge = objects.random_text(32)
            url = self._challenge_url(intent["id"], challenge)
            intent["next_action"] = {
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": return_url, "url": url},
            }
            # Kept apart too: the page must still know the way back after the challenge was answered.
            self._store.put(intent, private={"challenge": challenge, "return_url": return_url})
            return self._move(intent, Step.CONFIRM, Status.REQUIRES_ACTION, cause, event="requires_action")
        if method.debit:
            charge = self._charge(intent, method, "pending", cause)
            intent["latest_charge"] = charge["id"]
            return self._move(intent, Step.CONFIRM, Status.PROCESSING, cause, event="processing")
        if method.decline:
            self._decline(intent, Step.CONFIRM, method, method.decline, cause)
            raise _card_error(intent)
        charge = self._charge(intent, method, "succeeded", cause)
        return self._succeed(intent, Step.CONFIRM, charge, cause)

    def answer_challenge(self, id: str, *, passed: bool) -> Json:
        """The payer's answer to the bank. A decline afterwards is noted on the payment, not raised."""
        intent = self.get(id)
        step = Step.AUTHENTICATE if passed else Step.FAIL_AUTHENTICATION
        self._check_step(intent, step)
        intent["next_action"] = None
        cause = Cause()
        method = self._method_of(intent)
        if not passed:
            error = objects.authentication_error(self._payment_method_of(intent))
            return self._fail(intent, step, error, cause)
        if method.decline:
            return self._decline(intent, step, method, method.decline, cause)
        charge = self._charge(intent, method, "succeeded", cause, authenticated=True)
        return self._succeed(intent, step, charge, cause)

    def settle(self, id: str) -> Json:
        intent = self.get(id)
        self._check_step(intent, Step.SETTLE)
        charge = objects.settled(self._charge_of(intent))
        cause = Cause()
        self._store.put(charge)
        self._events.emit("charge.succeeded", charge, cause)
        return self._succeed(intent, Step.SETTLE, charge, cause)

    def return_debit(self, id: str) -> Json:
        intent = self.get(id)
        self._check_step(intent, Step.RETURN)
        charge = objects.returned(self._charge_of(intent), RETURNED_DEBIT)
        cause = Cause()
        self._store.put(charge)
        self._events.emit("charge.failed", charge, cause)
        error = objects.card_error(
            RETURNED_DEBIT, charge_id=charge["id"], payment_method=self._payment_method_of(intent)
        )
        return self._fail(intent, Step.RETURN, error, cause)

    def cancel(self, id: str, params: dict[str, Any], cause: Cause) -> Json:
        intent = self.get(id)
        self._check_step(intent, Step.CANCEL)
        intent |= {
            "canceled_at": self._now(),
            "cancellation_reason": params.get("cancellation_reason"),
            "next_action": None,
        }
        return self._move(intent, Step.CANCEL, Status.CANCELED, cause, event="canceled")

    def way_back(self, id: str, challenge: str) -> str | None:
        """Where the payer goes after the challenge; None where there never was such a challenge."""
        if self._store.get("payment_intent", id) is None:
            return None
        private = self._store.get_private(id)
        return private["return_url"] if private.get("challenge") == challenge else None

    def _charge(
        self, intent: Json, method: Method, status: str, cause: Cause, *, authenticated: bool = False, **extras: Any
    ) -> Json:
        charge = objects.charge(
            created=self._now(),
            intent=intent,
            payment_method=self._payment_method_of(intent),
            method=method,
            status=status,
            authenticated=authenticated,
            **extras,
        )
        self._store.put(charge)
        self._events.emit(f"charge.{status}", charge, cause)
        return charge

    def _succeed(self, intent: Json, step: Step, charge: Json, cause: Cause) -> Json:
        intent |= {"latest_charge": charge["id"], "amount_received": intent["amount"]}
        return self._move(intent, step, Status.SUCCEEDED, cause, event="succeeded")

    def _decline(self, intent: Json, step: Step, method: Method, decline: Decline, cause: Cause) -> Json:
        charge = self._charge(intent, method, "failed", cause, decline=decline)
        error = objects.card_error(decline, charge_id=charge["id"], payment_method=self._payment_method_of(intent))
        intent["latest_charge"] = charge["id"]
        return self._fail(intent, step, error, cause)

    def _fail(self, intent: Json, step: Step, error: Json, cause: Cause) -> Json:
        intent |= {"last_payment_error": error, "payment_method": None}
        return self._move(intent, step, Status.REQUIRES_PAYMENT_METHOD, cause, event="payment_failed")

    def _move(self, intent: Json, step: Step, to: Status, cause: Cause, *, event: str) -> Json:
        assert to in TRANSITIONS[Status(intent["status"]), step]
        intent["status"] = to.value
        self._store.put(intent)
        self._events.emit(f"payment_intent.{event}", intent, cause)
        return intent

    def _check_step(self, intent: Json, step: Step) -> None:
        if (intent["status"], step) in TRANSITIONS:
            return
        if step is Step.CONFIRM and intent["status"] == Status.SUCCEEDED:
            reason = "it has already succeeded after being previously confirmed."
        elif step is Step.CANCEL:
            reason = (
                f"it has a status of {intent['status']}. Only a PaymentIntent with one of the following statuses may "
                "be canceled: requires_payment_method, requires_capture, requires_confirmation, requires_action, "
                "processing."
            )
        else:
            reason = f"it has a status of {intent['status']}."
        raise unexpected_state(f"You cannot {step.replace('_', ' ')} this PaymentIntent because {reason}", intent)

    def _payment_method_of(self, intent: Json) -> Json:
        found = self._store.get("payment_method", intent["payment_method"])
        assert found is not None
        return found

    def _charge_of(self, intent: Json) -> Json:
        found = self._store.get("charge", intent["latest_charge"])
        assert found is not None
        return found

    def _method_of(self, intent: Json) -> Method:
        method = find_method(self._store.get_private(intent["payment_method"])["method"])
        assert method is not None
        return method

    def _challenge_url(self, id: str, challenge: str) -> str:
        return f"{self._base_url}/challenge/{id}/{challenge}"


def _card_error(intent: Json) -> ApiError:
    error = intent["last_payment_error"]
    extras = {name: value for name, value in error.items() if name not in ("type", "message", "code", "doc_url")}
    return ApiError(
        402, error["type"], error["message"], code=error["code"], saved=True, payment_intent=intent, **extras
    )


def _check_amount(amount: int, currency: Currency) -> None:
    def shown(minor: int) -> str:
        decimals = currency.decimals
        return f"{format_decimal(minor, decimals=decimals, least=decimals)} {currency.code}"

    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount"
        )
    if amount < MIN_MINOR:
        raise invalid(f"Amount must be at least {shown(MIN_MINOR)}", code="amount_too_small", param="amount")
    if amount > MAX_MINOR:
        raise invalid(f"Amount must be no more than {shown(MAX_MINOR)}", code="amount_too_large", param="amount")
