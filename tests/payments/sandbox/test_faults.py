"""Idempotency keys and Stripe's bad days, and what the official SDK makes of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import stripe

from pantheon.payments.stripe.sandbox import Sandbox, Switch
from tests.payments.sandbox.conftest import RETURN_URL, Connect, Stage, confirm, open_payment

# The SDK uses an argument that the httpx of today warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

KEY = "topup-create-019a"
PARAMS = {"amount": "1000", "currency": "usd", "metadata[top_up_id]": "019a"}


def http(sandbox: Sandbox) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=sandbox.base_url, headers={"Authorization": f"Bearer {sandbox.secret_key}"}, timeout=10
    )


async def create(client: httpx2.AsyncClient, key: str = KEY, **changes: str) -> httpx2.Response:
    return await client.post("/v1/payment_intents", data=PARAMS | changes, headers={"Idempotency-Key": key})


def count(sandbox: Sandbox) -> int:
    return sandbox.store.count("payment_intent")


async def create_with(client: stripe.StripeClient, key: str = KEY, **changes: Any) -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async(
        {"amount": 1000, "currency": "usd", **changes}, {"idempotency_key": key}
    )


async def test_the_same_key_gives_the_first_answer_again(sandbox: Sandbox) -> None:
    async with http(sandbox) as client:
        first, again, other = await create(client), await create(client), await create(client, "other")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json() != other.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert count(sandbox) == 2


async def test_the_order_of_parameters_does_not_matter(sandbox: Sandbox) -> None:
    async with http(sandbox) as client:
        first = await create(client)
        turned = await client.post(
            "/v1/payment_intents", data=dict(reversed(PARAMS.items())), headers={"Idempotency-Key": KEY}
        )
    assert turned.json()["id"] == first.json()["id"]


async def test_the_same_key_with_other_parameters_is_refused(client: stripe.StripeClient, sandbox: Sandbox) -> None:
    await create_with(client)
    with pytest.raises(stripe.IdempotencyError) as caught:
        await create_with(client, amount=2000)
    assert caught.value.http_status == 400
    assert (caught.value.code, caught.value.error.type) == (None, "idempotency_error")
    assert count(sandbox) == 1


async def test_the_same_key_for_another_operation_is_refused(client: stripe.StripeClient) -> None:
    payment = await create_with(client)
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.payment_intents.cancel_async(payment.id, {}, {"idempotency_key": KEY})


async def test_a_replayed_answer_is_that_of_the_first_moment(client: stripe.StripeClient) -> None:
    payment = await create_with(client)
    await confirm(client, payment.id)
    assert (await create_with(client)).status == "requires_payment_method"


async def test_a_decline_is_kept_and_a_mistake_is_not(client: stripe.StripeClient, sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await create_with(client, amount=1)
    payment = await create_with(client)  # the same key, corrected
    options: Any = {"idempotency_key": "confirm-1"}
    params: Any = {"payment_method": "pm_card_chargeDeclined", "return_url": RETURN_URL}
    charges = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            await client.v1.payment_intents.confirm_async(payment.id, params, options)
        charges.append(caught.value.error.charge)
    assert charges[0] == charges[1]
    assert sandbox.store.count("charge") == 1


async def test_a_key_is_forgotten_after_24_hours(stage: Stage, connect: Connect) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with stage.sandbox(now=lambda: moment) as sandbox:
        client = connect(sandbox)
        first = await create_with(client)
        moment += timedelta(hours=23, minutes=59)
        assert (await create_with(client)).id == first.id
        moment += timedelta(minutes=2)
        assert (await create_with(client)).id != first.id


async def test_a_key_has_at_most_255_characters(client: stripe.StripeClient) -> None:
    await create_with(client, "k" * 255)
    with pytest.raises(stripe.InvalidRequestError):
        await create_with(client, "k" * 256)


async def test_concurrent_requests_with_one_key_make_one_payment(sandbox: Sandbox) -> None:
    sandbox.switches.add(Switch(name="hang", ms=60_000))
    async with http(sandbox) as client:
        first = asyncio.create_task(create(client))
        while not sandbox.requests:
            await asyncio.sleep(0.005)
        others = await asyncio.gather(*(create(client) for _ in range(5)))
        assert {other.status_code for other in others} == {409}
        assert {other.json()["error"]["code"] for other in others} == {"idempotency_key_in_use"}
        sandbox.switches.clear()
        made = await first
        assert made.status_code == 200
        assert (await create(client)).json() == made.json()
    assert count(sandbox) == 1


@pytest.mark.parametrize("work", [True, False])
async def test_a_saved_500_is_replayed_whether_or_not_the_work_was_done(
    sandbox: Sandbox, connect: Connect, work: bool
) -> None:
    sandbox.switches.add(Switch(name="fail", work=work))
    for retries in (2, 0):
        with pytest.raises(stripe.APIError) as caught:
            await create_with(connect(sandbox, max_network_retries=retries))
        assert (caught.value.http_status, caught.value.code) == (500, None)
    assert [request["status"] for request in sandbox.requests] == [500] * 4
    assert count(sandbox) == (1 if work else 0)
    async with http(sandbox) as raw:
        replayed = await raw.post(
            "/v1/payment_intents", data={"amount": "1000", "currency": "usd"}, headers={"Idempotency-Key": KEY}
        )
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (500, "true")


ONCE = [
    Switch(name="fail", saved=False),
    Switch(name="fail", saved=False, work=False),
    Switch(name="key_in_use"),
    Switch(name="lose_request"),
    Switch(name="lose_answer"),
]


@pytest.mark.parametrize("switch", ONCE, ids=lambda switch: switch.name)
async def test_the_sdk_retries_with_one_key_when_told_to(sandbox: Sandbox, connect: Connect, switch: Switch) -> None:
    sandbox.switches.add(switch)
    payment = await create_with(connect(sandbox, max_network_retries=2))
    assert payment.amount == 1000
    assert len(sandbox.requests) == 2
    assert {request["idempotency_key"] for request in sandbox.requests} == {KEY}
    assert count(sandbox) == 1


@pytest.mark.parametrize(
    ("switch", "error", "code"),
    [
        (Switch(name="fail", saved=False), stripe.APIError, None),
        (Switch(name="key_in_use"), stripe.APIError, "idempotency_key_in_use"),
        (Switch(name="lose_answer"), stripe.APIConnectionError, None),
    ],
    ids=["fail", "key_in_use", "lose_answer"],
)
async def test_the_sdk_does_not_retry_unless_told_to(
    client: stripe.StripeClient, sandbox: Sandbox, switch: Switch, error: type[stripe.StripeError], code: str | None
) -> None:
    sandbox.switches.add(switch)
    with pytest.raises(error) as caught:
        await create_with(client)
    assert type(caught.value) is error
    assert caught.value.code is None
    assert (caught.value.error.code if caught.value.error else None) == code
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("code", ["lock_timeout", None])
async def test_the_sdk_never_retries_a_429_and_the_key_stays_free(
    sandbox: Sandbox, connect: Connect, code: Any
) -> None:
    client = connect(sandbox, max_network_retries=2)
    sandbox.switches.add(Switch(name="rate_limit", code=code))
    with pytest.raises(stripe.RateLimitError) as caught:
        await create_with(client)
    assert (caught.value.http_status, caught.value.code) == (429, None)
    assert caught.value.error.code == (code or "rate_limit")
    assert len(sandbox.requests) == 1
    await create_with(client)
    assert count(sandbox) == 1


async def test_the_rate_limiter_comes_before_a_saved_answer(sandbox: Sandbox) -> None:
    async with http(sandbox) as client:
        await create(client)
        sandbox.switches.add(Switch(name="rate_limit"))
        assert (await create(client)).status_code == 429


async def test_a_hanging_answer_is_given_up_by_the_client_and_done_later(sandbox: Sandbox, connect: Connect) -> None:
    sandbox.switches.add(Switch(name="hang", ms=60_000))
    with pytest.raises(stripe.APIConnectionError):
        await create_with(connect(sandbox, timeout=0.2))
    assert count(sandbox) == 0
    sandbox.switches.clear()
    async with asyncio.timeout(5):
        while count(sandbox) == 0:
            await asyncio.sleep(0.005)
    assert (await create_with(connect(sandbox))).amount == 1000
    assert count(sandbox) == 1


async def test_switches_are_met_in_their_order_by_what_they_match(
    client: stripe.StripeClient, sandbox: Sandbox
) -> None:
    sandbox.switches.add(Switch(name="fail", on="POST */cancel"))
    sandbox.switches.add(Switch(name="rate_limit", on="GET *", times=2))
    payment = await open_payment(client)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            await client.v1.payment_intents.retrieve_async(payment.id)
    await client.v1.payment_intents.retrieve_async(payment.id)
    with pytest.raises(stripe.APIError):
        await client.v1.payment_intents.cancel_async(payment.id)
    assert (await client.v1.payment_intents.cancel_async(payment.id)).status == "canceled"
    assert sandbox.switches.active == []
