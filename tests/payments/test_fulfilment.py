from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest

from pantheon.payments.stripe.sandbox import Crafted, Switch
from pantheon.worker.clean_up import EVENT_BODIES_KEPT, clean_up
from pantheon.worker.run import working
from tests.installation import Installation, Person
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def opened(installation: Installation) -> tuple[Person, str]:
    ada = await installation.person()
    return ada, (await installation.top_up(ada)).json()["top_up_id"]


def transfers(installation: Installation) -> list[dict[str, Any]]:
    return installation.rows("SELECT kind, amount, reference_id FROM transfers ORDER BY wallet_seq")


async def test_two_events_for_one_payment_grant_once(installation: Installation) -> None:
    """T-054."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")

    await installation.sandbox.emit(top_up_id, Crafted(event={"id": "evt_of_a_second_endpoint"}))

    await installation.all_events_handled()
    assert len(transfers(installation)) == 1
    assert await installation.balance(ada) == "333.33"


async def test_success_before_everything_else_is_credited(installation: Installation) -> None:
    """T-058."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.switches.add(Switch(name="hold_webhook", times=None))
    installation.sandbox.play(top_up_id, "pay", method="pm_usBankAccount_success")
    installation.sandbox.play(top_up_id, "settle")

    await installation.sandbox.release("reverse")

    await installation.all_events_handled()
    await installation.becomes(ada, top_up_id, "credited")
    assert await installation.balance(ada) == "333.33"


@pytest.mark.parametrize("type", ["payment_intent.payment_failed", "payment_intent.processing"])
async def test_a_late_failure_does_not_move_a_credited_top_up(installation: Installation, type: str) -> None:
    """T-059."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")

    status = {"payment_intent.processing": "processing"}.get(type, "requires_payment_method")
    await installation.sandbox.emit(top_up_id, Crafted(type=type, object={"status": status, "amount_received": 0}))

    await installation.all_events_handled()
    assert await installation.status(ada, top_up_id) == "credited"
    assert len(transfers(installation)) == 1


async def test_a_stale_cancellation_is_looked_up_and_not_believed(installation: Installation) -> None:
    """T-060."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")

    await installation.sandbox.emit(
        top_up_id, Crafted(type="payment_intent.canceled", object={"status": "canceled", "amount_received": 0})
    )

    await installation.all_events_handled()
    assert await installation.status(ada, top_up_id) == "credited"


async def test_a_success_replayed_after_a_cancellation_grants_nothing(installation: Installation) -> None:
    """T-093."""
    ada, top_up_id = await opened(installation)
    await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=ada.headers)
    await installation.all_events_handled()

    await installation.sandbox.emit(top_up_id, Crafted(object={"status": "succeeded", "amount_received": 1000}))

    await installation.all_events_handled()
    assert await installation.status(ada, top_up_id) == "canceled"
    assert transfers(installation) == []


async def test_a_payment_that_succeeded_after_its_cancellation_is_credited(installation: Installation) -> None:
    """T-092."""
    ada, top_up_id = await opened(installation)
    await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=ada.headers)
    await installation.all_events_handled()

    await installation.sandbox.emit(
        top_up_id, Crafted(object={"status": "succeeded", "amount_received": 1000}, keep=True)
    )

    await installation.becomes(ada, top_up_id, "credited")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount_received": 999}, "received_less"),
        ({"amount_received": 1001}, "received_more"),
        ({"currency": "jpy"}, "currency_differs"),
        ({"amount_received": 0}, "received_less"),
    ],
)
async def test_a_payment_that_is_not_what_was_promised_is_reviewed(
    installation: Installation, change: dict[str, Any], reason: str
) -> None:
    """T-080, T-081, T-084."""
    ada, top_up_id = await opened(installation)
    payment = installation.sandbox.payments.find(top_up_id)
    body = event_for(succeeded(payment, **change))

    assert (await installation.post_event(body, signed(body))).status_code == 200

    await installation.becomes(ada, top_up_id, "review")
    assert transfers(installation) == []
    assert await installation.balance(ada) == "0"
    (row,) = installation.rows("SELECT review_reason FROM payments")
    assert row["review_reason"] == reason


async def test_a_status_that_is_not_success_never_grants(installation: Installation) -> None:
    """T-083."""
    _, top_up_id = await opened(installation)
    payment = installation.sandbox.payments.find(top_up_id)

    for status in ("requires_capture", "new_status"):
        body = event_for(succeeded(payment, status=status), id=f"evt_{status}")
        assert (await installation.post_event(body, signed(body))).status_code == 200

    await installation.all_events_handled()
    assert transfers(installation) == []


async def test_a_second_payment_for_a_top_up_is_reviewed_and_the_first_one_counts(installation: Installation) -> None:
    """T-078."""
    ada, top_up_id = await opened(installation)
    other = succeeded(installation.sandbox.payments.find(top_up_id), id="pi_copied")
    body = event_for(other)

    assert (await installation.post_event(body, signed(body))).status_code == 200
    await installation.all_events_handled()
    assert transfers(installation) == []
    installation.sandbox.play(top_up_id, "pay")

    await installation.becomes(ada, top_up_id, "credited")
    assert len(transfers(installation)) == 1
    (row,) = installation.rows("SELECT review_reason FROM payments WHERE payment_intent_id = 'pi_copied'")
    assert row["review_reason"] == "payment_id_differs"


async def test_three_declines_and_a_success_are_one_grant(installation: Installation) -> None:
    """T-088."""
    ada, top_up_id = await opened(installation)
    for _ in range(3):
        installation.sandbox.play(top_up_id, "decline")
    await installation.all_events_handled()
    assert await installation.status(ada, top_up_id) == "awaiting_payment"

    installation.sandbox.play(top_up_id, "pay")

    await installation.becomes(ada, top_up_id, "credited")
    await installation.all_events_handled()
    assert len(transfers(installation)) == 1
    (row,) = installation.rows("SELECT failures, failure_category FROM payments")
    assert row == {"failures": 3, "failure_category": "other_card"}


async def test_a_slow_payment_is_credited_at_its_end_and_never_expires_before(installation: Installation) -> None:
    """T-089."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay", method="pm_usBankAccount_success")
    await installation.becomes(ada, top_up_id, "processing")
    assert await installation.balance(ada) == "0"
    installation.execute("UPDATE top_ups SET expires_at = now() - interval '4 days'")
    await sweep(installation)
    assert await installation.status(ada, top_up_id) == "processing"

    installation.sandbox.play(top_up_id, "settle")

    await installation.becomes(ada, top_up_id, "credited")
    assert await installation.balance(ada) == "333.33"


async def test_a_returned_debit_can_be_paid_again(installation: Installation) -> None:
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay", method="pm_usBankAccount_success")
    await installation.becomes(ada, top_up_id, "processing")

    installation.sandbox.play(top_up_id, "decline")

    await installation.becomes(ada, top_up_id, "awaiting_payment")


@pytest.mark.parametrize("told", [{"amount_received": 1}, {}], ids=["another amount", "no amount"])
async def test_an_event_of_another_api_version_is_read_from_stripe(
    installation: Installation, told: dict[str, Any]
) -> None:
    """T-067: of what another version says, only the names of the payment and of our row are used."""
    ada, top_up_id = await opened(installation)
    installation.sandbox.switches.add(Switch(name="drop_webhook", times=None))
    payment = installation.sandbox.payments.find(top_up_id)
    old = {name: payment[name] for name in ("id", "object", "metadata")} | {"status": "succeeded"} | told
    unpaid = event_for(old, id="evt_crafted_unpaid", api_version="2017-08-15")
    assert (await installation.post_event(unpaid, signed(unpaid))).status_code == 200
    await installation.all_events_handled()
    assert transfers(installation) == []
    installation.sandbox.play(top_up_id, "pay")

    paid = event_for(old, id="evt_crafted_paid", api_version="2017-08-15")
    assert (await installation.post_event(paid, signed(paid))).status_code == 200

    await installation.becomes(ada, top_up_id, "credited")
    assert [row["amount"] for row in transfers(installation)] == [333_330_000_000]


async def test_an_event_that_comes_again_after_its_body_was_dropped_changes_nothing(installation: Installation) -> None:
    """T-053: what stays of an event for ever is enough to know it by, and that it is done."""
    ada, top_up_id = await opened(installation)
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
    await installation.post_event(body, signed(body))
    await installation.becomes(ada, top_up_id, "credited")
    query = "SELECT state, outcome, octet_length(body) AS size, received_count FROM inbox_events WHERE event_id = %s"
    kept = {"state": "done", "outcome": "credited", "size": len(body), "received_count": 1}
    _let_pass(installation, EVENT_BODIES_KEPT - timedelta(hours=1))
    await clean_up(installation.runtime.database)
    assert installation.rows(query, "evt_crafted") == [kept]
    _let_pass(installation, timedelta(hours=2))
    await clean_up(installation.runtime.database)
    assert installation.rows(query, "evt_crafted") == [kept | {"size": 0}]

    answer = await installation.post_event(body, signed(body))

    assert (answer.status_code, answer.json()) == (200, {"status": "already_processed"})
    assert installation.rows(query, "evt_crafted") == [kept | {"size": 0, "received_count": 2}]
    assert len(transfers(installation)) == 1


def _let_pass(installation: Installation, time: timedelta) -> None:
    installation.execute(
        "UPDATE inbox_events SET received_at = received_at - %s, handled_at = handled_at - %s", time, time
    )


async def test_the_webhook_may_come_before_the_answer(installation: Installation) -> None:
    """T-073."""
    ada = await installation.person()
    installation.sandbox.switches.add(
        Switch(name="webhook_first", on="POST /v1/payment_intents", pay="pm_card_visa", ms=500)
    )

    answer = await installation.top_up(ada)

    assert answer.status_code == 201
    assert answer.json()["status"] == "credited"
    assert answer.json()["client_secret"]
    assert await installation.balance(ada) == "333.33"


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({}, "credited", None),
        ({"amount_received": 999}, "review", "received_less"),
        ({"currency": "jpy"}, "review", "currency_differs"),
        ({"customer": "cus_of_somebody_else"}, "review", "customer_differs"),
    ],
)
async def test_a_payment_whose_id_never_reached_us_is_adopted_if_all_of_it_is_right(
    install: Install, change: dict[str, Any], state: str, reason: str | None
) -> None:
    """T-074."""
    async with install(worker=False) as it:
        ada = await it.person()
        it.sandbox.switches.add(Switch(name="lose_answer", on="POST /v1/payment_intents", times=3))
        key = {"Idempotency-Key": "k"}
        assert (await it.top_up(ada, **key)).status_code == 503
        (row,) = it.rows("SELECT id, state, payment_intent_id FROM top_ups")
        assert (row["state"], row["payment_intent_id"]) == ("creating", None)
        payment = it.sandbox.payments.find(str(row["id"]))
        body = event_for(succeeded(payment, **change))
        assert (await it.post_event(body, signed(body))).status_code == 200

        async with working(it.runtime):
            await it.becomes(ada, str(row["id"]), state)

        (found,) = it.rows(
            "SELECT t.payment_intent_id, p.review_reason FROM top_ups t JOIN payments p ON p.top_up_id = t.id"
        )
        assert found == {"payment_intent_id": payment["id"], "review_reason": reason}
        assert len(transfers(it)) == (state == "credited")
        again = await it.top_up(ada, **key)
        assert (again.status_code, again.json()["top_up_id"]) == (200, str(row["id"]))
        assert it.sandbox.store.count("payment_intent") == 1


async def sweep(installation: Installation) -> None:
    from pantheon.payments.sweep import sweep_top_ups

    assert installation.runtime.stripe is not None
    await sweep_top_ups(installation.runtime.database, installation.runtime.stripe)


async def test_the_sweep_finishes_what_was_left(installation: Installation) -> None:
    ada = await installation.person()
    installation.sandbox.switches.add(Switch(name="lose_answer", on="POST /v1/payment_intents", times=3))
    await installation.top_up(ada)
    (row,) = installation.rows("SELECT id, state FROM top_ups")
    assert row["state"] == "creating"
    installation.execute("UPDATE top_ups SET leased_until = now()")

    await sweep(installation)

    assert await installation.status(ada, str(row["id"])) == "awaiting_payment"
    assert installation.sandbox.store.count("payment_intent") == 1


@pytest.mark.parametrize(("reached", "state"), [(True, "awaiting_payment"), (False, "failed_to_create")])
async def test_an_old_row_is_looked_up_and_never_created_again(
    installation: Installation, reached: bool, state: str
) -> None:
    """T-022."""
    ada = await installation.person()
    installation.sandbox.switches.add(
        Switch(name="lose_answer" if reached else "lose_request", on="POST /v1/payment_intents", times=3)
    )
    await installation.top_up(ada)
    (row,) = installation.rows("SELECT id FROM top_ups")
    installation.execute("UPDATE top_ups SET leased_until = now(), created_at = now() - interval '24 hours'")

    await sweep(installation)

    assert await installation.status(ada, str(row["id"])) == state
    assert installation.sandbox.store.count("payment_intent") == int(reached)


async def test_an_unpaid_top_up_expires_once_stripe_agrees(installation: Installation) -> None:
    ada, top_up_id = await opened(installation)
    installation.execute("UPDATE top_ups SET expires_at = now(), leased_until = now()")

    await sweep(installation)

    assert installation.sandbox.payments.find(top_up_id)["status"] == "canceled"
    await installation.becomes(ada, top_up_id, "expired")


async def test_a_payment_whose_event_never_came_is_found(installation: Installation) -> None:
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay", method="pm_usBankAccount_success")
    await installation.becomes(ada, top_up_id, "processing")
    installation.sandbox.switches.add(Switch(name="drop_webhook", times=None))
    installation.sandbox.play(top_up_id, "settle")
    await sweep(installation)
    assert await installation.status(ada, top_up_id) == "processing"
    installation.execute("UPDATE top_ups SET created_at = now() - interval '20 minutes', leased_until = now()")

    await sweep(installation)

    assert await installation.status(ada, top_up_id) == "credited"
    assert await installation.balance(ada) == "333.33"


async def test_an_event_that_was_taken_for_none_of_ours_is_looked_at_again(installation: Installation) -> None:
    ada, top_up_id = await opened(installation)
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")
    await installation.all_events_handled()
    (event,) = installation.rows("SELECT id, event_id FROM inbox_events WHERE type = 'payment_intent.succeeded'")
    installation.execute(
        "UPDATE inbox_events SET state = 'ignored', outcome = 'account_differs' WHERE id = %s", event["id"]
    )

    await installation.sandbox.resend(event["event_id"])

    await installation.all_events_handled()
    assert installation.rows("SELECT state FROM inbox_events WHERE id = %s", event["id"]) == [{"state": "done"}]
    assert len(transfers(installation)) == 1


async def test_top_ups_of_the_other_mode_are_left_alone(installation: Installation) -> None:
    """As after going live on a database that test keys were tried on."""
    ada = await installation.person()
    for amount in ("10", "11", "12"):
        await installation.top_up(ada, amount)
    installation.execute("ALTER TABLE top_ups DISABLE TRIGGER top_ups_promise_is_fixed")
    installation.execute("UPDATE top_ups SET livemode = true, expires_at = now(), leased_until = now()")

    await sweep(installation)

    assert installation.rows("SELECT DISTINCT state FROM top_ups") == [{"state": "awaiting_payment"}]
    assert (await installation.top_up(ada)).status_code == 201
