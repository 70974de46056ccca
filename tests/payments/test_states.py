"""Every state and every event, driven through the real handler against PostgreSQL and compared with one table."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest

from pantheon.money.top_up import TRANSITIONS, State
from pantheon.payments.fulfil import News, fulfil
from pantheon.payments.handle_event import handle_event
from pantheon.payments.stripe.objects import Payment
from tests.installation import Installation, Person
from tests.payments.events import event_for, signed

Install = Callable[..., AbstractAsyncContextManager[Installation]]

EVENTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # The event's type, what it says of the payment, and what Stripe says of it when asked.
    "failed": ("payment_failed", {}, {}),
    "action": ("requires_action", {"status": "requires_action"}, {}),
    "processing": ("processing", {"status": "processing"}, {"status": "processing"}),
    "paid": (
        "succeeded",
        {"status": "succeeded", "amount_received": 1000},
        {"status": "succeeded", "amount_received": 1000},
    ),
    "less": (
        "succeeded",
        {"status": "succeeded", "amount_received": 999},
        {"status": "succeeded", "amount_received": 999},
    ),
    "canceled": ("canceled", {"status": "canceled"}, {"status": "canceled"}),
    "stale paid": ("succeeded", {"status": "succeeded", "amount_received": 1000}, {"status": "canceled"}),
    "late cancel": ("canceled", {"status": "canceled"}, {"status": "succeeded", "amount_received": 1000}),
}

# "=": the state stays. A stale success is believed while the top-up is open: it can only be true then.
TABLE = """
state               failed            action            processing  paid      less    canceled  stale-paid  late-cancel
creating            awaiting_payment  awaiting_payment  processing  credited  review  canceled  credited    credited
awaiting_payment    =                 =                 processing  credited  review  canceled  credited    credited
processing          awaiting_payment  awaiting_payment  =           credited  review  canceled  credited    credited
cancel_requested    =                 =                 processing  credited  review  canceled  credited    credited
canceled            =                 =                 =           credited  review  =         =           =
expired             =                 =                 =           credited  review  =         =           =
failed_to_create    =                 =                 =           credited  review  =         =           =
credited            =                 =                 =           =         =       =         =           =
partially_reversed  =                 =                 =           =         =       =         =           =
reversed            =                 =                 =           =         =       =         =           =
review              =                 =                 =           =         =       =         =           =
refunded_unmatched  =                 =                 =           =         =       =         =           =
"""


def pairs() -> list[tuple[State, str, State]]:
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    events = [name.replace("-", " ") for name in head[1:]]
    return [
        (State(state), event, State(state if end == "=" else end))
        for state, *ends in rows
        for event, end in zip(events, ends, strict=True)
    ]


@pytest.mark.prove
async def test_every_state_and_event_ends_where_the_table_says(install: Install, subtests: pytest.Subtests) -> None:
    assert {(state, event) for state, event, _ in pairs()} == {(state, event) for state in State for event in EVENTS}
    async with install(worker=False) as installation:
        ada = await installation.person()
        template = (await installation.top_up(ada)).json()["top_up_id"]
        for state, event, end in pairs():
            with subtests.test(state=state, event=event):
                top_up_id, payment = copied(installation, template)
                await bring_to(installation, top_up_id, payment, state)
                before = grants(installation, ada)

                await happen(installation, payment, event)

                (row,) = installation.rows("SELECT state, grant_id FROM top_ups WHERE id = %s", top_up_id)
                assert row["state"] == end
                assert grants(installation, ada) - before == int(state is not end is State.CREDITED)


def grants(installation: Installation, person: Person) -> int:
    return len(installation.rows("SELECT FROM grants"))


def copied(installation: Installation, template: str) -> tuple[UUID, dict[str, Any]]:
    """A top-up of its own, without a payment noted yet, and its payment at Stripe."""
    top_up_id = uuid4()
    installation.execute(
        "INSERT INTO top_ups (id, user_id, wallet_id, amount_minor, currency, credits, credits_per_major, livemode,"
        " stripe_account, request_params, leased_until, created_at, expires_at)"
        " SELECT %s, user_id, wallet_id, amount_minor, currency, credits, credits_per_major, livemode, stripe_account,"
        " request_params, leased_until, created_at, expires_at FROM top_ups WHERE id = %s",
        top_up_id,
        UUID(template),
    )
    payment = installation.sandbox.payments.find(template)
    metadata = payment["metadata"] | {"top_up_id": str(top_up_id)}
    payment |= {"id": f"pi_{top_up_id.hex}", "metadata": metadata}
    installation.sandbox.store.put(payment)
    return top_up_id, payment


async def bring_to(installation: Installation, top_up_id: UUID, payment: dict[str, Any], state: State) -> None:
    """By allowed moves only; where credits have to be there, through a real payment."""
    if state in (State.CREDITED, State.PARTIALLY_REVERSED, State.REVERSED):
        paid = Payment.model_validate(payment | {"status": "succeeded", "amount_received": 1000})
        async with installation.runtime.database.transaction() as tx:
            await fulfil(tx, top_up_id, News(paid, account=None))
    (row,) = installation.rows("SELECT state FROM top_ups WHERE id = %s", top_up_id)
    for step in path(State(row["state"]), state):
        installation.execute("UPDATE top_ups SET state = %s WHERE id = %s", step, top_up_id)


def path(start: State, end: State) -> list[State]:
    paths = [[start]]
    for found in paths:
        if found[-1] is end:
            return found[1:]
        paths += [
            [*found, step]
            for step in sorted(TRANSITIONS[found[-1]])
            if step not in found and step is not State.CREDITED
        ]
    raise AssertionError(f"no way from {start} to {end}")


async def happen(installation: Installation, payment: dict[str, Any], event: str) -> None:
    type, says, truth = EVENTS[event]
    installation.sandbox.store.put(payment | truth)
    id = f"evt_{uuid4().hex}"
    body = event_for(payment | says, type=f"payment_intent.{type}", id=id, created=int(time.time()))
    assert (await installation.post_event(body, signed(body))).status_code == 200
    (row,) = installation.rows("SELECT id FROM inbox_events WHERE event_id = %s", id)
    await handle_event(installation.runtime.database, installation.runtime.stripe, row["id"])
    (row,) = installation.rows("SELECT state FROM inbox_events WHERE event_id = %s", id)
    assert row["state"] == "done"
