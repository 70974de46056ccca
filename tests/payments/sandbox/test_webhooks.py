"""Webhooks: what is sent, signed, retried, lost, doubled, late and out of order."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import stripe

from pantheon.payments.stripe.sandbox import Crafted, Endpoint, Sandbox, Switch
from tests.payments.sandbox.conftest import (
    OTHER_SECRET,
    SECRET,
    Connect,
    Shop,
    Stage,
    address_of,
    confirm,
    database_at,
    listening_socket,
    open_payment,
    until,
)

# The SDK uses an argument that the httpx of today warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


async def test_each_step_of_a_payment_is_told(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    client = connect(shop_sandbox)
    opened = await open_payment(client)
    with pytest.raises(stripe.CardError):
        await confirm(client, opened.id, "pm_card_chargeDeclined")
    await confirm(client, opened.id, "pm_card_authenticationRequired")
    shop_sandbox.play(opened.id, "pay")
    debit = await open_payment(client)
    await confirm(client, debit.id, "pm_usBankAccount_success")
    shop_sandbox.play(debit.id, "settle")
    canceled = await open_payment(client)
    await client.v1.payment_intents.cancel_async(canceled.id)

    def told(id: str) -> list[str]:
        listed = shop_sandbox.store.page("event", limit=100)[0][::-1]
        return [
            e["type"] for e in listed if id in (e["data"]["object"]["id"], e["data"]["object"].get("payment_intent"))
        ]

    assert told(opened.id) == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    assert told(debit.id) == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    assert told(canceled.id) == ["payment_intent.created", "payment_intent.canceled"]
    await until(lambda: len(shop.bodies) == 13)


async def test_the_sdk_accepts_the_signature_and_no_other(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    payment = await open_payment(connect(shop_sandbox))
    await until(lambda: len(shop.bodies) == 1)
    event = stripe.Webhook.construct_event(shop.bodies[0], shop.headers[0], SECRET)
    assert (event.type, event.api_version, event.livemode) == ("payment_intent.created", stripe.api_version, False)
    assert event.data.object["id"] == payment.id
    for body, secret in ((shop.bodies[0] + b" ", SECRET), (shop.bodies[0], OTHER_SECRET)):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, shop.headers[0], secret)


async def test_an_event_names_the_request_that_caused_it(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    client = connect(shop_sandbox)
    await client.v1.payment_intents.create_async({"amount": 1000, "currency": "usd"}, {"idempotency_key": "k1"})
    await until(lambda: len(shop.bodies) == 1)
    request = shop.events[0]["request"]
    assert request["idempotency_key"] == "k1"
    assert request["id"] == shop_sandbox.requests[0]["id"]


async def test_while_a_secret_rolls_both_sign(stage: Stage, shop: Shop, connect: Connect) -> None:
    url = await stage.open_shop()
    async with stage.sandbox(webhook_url=url, webhook_secrets=[OTHER_SECRET, SECRET]) as sandbox:
        await open_payment(connect(sandbox))
        await until(lambda: len(shop.bodies) == 1)
    assert shop.headers[0].count("v1=") == 2
    for secret in (SECRET, OTHER_SECRET):
        stripe.Webhook.construct_event(shop.bodies[0], shop.headers[0], secret)


async def test_each_endpoint_gets_each_event_with_its_own_secret(stage: Stage, shop: Shop, connect: Connect) -> None:
    url = await stage.open_shop()
    async with stage.sandbox(webhook_url=url) as sandbox:
        sandbox.endpoints.append(Endpoint(url, [OTHER_SECRET]))
        await open_payment(connect(sandbox))
        await until(lambda: len(shop.bodies) == 2)
    assert shop.bodies[0] == shop.bodies[1]
    accepted = 0
    for header in shop.headers:
        for secret in (SECRET, OTHER_SECRET):
            try:
                stripe.Webhook.construct_event(shop.bodies[0], header, secret)
                accepted += 1
            except stripe.SignatureVerificationError:
                pass
    assert accepted == 2


@pytest.mark.parametrize("answers", [[500, 503, 400], [302, 307]])
async def test_a_webhook_is_repeated_until_it_is_accepted(
    shop_sandbox: Sandbox, shop: Shop, connect: Connect, answers: list[int]
) -> None:
    shop.answers = list(answers)
    client = connect(shop_sandbox)
    await open_payment(client)
    await until(lambda: shop_sandbox.deliveries()[0].state == "delivered")
    [delivery] = shop_sandbox.deliveries()
    assert [attempt["status"] for attempt in delivery.attempts] == [*answers, 200]
    assert len(set(shop.bodies)) == 1
    event = (await client.v1.events.list_async()).data[0]
    assert event.pending_webhooks == 0


async def test_a_shop_that_hangs_or_is_gone_is_tried_again(stage: Stage, shop: Shop, connect: Connect) -> None:
    url = await stage.open_shop()
    released = asyncio.Event()

    async def hang() -> None:
        await released.wait()

    shop.on_event = hang
    async with stage.sandbox(webhook_url=url, delivery_timeout_ms=50) as sandbox:
        await open_payment(connect(sandbox))
        await until(lambda: len(sandbox.deliveries()[0].attempts) >= 1)
        assert sandbox.deliveries()[0].attempts[0]["error"] == "ReadTimeout"
        assert sandbox.deliveries()[0].state == "pending"
        released.set()
        shop.on_event = None
        await until(lambda: sandbox.deliveries()[0].state == "delivered")


async def test_an_event_is_a_snapshot(shop_sandbox: Sandbox, connect: Connect) -> None:
    client = connect(shop_sandbox)
    payment = await open_payment(client)
    await confirm(client, payment.id)
    created = (await client.v1.events.list_async({"type": "payment_intent.created"})).data[0]
    assert created.data.object["status"] == "requires_payment_method"
    again = await client.v1.events.retrieve_async(created.id)
    assert again.data.to_dict() == created.data.to_dict()


async def test_events_are_listed_by_type_and_page_by_page(sandbox: Sandbox, connect: Connect) -> None:
    client = connect(sandbox)
    payments = [await open_payment(client) for _ in range(12)]
    await confirm(client, payments[0].id)
    everything = [event.id async for event in (await client.v1.events.list_async({"limit": 5})).auto_paging_iter()]
    assert len(everything) == len(set(everything)) == 14
    found = await client.v1.events.list_async({"types": ["charge.succeeded", "payment_intent.succeeded"]})
    assert [event.type for event in found.data] == ["payment_intent.succeeded", "charge.succeeded"]
    later = await client.v1.events.list_async({"ending_before": everything[-1], "limit": 3})
    assert [event.id for event in later.data] == everything[-4:-1]
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.events.list_async({"types": ["charge.succeeded"] * 21})


async def test_a_dropped_webhook_is_never_sent_but_its_event_is_listed(
    shop_sandbox: Sandbox, shop: Shop, connect: Connect
) -> None:
    client = connect(shop_sandbox)
    shop_sandbox.switches.add(Switch(name="drop_webhook", on="payment_intent.created"))
    payment = await open_payment(client)
    await client.v1.payment_intents.cancel_async(payment.id)
    await until(lambda: shop.types == ["payment_intent.canceled"])
    assert len((await client.v1.events.list_async()).data) == 2
    assert [delivery.state for delivery in shop_sandbox.deliveries()] == ["dropped", "delivered"]


async def test_a_duplicated_webhook_is_the_same_event(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    shop_sandbox.switches.add(Switch(name="duplicate_webhook", copies=3))
    await open_payment(connect(shop_sandbox))
    await until(lambda: len(shop.bodies) == 4)
    assert len(set(shop.bodies)) == 1


async def test_a_delayed_webhook_comes_after_later_ones(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    client = connect(shop_sandbox)
    shop_sandbox.switches.add(Switch(name="delay_webhook", ms=300))
    payment = await open_payment(client)
    await client.v1.payment_intents.cancel_async(payment.id)
    await until(lambda: len(shop.bodies) == 2)
    assert shop.types == ["payment_intent.canceled", "payment_intent.created"]


async def test_held_webhooks_are_released_in_reverse(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    client = connect(shop_sandbox)
    shop_sandbox.switches.add(Switch(name="hold_webhook", times=None))
    payment = await open_payment(client)
    await confirm(client, payment.id)
    assert {delivery.state for delivery in shop_sandbox.deliveries()} == {"held"}
    assert shop.bodies == []
    released = await shop_sandbox.release("reverse")
    assert shop.types == ["payment_intent.succeeded", "charge.succeeded", "payment_intent.created"]
    assert {delivery.state for delivery in released} == {"delivered"}


async def test_a_webhook_can_come_before_the_answer_that_it_is_about(
    shop_sandbox: Sandbox, shop: Shop, connect: Connect
) -> None:
    answered: list[bool] = []
    before_the_answer: list[bool] = []

    async def note() -> None:
        before_the_answer.append(not answered)

    shop.on_event = note
    shop_sandbox.switches.add(Switch(name="webhook_first", pay="4242424242424242"))
    payment = await open_payment(connect(shop_sandbox))
    answered.append(True)
    assert payment.status == "requires_payment_method"
    assert shop.types == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    assert before_the_answer == [True] * 3
    assert (await connect(shop_sandbox).v1.payment_intents.retrieve_async(payment.id)).status == "succeeded"


async def test_an_event_can_be_sent_again(shop_sandbox: Sandbox, shop: Shop, connect: Connect) -> None:
    await open_payment(connect(shop_sandbox))
    await until(lambda: len(shop.bodies) == 1)
    shop.answers = [500]
    [delivery] = await shop_sandbox.resend(shop.events[0]["id"])
    assert [attempt["status"] for attempt in delivery.attempts] == [500]
    await until(lambda: len(shop.bodies) == 3)  # and it is retried like any other
    assert len(set(shop.bodies)) == 1


async def test_hostile_events_can_be_crafted_about_a_payment(
    shop_sandbox: Sandbox, shop: Shop, connect: Connect
) -> None:
    client = connect(shop_sandbox)
    payment = await open_payment(client)
    await until(lambda: len(shop.bodies) == 1)
    event, deliveries = await shop_sandbox.emit(
        payment.id,
        Crafted(
            object={"status": "succeeded", "amount_received": 999, "currency": "jpy"},
            event={"id": "evt_mine", "livemode": True, "account": "acct_foreign"},
        ),
    )
    assert [delivery.state for delivery in deliveries] == ["delivered"]
    sent = stripe.Webhook.construct_event(shop.bodies[-1], shop.headers[-1], SECRET).to_dict()
    assert sent == event
    assert (sent["id"], sent["livemode"], sent["account"]) == ("evt_mine", True, "acct_foreign")
    assert (sent["data"]["object"]["amount_received"], sent["data"]["object"]["currency"]) == (999, "jpy")
    untouched = await client.v1.payment_intents.retrieve_async(payment.id)
    assert (untouched.status, untouched.amount_received) == ("requires_payment_method", 0)
    # The same id with another body; and this time the API says the same.
    await shop_sandbox.emit(payment.id, Crafted(object={"amount_received": 1}, event={"id": "evt_mine"}, keep=True))
    assert shop.events[-1]["data"]["object"]["amount_received"] == 1
    assert (await client.v1.payment_intents.retrieve_async(payment.id)).amount_received == 1


async def test_what_was_under_way_is_delivered_after_a_restart(
    stage: Stage, shop: Shop, connect: Connect, tmp_path: Path
) -> None:
    database = database_at(tmp_path)
    async with stage.sandbox(database=database, webhook_url=f"{address_of_closed()}/webhooks/stripe") as sandbox:
        client = connect(sandbox)
        payment = await client.v1.payment_intents.create_async(
            {"amount": 1000, "currency": "usd"}, {"idempotency_key": "k1"}
        )
        sandbox.switches.add(Switch(name="hold_webhook", times=None))
        await confirm(client, payment.id, "pm_card_authenticationRequired")
        await until(lambda: len(sandbox.deliveries()[0].attempts) >= 1)
        assert sandbox.deliveries()[0].attempts[0]["error"] == "ConnectError"

    assert oct(database.stat().st_mode & 0o777) == "0o600"
    async with stage.sandbox(database=database, webhook_url=await stage.open_shop()) as sandbox:
        await until(lambda: {delivery.state for delivery in sandbox.deliveries()} == {"delivered"})
        assert sorted(shop.types) == ["payment_intent.created", "payment_intent.requires_action"]
        client = connect(sandbox)
        again = await client.v1.payment_intents.create_async(
            {"amount": 1000, "currency": "usd"}, {"idempotency_key": "k1"}
        )
        assert again.id == payment.id
        # The challenge is found at the new address.
        waiting = await client.v1.payment_intents.retrieve_async(payment.id)
        assert waiting.next_action is not None
        assert waiting.next_action.redirect_to_url is not None
        async with httpx2.AsyncClient() as browser:
            await browser.post(str(waiting.next_action.redirect_to_url.url), data={"outcome": "complete"})
        assert (await client.v1.payment_intents.retrieve_async(payment.id)).status == "succeeded"


def address_of_closed() -> str:
    listener = listening_socket()
    address = address_of(listener)
    listener.close()
    return address


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.payments.sandbox.conftest import SECRET, address_of, listening_socket, serving
from pantheon.payments.stripe.sandbox import Sandbox, create_sandbox_app

async def main(database, webhook_url):
    listener = listening_socket()
    url = address_of(listener)
    sandbox = Sandbox(base_url=url, database=Path(database), webhook_url=webhook_url, webhook_secrets=[SECRET])
    async with sandbox, serving(create_sandbox_app(sandbox), listener):
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_was_answered_survives_kill_9(stage: Stage, shop: Shop, connect: Connect, tmp_path: Path) -> None:
    database = database_at(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(database), f"{address_of_closed()}/webhooks/stripe"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert child.stdout is not None
        url = (await asyncio.to_thread(child.stdout.readline)).strip()
        headers = {"Authorization": "Bearer sk_test_pantheon_sandbox", "Idempotency-Key": "k1"}
        async with httpx2.AsyncClient(base_url=url, headers=headers) as http:
            made = await http.post("/v1/payment_intents", data={"amount": "1000", "currency": "usd"})
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        await asyncio.to_thread(child.communicate)

    async with stage.sandbox(database=database, webhook_url=await stage.open_shop()) as sandbox:
        payment = await connect(sandbox).v1.payment_intents.retrieve_async(made.json()["id"])
        assert payment.client_secret == made.json()["client_secret"]
        await until(lambda: shop.types == ["payment_intent.created"])
