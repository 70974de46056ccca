"""Killed anywhere (kill -9 of a real process), right afterwards: one payment, one grant, and nobody has to help."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from pantheon import failpoints
from pantheon.db.engine import Database
from pantheon.payments.stripe.sandbox import Switch
from pantheon.users.rights import Role
from tests.crash.processes import Service, service
from tests.installation import Installation, Person, eventually

OPENING = {
    "FP-1": "top_up.row_inserted",
    "FP-3": "top_up.stripe_answered",
    "FP-4": "top_up.payment_stored",
}
HANDLING = {
    "FP-5": "event.verified",
    "FP-6": "event.inserted",
    "FP-7": "event.stored",
    "FP-8": "event.claimed",
    "FP-9": "event.facts_written",
    "FP-10": "event.posted",
    "FP-11": "event.done",
}
POINTS = OPENING | HANDLING

TOP_UP = "/api/v1/users/me/wallet/top-up"

# Once each, and once each with a second kill during the recovery: after FP-11 nothing is left to recover.
OFTEN = ("FP-3", "FP-10")
"""Those that each run of the tests kills at; the others are long proofs, as the double kills are."""
ONCE = [[name] for name in POINTS]
TWICE = [
    ["FP-1", "FP-3"],
    ["FP-3", "FP-1"],
    ["FP-4", "FP-8"],
    ["FP-5", "FP-7"],
    ["FP-6", "FP-10"],
    ["FP-7", "FP-9"],
    ["FP-8", "FP-11"],
    ["FP-9", "FP-8"],
    ["FP-10", "FP-9"],
]


async def opened(service: Service, it: Installation, ada: Person) -> str:
    """The top-up, as soon as the user who asks again and again with one key gets it."""
    while True:
        answer = await service.post(
            TOP_UP, json={"amount_usd": "10.00"}, headers=ada.headers | {"Idempotency-Key": "k"}
        )
        if answer is not None and answer.status_code in (200, 201):
            assert answer.json()["client_secret"]
            return str(answer.json()["top_up_id"])
        assert answer is None, answer.text
        service.rise()
        # The lease of the dead process has run out: its 30 seconds are not waited for.
        it.execute("UPDATE top_ups SET leased_until = now()")


async def credited(service: Service, it: Installation) -> None:
    async def settled() -> bool:
        service.rise()
        open_events = it.rows("SELECT FROM inbox_events WHERE state = 'received'")
        undelivered = [delivery for delivery in it.sandbox.deliveries() if delivery.state == "pending"]
        is_credited = bool(it.rows("SELECT FROM top_ups WHERE state = 'credited'"))
        return is_credited and not open_events and not undelivered and not service.failpoints

    await eventually(settled, seconds=30)


def one_of_everything(it: Installation) -> None:
    assert it.sandbox.store.count("payment_intent") == 1
    assert [row["state"] for row in it.rows("SELECT state FROM top_ups")] == ["credited"]
    assert it.rows("SELECT kind, amount FROM transfers") == [{"kind": "top_up_grant", "amount": 333_330_000_000}]
    assert len(it.rows("SELECT FROM grants")) == 1
    events = it.rows("SELECT state FROM inbox_events WHERE type = 'payment_intent.succeeded'")
    assert events == [{"state": "done"}]


@pytest.mark.parametrize(
    "kills",
    [pytest.param(kills, id=kills[0], marks=() if kills[0] in OFTEN else pytest.mark.prove) for kills in ONCE]
    + [pytest.param(kills, id=" then ".join(kills), marks=pytest.mark.prove) for kills in TWICE],
)
async def test_one_payment_and_one_grant(kills: list[str], app_url: str, owner_url: str, database: Database) -> None:
    """T-075, T-076. Asks for `database` so that the books are verified at the end."""
    names = [POINTS[kill] for kill in kills]
    async with service(app_url, owner_url, failpoints=list(names)) as (served, it):
        ada = await it.person()
        served.start()

        top_up_id = await opened(served, it, ada)
        it.sandbox.play(top_up_id, "pay")
        await credited(served, it)

        assert served.deaths == names
        one_of_everything(it)
        assert await opened(served, it, ada) == top_up_id


@pytest.mark.prove
async def test_killed_while_stripe_has_the_payment_and_its_answer_is_on_the_way(
    app_url: str, owner_url: str, database: Database
) -> None:
    """T-075 with FP-2, and with a second kill at FP-3 while the sweep repeats the call."""
    async with service(app_url, owner_url, failpoints=["in flight", "top_up.stripe_answered"]) as (served, it):
        ada = await it.person()
        it.sandbox.switches.add(Switch(name="webhook_first", on="POST /v1/payment_intents", ms=60_000))
        served.start()
        await killed_in_flight(served, it, ada)
        it.execute("UPDATE top_ups SET leased_until = now()")

        served.rise()
        await payment_known(served, it)
        top_up_id = await opened(served, it, ada)
        it.sandbox.play(top_up_id, "pay")
        await credited(served, it)

        assert served.deaths == ["in flight", "top_up.stripe_answered"]
        one_of_everything(it)


@pytest.mark.prove
@pytest.mark.parametrize("kill", OPENING)
async def test_the_sweep_finishes_a_top_up_whose_user_never_asks_again(
    kill: str, app_url: str, owner_url: str, database: Database
) -> None:
    """T-075: the start after the kill sweeps at once."""
    async with service(app_url, owner_url, failpoints=[OPENING[kill]]) as (served, it):
        ada = await it.person()
        served.start()
        assert await served.post(TOP_UP, json={"amount_usd": "10.00"}, headers=ada.headers) is None
        it.execute("UPDATE top_ups SET leased_until = now()")

        served.rise()
        await payment_known(served, it)

        (row,) = it.rows("SELECT id, state FROM top_ups")
        assert row["state"] == "awaiting_payment"
        it.sandbox.play(str(row["id"]), "pay")
        await credited(served, it)
        one_of_everything(it)


async def payment_known(served: Service, it: Installation) -> None:
    async def known() -> bool:
        served.rise()
        return bool(it.rows("SELECT FROM top_ups WHERE payment_intent_id IS NOT NULL"))

    await eventually(known, seconds=30)


async def killed_in_flight(served: Service, it: Installation, ada: Person) -> None:
    request: asyncio.Task[Any] = asyncio.create_task(
        served.post(TOP_UP, json={"amount_usd": "10.00"}, headers=ada.headers | {"Idempotency-Key": "k"})
    )

    async def reached() -> bool:
        return it.sandbox.store.count("payment_intent") == 1

    await eventually(reached, seconds=30)
    served.kill()
    assert await request is None
    it.sandbox.switches.clear()
    (row,) = it.rows("SELECT state, payment_intent_id FROM top_ups")
    assert row == {"state": "creating", "payment_intent_id": None}


async def test_a_grant_and_its_audit_row_are_both_there_or_neither(
    app_url: str, owner_url: str, database: Database
) -> None:
    """T-159, FP-15: killed between the two; the operator's retry with the same key then leaves one of each."""
    async with service(app_url, owner_url, failpoints=["grant.posted"]) as (served, it):
        olga, ada = await it.person(Role.OWNER, "olga@example.com"), await it.person()
        path, headers = f"/api/v1/admin/users/{ada.id}/wallet/grant", olga.headers | {"Idempotency-Key": "g"}
        served.start()

        assert await served.post(path, json={"amount": "5", "note": "sorry"}, headers=headers) is None
        assert _grants_and_audit_rows(it) == (0, 0)
        served.rise()
        answer = await served.post(path, json={"amount": "5", "note": "sorry"}, headers=headers)

        assert answer is not None
        assert answer.status_code == 200, answer.text
        assert _grants_and_audit_rows(it) == (1, 1)
        assert served.deaths == ["grant.posted"]


async def test_a_grant_whose_audit_row_cannot_be_written_is_none(installation: Installation) -> None:
    """T-159, FP-15: wherever the process may be killed, because the two are one transaction."""
    olga, ada = await installation.person(Role.OWNER, "olga@example.com"), await installation.person()
    path, headers = f"/api/v1/admin/users/{ada.id}/wallet/grant", olga.headers | {"Idempotency-Key": "g"}
    installation.execute("ALTER TABLE audit_log ADD CONSTRAINT no_grants CHECK (action <> 'grant.posted')")

    answer = await installation.client.post(path, json={"amount": "5", "note": "sorry"}, headers=headers)

    assert answer.status_code >= 500
    assert _grants_and_audit_rows(installation) == (0, 0)
    installation.execute("ALTER TABLE audit_log DROP CONSTRAINT no_grants")
    assert (
        await installation.client.post(path, json={"amount": "5", "note": "sorry"}, headers=headers)
    ).status_code == 200
    assert _grants_and_audit_rows(installation) == (1, 1)


def _grants_and_audit_rows(it: Installation) -> tuple[int, int]:
    audit = it.rows("SELECT FROM audit_log WHERE action = 'grant.posted'")
    return len(it.rows("SELECT FROM transfers")), len(audit)


@pytest.mark.parametrize("app_env", ["production", "staging", None])
def test_failpoints_mean_nothing_outside_of_tests(app_env: str | None) -> None:
    """A process of its own, because a failpoint that worked would end it."""
    environment = {name: value for name, value in os.environ.items() if name != "APP_ENV"} | {"FAILPOINT": "here"}
    program = [sys.executable, "-c", f"from {failpoints.__name__} import reach; reach('here'); print('alive')"]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(program, env=environment | more, capture_output=True, text=True, check=False)

    assert run(**({"APP_ENV": app_env} if app_env else {})).stdout == "alive\n"
    assert run(APP_ENV="test").returncode == -9
