"""The life of a top-up, from tables that are written out in full."""

import re
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from pantheon.money.top_up import TRANSITIONS, Facts, PaymentStatus, Promise, State, first_mismatch, judge, needs_reread

PROMISE = {
    "payment_id": "pi_1",
    "amount_minor": 1000,
    "currency": "usd",
    "livemode": False,
    "account": "acct_1",
    "customer": "cus_1",
    "cancel_reason": None,
}
FACTS = {
    "payment_id": "pi_1",
    "status": PaymentStatus.SUCCEEDED,
    "received_minor": 1000,
    "currency": "usd",
    "livemode": False,
    "account": "acct_1",
    "customer": "cus_1",
}

OPEN_STATUSES = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture", "unknown")

# What each state becomes when the payment is: open | processing | succeeded | succeeded otherwise | canceled.
VERDICTS = """
creating            awaiting_payment    processing          credited            review              canceled
awaiting_payment    awaiting_payment    processing          credited            review              canceled
processing          awaiting_payment    processing          credited            review              canceled
cancel_requested    cancel_requested    processing          credited            review              canceled
canceled            canceled            canceled            credited            review              canceled
expired             expired             expired             credited            review              expired
failed_to_create    failed_to_create    failed_to_create    credited            review              failed_to_create
credited            credited            credited            credited            credited            credited
review              review              review              review              review              review
partially_reversed  partially_reversed  partially_reversed  partially_reversed  partially_reversed  partially_reversed
reversed            reversed            reversed            reversed            reversed            reversed
refunded_unmatched  refunded_unmatched  refunded_unmatched  refunded_unmatched  refunded_unmatched  refunded_unmatched
"""


def verdicts() -> list[tuple[str, str, int, str]]:
    """State, payment status, amount received, expected state: every pair there is."""
    found = []
    for line in VERDICTS.strip().splitlines():
        state, opened, processing, succeeded, otherwise, canceled = line.split()
        found += [(state, status, 0, opened) for status in OPEN_STATUSES]
        found += [
            (state, "processing", 0, processing),
            (state, "succeeded", 1000, succeeded),
            (state, "succeeded", 999, otherwise),
            (state, "canceled", 0, canceled),
        ]
    return found


def test_the_table_has_every_pair() -> None:
    pairs = {(state, status) for state, status, _, _ in verdicts()}

    assert pairs == {(state.value, status.value) for state in State for status in PaymentStatus}


@pytest.mark.parametrize(("state", "status", "received", "expected"), verdicts())
def test_the_state_follows_from_the_facts(state: str, status: str, received: int, expected: str) -> None:
    facts = Facts(**FACTS | {"status": PaymentStatus(status), "received_minor": received})  # type: ignore[arg-type]

    verdict = judge(State(state), promise=Promise(**PROMISE), facts=facts)  # type: ignore[arg-type]

    assert verdict.state == expected
    assert verdict.state == state or verdict.state in TRANSITIONS[State(state)]


@pytest.mark.parametrize("state", ["creating", "awaiting_payment", "processing", "cancel_requested"])
def test_a_cancellation_for_age_is_an_expiry(state: str) -> None:
    promise = Promise(**PROMISE | {"cancel_reason": "expiry"})  # type: ignore[arg-type]
    facts = Facts(**FACTS | {"status": PaymentStatus.CANCELED})  # type: ignore[arg-type]

    assert judge(State(state), promise=promise, facts=facts).state is State.EXPIRED


@pytest.mark.parametrize(
    ("promised", "made", "mismatch"),
    [
        ({}, {}, None),
        ({}, {"payment_id": "pi_2"}, "payment_id_differs"),
        ({"payment_id": None}, {"payment_id": "pi_2"}, None),
        ({}, {"livemode": True}, "livemode_differs"),
        ({}, {"account": "acct_2"}, "account_differs"),
        ({}, {"account": None}, None),
        ({"account": None}, {}, None),
        ({}, {"customer": "cus_2"}, "customer_differs"),
        ({}, {"customer": None}, "customer_differs"),
        ({"customer": None}, {}, None),
        ({}, {"currency": "jpy"}, "currency_differs"),
        ({}, {"received_minor": 999}, "received_less"),
        ({}, {"received_minor": 0}, "received_less"),
        ({}, {"received_minor": 1001}, "received_more"),
        ({}, {"received_minor": 999, "currency": "jpy", "livemode": True}, "livemode_differs"),
    ],
)
def test_the_first_difference_is_named(
    promised: dict[str, object], made: dict[str, object], mismatch: str | None
) -> None:
    promise, facts = Promise(**PROMISE | promised), Facts(**FACTS | made)  # type: ignore[arg-type]

    assert first_mismatch(promise=promise, facts=facts) == mismatch


REREAD = {
    "succeeded": {"canceled", "expired", "failed_to_create"},
    "canceled": {
        "creating",
        "awaiting_payment",
        "processing",
        "cancel_requested",
        "credited",
        "partially_reversed",
        "reversed",
    },
}


def test_which_copies_are_not_believed() -> None:
    found = {status.value: {state.value for state in State if needs_reread(state, status)} for status in PaymentStatus}

    assert {status: states for status, states in found.items() if states} == REREAD


def test_the_database_refuses_every_move_that_is_not_in_the_table(owner_url: str) -> None:
    user, wallet, top_up = uuid4(), uuid4(), uuid4()
    with psycopg.connect(owner_url) as owner:
        owner.execute("ALTER TABLE top_ups DROP CONSTRAINT top_ups_credited_have_a_grant")
        owner.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [user])
        owner.execute("SELECT * FROM ledger_open_wallet(%s, %s)", [wallet, user])
        owner.execute(
            "INSERT INTO top_ups (id, user_id, wallet_id, amount_minor, currency, credits, credits_per_major, livemode,"
            " request_params, leased_until, created_at, expires_at)"
            " VALUES (%s, %s, %s, 1000, 'usd', 1, '1', false, '{}', now(), now(), now())",
            [top_up, user, wallet],
        )
        allowed = set()
        for start in State:
            owner.execute("ALTER TABLE top_ups DISABLE TRIGGER top_ups_move_as_allowed")
            owner.execute("UPDATE top_ups SET state = %s", [start])
            owner.execute("ALTER TABLE top_ups ENABLE TRIGGER top_ups_move_as_allowed")
            for end in State:
                try:
                    with owner.transaction(force_rollback=True):
                        owner.execute("UPDATE top_ups SET state = %s", [end])
                        allowed.add((start, end))
                except psycopg.errors.CheckViolation as error:
                    assert f"{start} cannot become {end}" in str(error)
        owner.rollback()
    stays = {(state, state) for state in State}
    assert allowed == {(start, end) for start, ends in TRANSITIONS.items() for end in ends} | stays


def test_the_picture_in_the_documents_shows_moves_that_exist() -> None:
    document = (Path(__file__).parents[2] / "docs" / "money.md").read_text()
    arrows = re.findall(r"^    (\w+) --> (\w+)", document, flags=re.MULTILINE)

    assert len(arrows) > 10
    assert [arrow for arrow in arrows if State(arrow[1]) not in TRANSITIONS[State(arrow[0])]] == []
