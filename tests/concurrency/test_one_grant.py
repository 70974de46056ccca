"""One payment is one grant, however often and from wherever the news of it comes, and with any one safeguard gone."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
import pytest

from pantheon.db.engine import Database
from pantheon.payments.stripe.client import API_VERSION
from pantheon.payments.stripe.sandbox import Switch
from tests.crash.processes import Service, free_port, service
from tests.installation import Installation, eventually
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]

TIMES = 50

# Each statement switches one safeguard off, as its owner could by mistake.
EVENTS_ARE_NOT_UNIQUE = """
    CREATE FUNCTION rename_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.event_id := NEW.event_id || '_' || gen_random_uuid(); RETURN NEW; END $$;
    CREATE TRIGGER inbox_events_are_renamed BEFORE INSERT ON inbox_events
        FOR EACH ROW EXECUTE FUNCTION rename_event();
"""
# A view over a function: FOR UPDATE finds no row of a table in it that it could lock.
TOP_UPS_ARE_NOT_LOCKED = """
    ALTER TABLE top_ups RENAME TO top_ups_table;
    CREATE FUNCTION top_ups_unlocked() RETURNS SETOF top_ups_table LANGUAGE plpgsql AS $$
        BEGIN RETURN QUERY SELECT * FROM top_ups_table; END $$;
    CREATE VIEW top_ups AS SELECT * FROM top_ups_unlocked();
    CREATE FUNCTION update_top_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE top_ups_table SET (state, reason, payment_intent_id, grant_id, credited_at, leased_until)
            = ROW (NEW.state, NEW.reason, NEW.payment_intent_id, NEW.grant_id, NEW.credited_at, NEW.leased_until)
            WHERE id = OLD.id;
        RETURN NEW; END $$;
    CREATE TRIGGER top_ups_are_updated INSTEAD OF UPDATE ON top_ups FOR EACH ROW EXECUTE FUNCTION update_top_up();
    GRANT SELECT, UPDATE ON top_ups TO PUBLIC;
    GRANT EXECUTE ON FUNCTION top_ups_unlocked(), update_top_up() TO PUBLIC;
"""
BUSINESS_KEYS_ARE_NOT_UNIQUE = """
    ALTER TABLE transfers DROP CONSTRAINT transfers_business_key_is_used_once;
    CREATE OR REPLACE FUNCTION ledger_prior(
        w wallets, p_kind text, p_reference_id text, p_debit text, p_amount numeric
    ) RETURNS ledger_result LANGUAGE sql AS $$ SELECT NULL::ledger_result $$;
"""


def granted_once(it: Installation) -> None:
    assert it.rows("SELECT kind, amount FROM transfers") == [{"kind": "top_up_grant", "amount": 333_330_000_000}]
    assert len(it.rows("SELECT FROM grants")) == 1


async def test_50_deliveries_of_one_event_at_once(installation: Installation) -> None:
    """T-071."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))

    answers = await asyncio.gather(*(installation.post_event(body, signed(body)) for _ in range(TIMES)))

    assert [answer.status_code for answer in answers] == [200] * TIMES
    assert sorted(answer.json()["status"] for answer in answers) == ["already_processed"] * (TIMES - 1) + ["ok"]
    await installation.becomes(ada, top_up_id, "credited")
    await installation.all_events_handled()
    (event,) = installation.rows("SELECT received_count FROM inbox_events WHERE event_id = 'evt_crafted'")
    assert event["received_count"] == TIMES
    granted_once(installation)


@pytest.mark.parametrize("other", ["the charge", "an endpoint of an older version", "Checkout"])
async def test_two_kinds_of_news_of_one_payment_at_once(installation: Installation, other: str) -> None:
    """T-055, T-056, T-057: both by turns, each several times, with ids of their own."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.switches.add(Switch(name="drop_webhook", times=None))
    installation.sandbox.play(top_up_id, "pay")
    payment = installation.sandbox.payments.find(top_up_id)
    metadata = {"metadata": payment["metadata"]}
    objects: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "the charge": (
            {
                "id": payment["latest_charge"],
                "object": "charge",
                "status": "succeeded",
                "payment_intent": payment["id"],
            },
            {"type": "charge.succeeded"},
        ),
        "an endpoint of an older version": (
            {"id": payment["id"], "object": "payment_intent", "status": "succeeded"},
            {"api_version": "2017-08-15"},
        ),
        "Checkout": (
            {
                "id": "cs_test_1",
                "object": "checkout.session",
                "payment_status": "paid",
                "payment_intent": payment["id"],
            },
            {"type": "checkout.session.completed"},
        ),
    }
    told, fields = objects[other]
    bodies = [
        body
        for number in range(10)
        for body in (
            event_for(payment, id=f"evt_crafted_new_{number}", api_version=API_VERSION),
            event_for(told | metadata, **{"id": f"evt_crafted_old_{number}", "api_version": API_VERSION} | fields),
        )
    ]

    answers = await asyncio.gather(*(installation.post_event(body, signed(body)) for body in bodies))

    assert [answer.status_code for answer in answers] == [200] * len(bodies)
    is_used = other == "an endpoint of an older version"
    assert {answer.json()["status"] for answer in answers[1::2]} == {"ok" if is_used else "ignored"}
    await installation.becomes(ada, top_up_id, "credited")
    await installation.all_events_handled()
    states = installation.rows("SELECT state FROM inbox_events WHERE event_id LIKE 'evt_crafted%%' AND %s", True)
    assert sorted(row["state"] for row in states) == ["done"] * 10 + ["done" if is_used else "ignored"] * 10
    granted_once(installation)


@pytest.mark.prove
async def test_50_events_for_one_payment_on_4_processes(app_url: str, owner_url: str, database: Database) -> None:
    """T-072. Asks for `database` so that the books are verified at the end."""
    async with service(app_url, owner_url, failpoints=[]) as (first, it):
        others = [Service(first.settings, free_port()) for _ in range(3)]
        services = [first, *others]
        try:
            for each in services:
                each.start()
            ada = await it.person()
            opened = await first.post(
                "/api/v1/users/me/wallet/top-up", json={"amount_usd": "10.00"}, headers=ada.headers
            )
            assert opened is not None
            payment = succeeded(it.sandbox.payments.find(opened.json()["top_up_id"]))
            bodies = [event_for(payment, id=f"evt_crafted_{number}") for number in range(TIMES)]

            answers = await asyncio.gather(
                *(
                    services[number % len(services)].post(
                        "/webhooks/stripe", content=body, headers={"Stripe-Signature": signed(body)}
                    )
                    for number, body in enumerate(bodies)
                )
            )

            assert [answer.status_code for answer in answers if answer is not None] == [200] * TIMES
            await eventually(lambda: _all_done(it), seconds=30)
            granted_once(it)
        finally:
            for each in others:
                each.process.kill()
                each.process.join()


async def _all_done(it: Installation) -> bool:
    return len(it.rows("SELECT FROM inbox_events WHERE state = 'done'")) == TIMES


@pytest.mark.parametrize(
    ("off", "same_event"),
    [
        pytest.param(EVENTS_ARE_NOT_UNIQUE, True, id="events may be stored twice"),
        pytest.param(TOP_UPS_ARE_NOT_LOCKED, False, id="the top-up is not locked"),
        pytest.param(BUSINESS_KEYS_ARE_NOT_UNIQUE, False, id="a business key may be used twice"),
    ],
)
async def test_one_safeguard_fewer_is_still_one_grant(
    installation: Installation, owner_url: str, off: str, same_event: bool
) -> None:
    """T-070: each of the three layers against double grants, switched off in turn."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    # With one declined attempt the payment is known: its own unique row does not stand in for what is switched off.
    installation.sandbox.play(top_up_id, "decline")
    await installation.all_events_handled()
    payment = succeeded(installation.sandbox.payments.find(top_up_id))
    await asyncio.to_thread(_switch_off, owner_url, off)

    bodies = [event_for(payment, id=f"evt_crafted_{0 if same_event else number}") for number in range(TIMES)]
    answers = await asyncio.gather(*(installation.post_event(body, signed(body)) for body in bodies))

    assert [answer.status_code for answer in answers] == [200] * TIMES
    await eventually(lambda: _crafted_done(installation), seconds=30)
    granted_once(installation)
    assert await installation.balance(ada) == "333.33"


def _switch_off(owner_url: str, statements: str) -> None:
    """In a thread: it waits for transactions of the application, which runs in this process too."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(statements.encode())


async def _crafted_done(it: Installation) -> bool:
    done = it.rows("SELECT FROM inbox_events WHERE event_id LIKE 'evt_crafted%%' AND state = 'done' AND %s", True)
    return len(done) == TIMES


@pytest.mark.prove
async def test_a_wallet_that_somebody_keeps_locked_is_waited_for(
    install: Install, app_url: str, owner_url: str
) -> None:
    """T-098: the worker gives up waiting and leaves nothing locked, and the event is tried again by itself."""
    app = psycopg.conninfo.conninfo_to_dict(app_url)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"ALTER ROLE {app['user']} IN DATABASE {app['dbname']} SET lock_timeout = '100ms'".encode())
    async with install() as installation:
        ada = await installation.person()
        top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
        with psycopg.connect(owner_url) as blocker:
            blocker.execute("SELECT FROM wallets FOR UPDATE")
            installation.sandbox.play(top_up_id, "pay")

            async def given_up() -> bool:
                return bool(installation.rows("SELECT FROM inbox_events WHERE last_error = 'database_busy'"))

            await eventually(given_up)
            # Nothing is left locked while the event waits for its next attempt.
            blocker.execute("SELECT FROM top_ups FOR UPDATE NOWAIT")

        await eventually(lambda: _is_credited(installation), seconds=20)
        granted_once(installation)


async def _is_credited(it: Installation) -> bool:
    return bool(it.rows("SELECT FROM top_ups WHERE state = 'credited'"))
