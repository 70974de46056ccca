"""The behaviours that the product was first asked for, each by its name, over real HTTP against the sandbox."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.users.rights import Role
from tests.installation import Installation

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_top_up_returns_client_secret_and_credits(installation: Installation) -> None:
    """T-001."""
    ada = await installation.person()

    answer = await installation.top_up(ada, "10.00")

    assert answer.status_code == 201
    body = answer.json()
    assert body["credits_to_grant"] == "333.33"
    assert body["amount_usd"] == "10"
    assert body["currency"] == "usd"
    assert body["livemode"] is False
    assert body["status"] == "awaiting_payment"
    payment = installation.sandbox.payments.find(body["top_up_id"])
    assert (payment["amount"], payment["currency"]) == (1000, "usd")
    assert body["client_secret"] == payment["client_secret"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert await installation.balance(ada) == "0"


@pytest.mark.parametrize("amount", ["0.99", "0", "-10", "0.5"])
async def test_top_up_below_minimum_is_422(installation: Installation, amount: str) -> None:
    """T-002."""
    answer = await installation.top_up(await installation.person(), amount)

    assert answer.status_code == 422
    assert answer.json()["detail"] == "amount_usd must be between 1.00 and 500.00"
    assert list(installation.sandbox.requests) == []
    assert installation.rows("SELECT FROM top_ups") == []


@pytest.mark.parametrize("amount", ["500.01", "501", "99999999999"])
async def test_top_up_above_maximum_is_422(installation: Installation, amount: str) -> None:
    """T-002."""
    answer = await installation.top_up(await installation.person(), amount)

    assert answer.status_code == 422
    assert answer.json()["detail"] == "amount_usd must be between 1.00 and 500.00"
    assert list(installation.sandbox.requests) == []


async def test_top_up_is_503_when_payments_are_not_configured(install: Install) -> None:
    """T-012."""
    async with install(payments=False) as installation:
        answer = await installation.top_up(await installation.person())

        assert answer.status_code == 503
        assert answer.json()["detail"] == "payment not configured"
        assert answer.json()["code"] == "payments_not_configured"
        assert installation.rows("SELECT FROM top_ups") == []


async def test_webhook_grants_the_credits(installation: Installation) -> None:
    """T-030."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada, "10.00")).json()["top_up_id"]

    payment = installation.sandbox.play(top_up_id, "pay")

    await installation.becomes(ada, top_up_id, "credited")
    assert await installation.balance(ada) == "333.33"
    listed = await installation.client.get("/api/v1/users/me/transactions", headers=ada.headers)
    (transaction,) = listed.json()["transactions"]
    assert transaction["kind"] == "grant"
    assert transaction["amount"] == "333.33"
    assert transaction["balance_after"] == "333.33"
    assert transaction["note"] == "stripe_topup"
    assert transaction["reference_id"] == payment["id"]


async def test_the_same_webhook_again_does_not_grant_again(installation: Installation) -> None:
    """T-050."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")
    (event,) = installation.rows("SELECT event_id FROM inbox_events WHERE type = 'payment_intent.succeeded'")

    (delivery,) = await installation.sandbox.resend(event["event_id"])

    assert delivery.state == "delivered"
    await installation.all_events_handled()
    assert await installation.balance(ada) == "333.33"
    (stored,) = installation.rows("SELECT received_count FROM inbox_events WHERE event_id = %s", event["event_id"])
    assert stored["received_count"] == 2
    assert len(installation.rows("SELECT FROM transfers")) == 1


@pytest.mark.parametrize("signature", [None, "", "t=1,v1=00", f"t=1764000000,v1={'0' * 64}"])
async def test_webhook_with_a_bad_signature_is_400(installation: Installation, signature: str | None) -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"}).encode()

    answer = await installation.post_event(body, signature)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "invalid stripe signature"
    assert installation.rows("SELECT FROM inbox_events") == []


async def test_admin_grant_raises_the_balance(installation: Installation) -> None:
    """T-150."""
    owner = await installation.person(Role.OWNER, "owner@example.com")
    ada = await installation.person()

    answer = await installation.client.post(
        f"/api/v1/admin/users/{ada.id}/wallet/grant",
        json={"amount": 100, "note": "Thank you"},
        headers=owner.headers,
    )

    assert answer.status_code == 200
    body = answer.json()
    assert body["user_id"] == str(ada.id)
    assert (body["credits_granted"], body["new_balance"], body["status"]) == ("100", "100", "granted")
    assert await installation.balance(ada) == "100"
    (audited,) = installation.rows("SELECT actor, ip, details FROM audit_log WHERE action = 'grant.posted'")
    assert audited["actor"] == owner.id
    assert audited["ip"] == "127.0.0.1"
    assert audited["details"]["transfer_id"] == body["transaction_id"]
    (noted,) = installation.rows(
        "SELECT note FROM transfer_notes JOIN transfers USING (event_id) WHERE id = %s", body["transaction_id"]
    )
    assert noted["note"] == "Thank you"
