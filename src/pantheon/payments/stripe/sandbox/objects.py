"""The shapes of Stripe's objects, as its API shows them in the version that the SDK pins."""

import secrets
import string
from typing import Any

from pantheon.money.amounts import format_decimal
from pantheon.money.currencies import CURRENCIES
from pantheon.payments.stripe.sandbox.cards import Decline, Method

Json = dict[str, Any]

_LETTERS = string.ascii_letters + string.digits
_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def new_id(prefix: str) -> str:
    return f"{prefix}_{random_text(24)}"


def random_text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def payment_intent(
    *,
    created: int,
    amount: int,
    currency: str,
    capture_method: str,
    automatic_payment_methods: bool,
    metadata: dict[str, str],
    description: str | None,
    statement_descriptor_suffix: str | None,
    receipt_email: str | None,
    customer: str | None,
) -> Json:
    id = new_id("pi")
    return {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"enabled": True} if automatic_payment_methods else None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": capture_method,
        "client_secret": f"{id}_secret_{random_text(25)}",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": description,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": {"id": "pmc_sandbox", "parent": None}
        if automatic_payment_methods
        else None,
        "payment_method_options": {},
        "payment_method_types": ["card", "us_bank_account"] if currency == "usd" else ["card"],
        "processing": None,
        "receipt_email": receipt_email,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": statement_descriptor_suffix,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def customer(*, created: int, metadata: dict[str, str]) -> Json:
    return {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": random_text(8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": metadata,
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def deleted(id: str) -> Json:
    return {"id": id, "object": "customer", "deleted": True}


def shown_amount(intent: Json) -> str:
    """The amount for people."""
    currency = CURRENCIES.get(intent["currency"])
    if currency is None:  # only a crafted payment has another one
        return f"{intent['amount']} {intent['currency']}"
    amount = format_decimal(intent["amount"], decimals=currency.decimals, least=currency.decimals)
    return f"{amount} {currency.code.upper()}"


_PUBLISHABLE = (
    "id",
    "object",
    "amount",
    "amount_details",
    "automatic_payment_methods",
    "canceled_at",
    "cancellation_reason",
    "capture_method",
    "client_secret",
    "confirmation_method",
    "created",
    "currency",
    "description",
    "last_payment_error",
    "livemode",
    "next_action",
    "payment_method",
    "payment_method_configuration_details",
    "payment_method_types",
    "processing",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "source",
    "status",
)


def for_publishable_key(intent: Json) -> Json:
    """What a browser may see of a payment: neither metadata nor charges."""
    return {name: intent[name] for name in _PUBLISHABLE}


def payment_method(method: Method, *, created: int) -> Json:
    details = _bank_account(method) if method.debit else _card(method)
    kind = "us_bank_account" if method.debit else "card"
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _billing_details(),
        kind: details,
        "created": created,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
    }


def _card(method: Method) -> Json:
    return {
        "brand": method.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": method.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": _fingerprint(method),
        "funding": method.funding,
        "generated_from": None,
        "last4": method.last4,
        "networks": {"available": [method.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _bank_account(method: Method) -> Json:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": _fingerprint(method),
        "last4": method.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }


def _fingerprint(method: Method) -> str:
    """The same for every payment with one card, as Stripe's is."""
    return f"sandbox{method.number[-9:]}"


def _billing_details() -> Json:
    return {"address": dict(_NO_ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None}


def charge(
    *,
    created: int,
    intent: Json,
    payment_method: Json,
    method: Method,
    status: str,
    decline: Decline | None = None,
    authenticated: bool = False,
) -> Json:
    paid = status == "succeeded"
    return {
        "id": new_id("py" if method.debit else "ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        # With capture_method automatic_async the fee is known only later.
        "balance_transaction": None,
        "billing_details": payment_method["billing_details"],
        "calculated_statement_descriptor": " ".join(
            filter(None, ("SANDBOX*", (intent["statement_descriptor_suffix"] or "").upper()))
        )[:22],
        "captured": paid,
        "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": _outcome(decline),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": payment_method["id"],
        "payment_method_details": _payment_method_details(intent, method, authenticated=authenticated),
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }


def settled(charge: Json) -> Json:
    return charge | {"status": "succeeded", "paid": True, "captured": True, "amount_captured": charge["amount"]}


def returned(charge: Json, decline: Decline) -> Json:
    return charge | {
        "status": "failed",
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": _outcome(decline),
    }


def _outcome(decline: Decline | None) -> Json:
    return {
        "advice_code": decline.advice_code if decline else None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": decline.decline_code if decline else None,
        "seller_message": "The bank declined the payment." if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }


def _payment_method_details(intent: Json, method: Method, *, authenticated: bool) -> Json:
    if method.debit:
        account = _bank_account(method)
        del account["financial_connections_account"], account["networks"], account["status_details"]
        return {"type": "us_bank_account", "us_bank_account": account | {"mandate": None, "payment_reference": None}}
    card = _card(method)
    for name in ("display_brand", "generated_from", "networks", "three_d_secure_usage"):
        del card[name]
    card |= {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": method.brand,
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "three_d_secure": _three_d_secure() if authenticated else None,
        "transaction_link_id": None,
    }
    return {"card": card, "type": "card"}


def _three_d_secure() -> Json:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": None,
        "version": "2.2.0",
    }


def card_error(decline: Decline, *, charge_id: str, payment_method: Json) -> Json:
    """The `last_payment_error` after a decline; it is the `error` of the answer too."""
    return {
        "advice_code": decline.advice_code,
        "charge": charge_id,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        **({"param": decline.param} if decline.param else {}),
        "payment_method": payment_method,
        "type": "card_error",
    }


def authentication_error(payment_method: Json) -> Json:
    return {
        "code": "payment_intent_authentication_failure",
        "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
        "message": "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
        "PaymentMethod to attempt to fulfill this PaymentIntent again.",
        "payment_method": payment_method,
        "type": "invalid_request_error",
    }


def webhook_endpoint(index: int, *, url: str, api_version: str) -> Json:
    return {
        "id": f"we_sandbox{index}",
        "object": "webhook_endpoint",
        "api_version": api_version,
        "application": None,
        "created": 1_700_000_000,
        "description": None,
        "enabled_events": ["*"],
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }


def account(id: str) -> Json:
    return {
        "id": id,
        "object": "account",
        "business_profile": {"name": "Pantheon sandbox", "support_email": None, "support_url": None, "url": None},
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {
            "dashboard": {"display_name": "Pantheon sandbox", "timezone": "Etc/UTC"},
            "payments": {"statement_descriptor": "SANDBOX"},
        },
        "type": "standard",
    }


def event(*, type: str, data: Json, created: int, api_version: str, cause: Json, endpoints: int) -> Json:
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": api_version,
        "created": created,
        "data": {"object": data},
        "livemode": False,
        "pending_webhooks": endpoints,
        "request": cause,
        "type": type,
    }


def list_of(objects: list[Json], *, url: str, has_more: bool) -> Json:
    return {"object": "list", "data": objects, "has_more": has_more, "url": url}
