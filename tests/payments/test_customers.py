"""T-010: one customer at Stripe for each user, made when first needed."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.payments.stripe.sandbox import Switch
from tests.installation import Installation
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_ten_parallel_top_ups_have_one_customer(install: Install) -> None:
    async with install(top_up_max_open=10) as installation:
        ada = await installation.person()
        installation.sandbox.switches.add(Switch(name="hang", on="POST /v1/customers", ms=50))

        answers = await asyncio.gather(
            *(installation.top_up(ada, "10", **{"Idempotency-Key": str(number)}) for number in range(10))
        )

        assert {answer.status_code for answer in answers} == {201}
        assert installation.sandbox.store.count("customer") == 1
        (row,) = installation.rows("SELECT customer_id FROM stripe_customers")
        payments = [installation.sandbox.payments.find(answer.json()["top_up_id"]) for answer in answers]
        assert {payment["customer"] for payment in payments} == {row["customer_id"]}


async def test_stripe_learns_our_id_of_the_user_and_nothing_else(installation: Installation) -> None:
    ada = await installation.person()
    await installation.top_up(ada)

    (row,) = installation.rows("SELECT customer_id FROM stripe_customers")
    customer = installation.sandbox.customers.get(row["customer_id"])

    assert customer["metadata"] == {"user_id": str(ada.id)}
    assert (customer["email"], customer["name"]) == (None, None)


async def test_a_deleted_customer_is_followed_by_a_new_one(installation: Installation) -> None:
    ada = await installation.person()
    await installation.top_up(ada)
    (before,) = installation.rows("SELECT customer_id FROM stripe_customers")
    installation.sandbox.customers.delete(before["customer_id"])

    answer = await installation.top_up(ada, "20")

    assert answer.status_code == 201
    (after,) = installation.rows("SELECT customer_id, generation FROM stripe_customers")
    assert after["customer_id"] != before["customer_id"]
    assert after["generation"] == 2
    payment = installation.sandbox.payments.find(answer.json()["top_up_id"])
    assert payment["customer"] == after["customer_id"]
    installation.sandbox.play(payment["id"], "pay")
    await installation.becomes(ada, answer.json()["top_up_id"], "credited")


async def test_a_customer_that_is_gone_again_leaves_the_top_up_to_a_later_attempt(installation: Installation) -> None:
    ada = await installation.person()
    gone = {"code": "resource_missing", "param": "customer"}
    installation.sandbox.switches.add(Switch(name="refuse", on="POST /v1/payment_intents", times=2, error=gone))

    answer = await installation.top_up(ada, "10", **{"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert installation.rows("SELECT state FROM top_ups") == [{"state": "creating"}]
    installation.execute("UPDATE top_ups SET leased_until = now()")
    assert (await installation.top_up(ada, "10", **{"Idempotency-Key": "k"})).status_code == 200


async def test_a_failure_kept_for_the_customers_key_is_not_asked_for_again(installation: Installation) -> None:
    ada = await installation.person()
    installation.sandbox.switches.add(Switch(name="fail", on="POST /v1/customers"))

    assert (await installation.top_up(ada, "10", **{"Idempotency-Key": "k"})).status_code == 503
    installation.execute("UPDATE top_ups SET leased_until = now()")

    assert (await installation.top_up(ada, "10", **{"Idempotency-Key": "k"})).status_code == 200


@pytest.mark.parametrize("expanded", [False, True])
async def test_a_payment_with_another_customer_is_reviewed(installation: Installation, expanded: bool) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    customer = {"id": "cus_other", "object": "customer"} if expanded else "cus_other"
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id), customer=customer))

    await installation.post_event(body, signed(body))

    await installation.becomes(ada, top_up_id, "review")
    assert await installation.balance(ada) == "0"
