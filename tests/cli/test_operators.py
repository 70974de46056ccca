"""What operators do about events that were given up and payments that are not what was promised."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from pantheon.clock import now
from pantheon.errors import ConflictError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.payments.check_invariants import check_invariants
from pantheon.payments.explain import explain
from pantheon.payments.replay_event import replay_event
from pantheon.payments.resolve_top_up import Action, resolve_top_up
from pantheon.wallets.adjust_credits import adjust_credits
from pantheon.wallets.grant_credits import grant_credits
from tests.cli.conftest import Install, Run
from tests.installation import TEST, Installation, Person
from tests.payments.events import event_for, signed, succeeded


async def in_review(installation: Installation, **change: Any) -> tuple[Person, str]:
    """A top-up of 10.00 for 333.33 credits, of which by default 5.00 came in."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    payment = installation.sandbox.payments.find(top_up_id)
    body = event_for(succeeded(payment, **{"amount_received": 500, **change}))
    assert (await installation.post_event(body, signed(body))).status_code == 200
    await installation.becomes(ada, top_up_id, "review")
    return ada, top_up_id


@pytest.mark.parametrize(
    ("action", "balance", "status"),
    [
        ("credit", "333.33", "credited"),
        pytest.param("credit-received", "166.67", "credited", marks=pytest.mark.prove),
        pytest.param("refunded-outside", "0", "refunded_unmatched", marks=pytest.mark.prove),
    ],
)
async def test_a_decision_is_carried_out_once_and_audited(
    installation: Installation, run: Run, action: str, balance: str, status: str
) -> None:
    ada, top_up_id = await in_review(installation)
    command = ("top-ups", "resolve", top_up_id, "--action", action, "--reason", "The bank kept a fee")

    first, second = run(*command), run(*command, "--json")

    assert first.stdout == f"The top-up is {status} now.\n", first.stderr
    assert json.loads(second.stdout)["changed"] is False
    assert await installation.status(ada, top_up_id) == status
    assert await installation.balance(ada) == balance
    (audited,) = installation.rows("SELECT * FROM audit_log WHERE action = 'top_up.resolved'")
    assert audited["actor_name"] == "cli" and audited["subject"] == f"top_up:{top_up_id}"
    assert audited["details"]["reason"] == "The bank kept a fee" and audited["details"]["was"] == "received_less"
    assert await check_invariants(installation.runtime.database) == {}
    assert run("top-ups", "list", "--state", "review").stdout.endswith("0 of 0 top-ups\n")


async def test_two_operators_at_once_come_to_one_outcome(installation: Installation) -> None:
    ada, _ = await in_review(installation)
    (row,) = installation.rows("SELECT id FROM top_ups")

    answers = await asyncio.gather(
        *(
            resolve_top_up(installation.runtime.database, TEST, top_up_id=row["id"], action=action, reason="x")
            for action in (Action.CREDIT, Action.REFUNDED_OUTSIDE, Action.CREDIT_RECEIVED) * 2
        ),
        return_exceptions=True,
    )

    done = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert sorted(changed for _, changed in done) == [False, True]
    assert all(isinstance(answer, ConflictError) for answer in answers if isinstance(answer, BaseException))
    assert len(installation.rows("SELECT FROM audit_log WHERE action = 'top_up.resolved'")) == 1
    assert len(installation.rows("SELECT FROM transfers")) == (await installation.balance(ada) != "0")


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"amount_received": 0}, Action.CREDIT),
        ({"amount_received": 0}, Action.CREDIT_RECEIVED),
        ({"currency": "jpy"}, Action.CREDIT_RECEIVED),
    ],
)
async def test_nothing_is_credited_for_what_did_not_come_in(
    installation: Installation, change: dict[str, Any], action: Action
) -> None:
    ada, _ = await in_review(installation, **change)
    (row,) = installation.rows("SELECT id FROM top_ups")
    with pytest.raises(ConflictError):
        await resolve_top_up(installation.runtime.database, TEST, top_up_id=row["id"], action=action, reason="x")
    assert await installation.balance(ada) == "0"


async def test_only_what_is_in_review_is_decided(installation: Installation, run: Run) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    refused = run("top-ups", "resolve", top_up_id, "--action", "credit", "--reason", "Because")
    assert refused.returncode == 1
    assert "This top-up is not in review: it is awaiting_payment" in refused.stderr
    assert await installation.balance(ada) == "0"


async def parked(installation: Installation) -> tuple[Person, str]:
    """An event that was given up for a reason that is mended by now."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
    assert (await installation.post_event(body, signed(body))).status_code == 200
    installation.execute(
        "UPDATE inbox_events SET state = 'parked', outcome = 'top_up_unknown', handled_at = now()"
        " WHERE event_id = 'evt_crafted'"
    )
    return ada, top_up_id


@pytest.mark.prove
async def test_a_parked_event_is_handled_once_more_and_a_done_one_stays(
    install: Install, app_url: str, run: Run
) -> None:
    async with install(worker=False) as installation:
        ada, _ = await parked(installation)
        (listed,) = json.loads(run("events", "list", "--state", "stuck", "--json").stdout)["events"]
        assert (listed["event_id"], listed["state"], listed["outcome"]) == ("evt_crafted", "parked", "top_up_unknown")

        first, second = run("events", "replay", "evt_crafted"), run("events", "replay", listed["id"])

        assert first.stdout == "The event was parked; the worker handles it now.\n", first.stderr
        assert second.stdout == "The event is about to be handled anyway.\n"
        (audited,) = installation.rows("SELECT details FROM audit_log WHERE action = 'event.replayed'")
        assert audited["details"] == {"event_id": "evt_crafted", "state": "parked", "was": "top_up_unknown"}
    async with install() as installation:
        await installation.all_events_handled()
        assert await installation.balance(ada) == "333.33"
    third = run("events", "replay", "evt_crafted", "--json")
    assert json.loads(third.stdout) == {"state_before": "done", "replayed": False}
    assert run("events", "replay", "evt_unknown").stderr == "pantheon: Event not found.\n"


async def test_an_event_replayed_by_many_at_once_is_woken_once(install: Install) -> None:
    async with install(worker=False) as installation:
        await parked(installation)
        (row,) = installation.rows("SELECT id, next_attempt_at FROM inbox_events WHERE event_id = 'evt_crafted'")
        database = installation.runtime.database
        answers = await asyncio.gather(*(replay_event(database, TEST, inbox_event_id=row["id"]) for _ in range(4)))
        assert sorted(answers) == [("parked", True), *[("received", False)] * 3]
        assert len(installation.rows("SELECT FROM audit_log WHERE action = 'event.replayed'")) == 1


async def test_one_that_failed_does_not_wait_for_its_next_attempt(install: Install) -> None:
    async with install(worker=False) as installation:
        await parked(installation)
        installation.execute(
            "UPDATE inbox_events SET state = 'received', outcome = NULL, handled_at = NULL, last_error = 'unavailable',"
            " next_attempt_at = now() + interval '1 hour' WHERE event_id = 'evt_crafted'"
        )
        (row,) = installation.rows("SELECT id FROM inbox_events WHERE event_id = 'evt_crafted'")

        answer = await replay_event(installation.runtime.database, TEST, inbox_event_id=row["id"])

        assert answer == ("received", True)
        assert installation.rows("SELECT FROM inbox_events WHERE state = 'received' AND next_attempt_at > now()") == []


@pytest.mark.prove
async def test_everything_about_a_top_up_says_why_it_was_credited(installation: Installation, run: Run) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
    await installation.post_event(body, signed(body))
    await installation.becomes(ada, top_up_id, "credited")
    (row,) = installation.rows(
        "SELECT t.id AS transfer, g.id AS grant, u.payment_intent_id AS payment FROM transfers t"
        " JOIN grants g ON g.reference_id = t.reference_id JOIN top_ups u ON u.grant_id = g.id"
    )
    conclusion = (
        f"Credited once, by transfer {row['transfer']} of 333.33 credits,"
        f" because event evt_crafted reported that payment {row['payment']} succeeded."
    )

    for name in (top_up_id, str(row["grant"])):
        assert (await explain(installation.runtime.database, name)).conclusion == conclusion
    answer = json.loads(run("ledger", "explain", row["payment"], "--json").stdout)
    assert answer["conclusion"] == conclusion
    assert {section["title"] for section in answer["sections"]} >= {"history", "events", "transfers of the grant"}
    assert conclusion in run("top-ups", "show", top_up_id).stdout
    assert "It was handled with the outcome credited." in run("events", "show", "evt_crafted").stdout
    moved = await explain(installation.runtime.database, str(row["transfer"]))
    assert moved.conclusion == (
        f"333.33 credits went from issued_paid to available, because of top-up {top_up_id.removeprefix('topup_')}."
        " A payment was received."
    )
    assert "Nothing has this id" in run("ledger", "explain", "pi_unknown").stderr
    wrong_kind = run("events", "show", top_up_id)
    assert wrong_kind.returncode == 1 and "is of a top-up" in wrong_kind.stderr


async def test_every_event_of_a_top_up_is_shown_with_what_became_of_it(installation: Installation) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    bea = await installation.person(email="bea@example.com")
    other = (await installation.top_up(bea)).json()["top_up_id"]
    payment = installation.sandbox.payments.find(top_up_id)
    await installation.all_events_handled()
    for body in (
        event_for(payment, type="payment_intent.payment_failed", id="evt_1"),
        event_for(succeeded(payment), id="evt_2"),
        event_for(succeeded(payment), id="evt_3"),
        event_for(payment, type="payment_intent.amount_capturable_updated", id="evt_4"),
        event_for(installation.sandbox.payments.find(other), type="payment_intent.payment_failed", id="evt_other"),
    ):
        await installation.post_event(body, signed(body))
        await installation.all_events_handled()

    answer = await explain(installation.runtime.database, top_up_id)
    (events,) = (section.rows for section in answer.sections if section.title == "events")
    became = {row["event_id"]: (row["state"], row["outcome"]) for row in events}

    assert list(became)[-4:] == ["evt_1", "evt_2", "evt_3", "evt_4"]
    assert "evt_other" not in became
    assert became["evt_1"] == ("done", "payment_failed")
    assert became["evt_2"] == ("done", "credited")
    assert became["evt_3"] == ("done", "unchanged")
    assert became["evt_4"] == ("ignored", "type_not_used")
    about = await explain(installation.runtime.database, "evt_3")
    assert [row["id"] for section in about.sections if section.title == "top-ups" for row in section.rows] == [
        top_up_id.removeprefix("topup_")
    ]


async def test_an_event_of_before_is_known_by_what_it_changed(installation: Installation) -> None:
    _, top_up_id = await in_review(installation)
    installation.execute("UPDATE inbox_events SET top_up_id = NULL")
    answer = await explain(installation.runtime.database, top_up_id)
    (events,) = (section.rows for section in answer.sections if section.title == "events")
    assert [event["event_id"] for event in events] == ["evt_crafted"]


async def test_what_was_taken_back_or_corrected_since_is_told(installation: Installation) -> None:
    ada = await installation.person()
    database = installation.runtime.database
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
    await installation.post_event(body, signed(body))
    await installation.becomes(ada, top_up_id, "credited")
    (grant,) = installation.rows("SELECT id FROM grants")
    await adjust_credits(database, TEST, user_id=ada.id, amount="-100", note="x")
    async with database.transaction() as tx:
        await post.reverse_to_target(tx, grant_id=grant["id"], target=300 * 10**9)

    answer = await explain(database, top_up_id)

    assert answer.conclusion.endswith(
        "succeeded. Since then 233.33 unspent credits were taken back, 66.67 spent credits were taken back, which"
        " became debt, 100 credits were taken by corrections; 0 of them are left."
    )
    kinds = [
        row["kind"] for section in answer.sections if section.title == "transfers of the grant" for row in section.rows
    ]
    assert kinds == ["top_up_grant", "adjustment", "reversal", "debt_raised"]


async def test_a_top_up_in_review_says_what_came_in(installation: Installation) -> None:
    _, top_up_id = await in_review(installation)
    answer = await explain(installation.runtime.database, top_up_id)
    assert answer.conclusion == (
        "Nothing is credited, because the payment is not what was promised (received_less): 5.00 came in,"
        " 10.00 was expected; an operator has to decide."
    )


async def test_grants_and_holds_are_explained_too(installation: Installation) -> None:
    ada = await installation.person()
    database = installation.runtime.database
    change = await grant_credits(database, TEST, user_id=ada.id, amount="100", note="x")
    (row,) = installation.rows("SELECT g.id, w.id AS wallet FROM grants g JOIN wallets w ON w.id = g.wallet_id")
    hold_id = uuid7()
    async with database.transaction() as tx:
        placed = await post.place_hold(
            tx, wallet_id=row["wallet"], hold_id=hold_id, amount=10**9, expires_at=now() + timedelta(hours=1)
        )
    assert placed.code == "ok"

    given, held = await explain(database, str(row["id"])), await explain(database, str(hold_id))
    moved = await explain(database, str(change.transfer_id))

    assert given.conclusion == f"Given as admin by transfer {change.transfer_id}; 99 of 100 credits are left."
    assert held.conclusion == "It is placed: 0 of 1 credits were used."
    assert [row["kind"] for section in held.sections if section.title == "transfers" for row in section.rows] == [
        "hold_placed"
    ]
    (audited,) = next(section.rows for section in moved.sections if section.title == "audit")
    assert audited["action"] == "grant.posted"
