"""Our objects against the example objects that Stripe publishes with its OpenAPI description.

STRIPE_FIXTURES names that file: openapi/fixtures3.json of https://github.com/stripe/openapi. It is not part of this
repository. Keys must be the same but for those listed here, and so must JSON types, where null fits everything.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.payments.sandbox.conftest import confirm, open_payment

PUBLISHED = os.environ.get("STRIPE_FIXTURES")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    pytest.mark.skipif(PUBLISHED is None, reason="STRIPE_FIXTURES does not name Stripe's example objects"),
]

LEFT_OUT = {
    # Shown only when expanded, since 2022-11-15.
    "charge.refunds",
    # Of the account we serve who it is and what it may do.
    "account.external_accounts",
    "account.future_requirements",
    "account.requirements",
    "account.tos_acceptance",
    "account.business_profile.*",
    "account.settings.*",
}

OURS_ONLY = {
    # The published examples give no more of these than their type.
    "payment_intent.last_payment_error.*",
    "payment_intent.next_action.redirect_to_url",
}


@pytest.fixture
def published() -> dict[str, Any]:
    assert PUBLISHED is not None
    resources: dict[str, Any] = json.loads(Path(PUBLISHED).read_text())["resources"]
    return resources


@pytest.fixture(params=["pm_card_visa", "pm_card_threeDSecure2Required", "pm_card_chargeDeclined", None])
async def payment(request: pytest.FixtureRequest, client: stripe.StripeClient) -> dict[str, Any]:
    opened = await open_payment(client, statement_descriptor_suffix="CREDITS", receipt_email="ada@example.com")
    if request.param is not None:
        try:
            await confirm(client, opened.id, request.param)
        except stripe.CardError:
            assert request.param == "pm_card_chargeDeclined"
    found: dict[str, Any] = (await client.v1.payment_intents.retrieve_async(opened.id)).to_dict()
    return found


async def test_a_payment_looks_as_published(payment: dict[str, Any], published: dict[str, Any]) -> None:
    assert differences("payment_intent", payment, published["payment_intent"]) == []


async def test_a_charge_and_its_payment_method_look_as_published(
    payment: dict[str, Any], published: dict[str, Any], client: stripe.StripeClient
) -> None:
    if payment["latest_charge"] is not None:
        charge = (await client.v1.charges.retrieve_async(payment["latest_charge"])).to_dict()
        assert differences("charge", charge, published["charge"]) == []
    if payment["last_payment_error"] is not None:
        method = payment["last_payment_error"]["payment_method"]
        assert differences("payment_method", method, published["payment_method"]) == []


async def test_an_event_looks_as_published(
    payment: dict[str, Any], published: dict[str, Any], client: stripe.StripeClient
) -> None:
    for event in (await client.v1.events.list_async()).data:
        ours = event.to_dict()
        theirs = published["event"] | {"data": {"object": ours["data"]["object"]}}
        assert differences("event", ours, theirs) == []
        snapshot = ours["data"]["object"]
        kind = snapshot["object"]
        assert differences(kind, snapshot, published[kind]) == []


async def test_the_account_looks_as_published(client: stripe.StripeClient, published: dict[str, Any]) -> None:
    account = (await client.v1.accounts.retrieve_current_async()).to_dict()
    assert differences("account", account, published["account"]) == []


def test_a_difference_would_be_found() -> None:
    theirs = {"a": 1, "b": {"c": "text", "d": None}, "e": [{"f": True}]}
    assert differences("x", theirs, theirs) == []
    assert differences("x", {"a": 1, "b": {"c": "text", "d": 5}, "e": []}, theirs) == []
    ours = {"a": True, "b": {"c": 2, "z": None}, "e": [{"f": 1}]}
    assert differences("x", ours, theirs) == [
        "x.a: bool, published int",
        "x.b.c: int, published str",
        "x.b.d: missing",
        "x.b.z: not published",
        "x.e[]: x.e[].f: int, published bool",
    ]


def differences(where: str, ours: Any, theirs: Any) -> list[str]:
    if ours is None or theirs is None:
        return []
    if type(ours) is not type(theirs):
        return [f"{where}: {type(ours).__name__}, published {type(theirs).__name__}"]
    if isinstance(ours, dict):
        if where.endswith(".metadata"):
            return []  # its keys are the caller's
        found = []
        for key in sorted(ours.keys() | theirs.keys()):
            here = f"{where}.{key}"
            if key not in ours:
                found += [] if _listed(here, LEFT_OUT) else [f"{here}: missing"]
            elif key not in theirs:
                found += [] if _listed(here, OURS_ONLY) else [f"{here}: not published"]
            else:
                found += differences(here, ours[key], theirs[key])
        return found
    if isinstance(ours, list) and ours and theirs:
        return [f"{where}[]: {problem}" for item in ours for problem in differences(f"{where}[]", item, theirs[0])]
    return []


def _listed(here: str, names: set[str]) -> bool:
    parts = here.split(".")
    return here in names or any(".".join([*parts[:length], "*"]) in names for length in range(1, len(parts)))
