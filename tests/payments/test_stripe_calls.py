"""Calls to Stripe that go wrong: nothing is paid twice, nobody waits for long, and nobody learns more than they may."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pantheon.api.server import bind, serving
from pantheon.errors import PaymentsUnavailableError
from pantheon.payments.stripe.breaker import Breaker
from pantheon.payments.stripe.client import Stripe
from pantheon.payments.stripe.sandbox import Switch
from pantheon.payments.sweep import sweep_top_ups
from pantheon.web.app import create_app
from tests.installation import Installation, Person

Install = Callable[..., AbstractAsyncContextManager[Installation]]
CREATE = "POST /v1/payment_intents"
KEY = {"Idempotency-Key": "attempt-1"}


@pytest.fixture
async def installation(install: Install) -> AsyncIterator[Installation]:
    """Without a worker: its sweep at each full minute would take over what these tests leave half done."""
    async with install(worker=False) as installation:
        yield installation


def keys(installation: Installation) -> list[str]:
    return [
        request["idempotency_key"]
        for request in installation.sandbox.requests
        if f"{request['method']} {request['path']}" == CREATE
    ]


def fault(installation: Installation, name: Any, **fields: Any) -> None:
    installation.sandbox.switches.add(Switch(name=name, **{"on": CREATE} | fields))


def states(installation: Installation) -> list[str]:
    return [row["state"] for row in installation.rows("SELECT state FROM top_ups ORDER BY created_at")]


def lease_ends(installation: Installation) -> None:
    installation.execute("UPDATE top_ups SET leased_until = now()")


async def sweep(installation: Installation) -> None:
    assert installation.runtime.stripe is not None
    await sweep_top_ups(installation.runtime.database, installation.runtime.stripe)


async def test_twenty_parallel_requests_with_one_key_are_one_payment(installation: Installation) -> None:
    """T-007."""
    ada = await installation.person()
    fault(installation, "hang", ms=100)

    answers = await asyncio.gather(*(installation.top_up(ada, "10", **KEY) for _ in range(20)))

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    assert installation.sandbox.store.count("payment_intent") == 1
    (row,) = installation.rows("SELECT id FROM top_ups")
    assert set(keys(installation)) == {f"topup-create-{row['id']}"}


@pytest.mark.parametrize("worked", [True, False])
async def test_a_failure_that_stripe_keeps_is_looked_up_and_ends(installation: Installation, worked: bool) -> None:
    """T-020."""
    ada = await installation.person()
    fault(installation, "fail", work=worked)

    answer = await installation.top_up(ada, "10", **KEY)

    assert answer.status_code == (201 if worked else 503)
    assert states(installation) == ["awaiting_payment" if worked else "creating"]
    lease_ends(installation)
    await sweep(installation)
    assert states(installation) == ["awaiting_payment" if worked else "failed_to_create"]
    calls = len(keys(installation))
    await sweep(installation)
    assert len(keys(installation)) == calls
    assert installation.sandbox.store.count("payment_intent") == int(worked)


async def test_a_lost_answer_is_one_payment(installation: Installation) -> None:
    """T-021."""
    ada = await installation.person()
    fault(installation, "lose_answer")

    assert (await installation.top_up(ada)).status_code == 201

    assert installation.sandbox.store.count("payment_intent") == 1
    assert len(keys(installation)) == 2


async def test_a_payment_is_found_behind_250_others(installation: Installation) -> None:
    """T-023."""
    ada = await installation.person()
    fault(installation, "lose_answer", times=3)
    await installation.top_up(ada)
    (row,) = installation.rows("SELECT id FROM top_ups")
    payment = installation.sandbox.payments.find(str(row["id"]))
    for number in range(250):
        installation.sandbox.store.put(payment | {"id": f"pi_{number}", "metadata": {}})
    installation.execute("UPDATE top_ups SET leased_until = now(), created_at = now() - interval '24 hours'")

    await sweep(installation)

    assert installation.rows("SELECT state, payment_intent_id FROM top_ups") == [
        {"state": "awaiting_payment", "payment_intent_id": payment["id"]}
    ]


async def test_the_sweep_and_the_user_at_once_are_one_payment(installation: Installation) -> None:
    """T-024."""
    ada = await installation.person()
    fault(installation, "lose_request", times=3)
    await installation.top_up(ada, "10", **KEY)
    lease_ends(installation)
    fault(installation, "hang", ms=100)

    _, answer = await asyncio.gather(sweep(installation), installation.top_up(ada, "10", **KEY))

    assert answer.status_code == 200
    assert states(installation) == ["awaiting_payment"]
    assert installation.sandbox.store.count("payment_intent") == 1
    assert len(set(keys(installation))) == 1


async def test_a_row_of_an_older_release_is_repeated_as_it_was(installation: Installation) -> None:
    """T-025."""
    ada = await installation.person()
    fault(installation, "lose_request", times=3)
    await installation.top_up(ada, "10", **KEY)
    installation.execute("ALTER TABLE top_ups DISABLE TRIGGER top_ups_promise_is_fixed")
    installation.execute(
        "UPDATE top_ups SET request_params = jsonb_set(request_params, '{description}', '\"Old words\"'),"
        " leased_until = now()"
    )
    fault(installation, "lose_answer", times=3)
    assert (await installation.top_up(ada, "10", **KEY)).status_code == 503

    answer = await installation.top_up(ada, "10", **KEY)

    assert answer.status_code == 200
    assert installation.sandbox.payments.find(answer.json()["top_up_id"])["description"] == "Old words"
    assert installation.sandbox.store.count("payment_intent") == 1


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("key_in_use", {}),
        ("fail", {"saved": False}),
        ("lose_request", {}),
        ("rate_limit", {"code": "lock_timeout"}),
    ],
)
async def test_a_short_trouble_is_not_noticed(installation: Installation, name: str, fields: dict[str, Any]) -> None:
    """T-026."""
    ada = await installation.person()
    fault(installation, name, **fields)

    assert (await installation.top_up(ada)).status_code == 201

    assert len(keys(installation)) <= 3
    assert len(set(keys(installation))) == 1
    assert installation.sandbox.store.count("payment_intent") == 1


def refusal(status: int, type: str, **fields: str) -> dict[str, Any]:
    secret = {"message": "Stripe's own words", "decline_code": "fraudulent"}
    return {"name": "refuse", "times": None, "status": status, "error": {"type": type, **secret, **fields}}


CARD, INVALID = "card_error", "invalid_request_error"
FAILURES: list[tuple[dict[str, Any], int, str, str]] = [
    (refusal(402, CARD, code="card_declined"), 402, "payment_declined", "creating"),
    (refusal(402, CARD, code="authentication_required"), 402, "payment_declined", "creating"),
    (refusal(400, INVALID, code="amount_too_small"), 422, "amount_out_of_range", "failed_to_create"),
    (refusal(400, INVALID, code="amount_too_large"), 422, "amount_out_of_range", "failed_to_create"),
    (refusal(400, INVALID, code="resource_missing", param="customer"), 503, "payments_unavailable", "creating"),
    (refusal(400, INVALID, code="parameter_unknown"), 503, "payment_provider_rejected", "failed_to_create"),
    (refusal(400, "idempotency_error"), 503, "payments_unavailable", "creating"),
    (refusal(401, INVALID), 503, "payments_unavailable", "creating"),
    (refusal(403, INVALID), 503, "payments_unavailable", "creating"),
    ({"name": "rate_limit", "times": None}, 503, "payments_unavailable", "creating"),
    ({"name": "rate_limit", "times": None, "code": "lock_timeout"}, 503, "payments_unavailable", "creating"),
    ({"name": "lose_request", "times": None}, 503, "payments_unavailable", "creating"),
    ({"name": "fail", "times": None, "saved": False}, 503, "payments_unavailable", "creating"),
    ({"name": "key_in_use", "times": None}, 503, "payments_unavailable", "creating"),
]


async def test_each_failure_of_stripe_has_its_answer(install: Install, subtests: pytest.Subtests) -> None:
    """T-027."""
    async with install(top_up_max_open=100, rate_limit_top_ups_per_hour=100) as installation:
        ada = await installation.person()
        for number, (switch, status, code, state) in enumerate(FAILURES):
            with subtests.test(switch=switch):
                fault(installation, **switch)

                answer = await installation.top_up(ada, str(10 + number))

                installation.sandbox.switches.clear()
                assert (answer.status_code, answer.json()["code"]) == (status, code)
                assert states(installation)[-1] == state
                for never in ("Stripe's own words", "fraudulent", "decline_code", "param"):
                    assert never not in answer.text
                if code == "payments_unavailable":
                    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.prove
async def test_a_stripe_that_hangs_holds_up_nobody_else(install: Install) -> None:
    """T-028."""
    async with install(stripe_timeout_seconds=1) as installation:
        ada = await installation.person()
        fault(installation, "hang", ms=60_000, times=None)

        hanging = asyncio.create_task(installation.top_up(ada))
        served = [await installation.balance(ada) for _ in range(5)]

        assert served == ["0"] * 5
        assert not hanging.done()
        async with asyncio.timeout(5):
            answer = await hanging
        assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
        assert states(installation) == ["creating"]


class Hands:
    """A clock whose hands are moved by the test."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@asynccontextmanager
async def with_breaker(installation: Installation, breaker: Breaker) -> AsyncIterator[Installation]:
    """The same installation, with a breaker that the test holds the clock of."""
    settings = installation.runtime.settings
    assert settings.stripe_secret_key is not None
    stripe = Stripe(
        settings.stripe_secret_key.get_secret_value(),
        api_base=settings.stripe_api_base,
        timeout_seconds=5,
        breaker=breaker,
    )
    runtime, listener = replace(installation.runtime, stripe=stripe), bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = type(installation.client)(base_url=url, timeout=30)
    async with serving(create_app(runtime), listener), client:
        yield replace(installation, runtime=runtime, url=url, client=client)
    await stripe.close()


async def top_ups(installation: Installation, person: Person, amounts: range) -> list[int]:
    return [(await installation.top_up(person, str(amount))).status_code for amount in amounts]


async def test_after_five_failures_stripe_is_left_alone_for_a_while(install: Install) -> None:
    """T-029."""
    hands = Hands()
    breaker = Breaker(pause=timedelta(seconds=30), now=hands.now)
    async with (
        install(top_up_max_open=100, rate_limit_top_ups_per_hour=100, worker=False) as whole,
        with_breaker(whole, breaker) as installation,
    ):
        ada = await installation.person()
        fault(installation, "rate_limit", times=1)  # an answer of Stripe's, and no outage
        fault(installation, "refuse", times=5, status=401, error={"type": "invalid_request_error"})
        assert await top_ups(installation, ada, range(10, 16)) == [503] * 6
        calls = len(installation.sandbox.requests)

        answer = await installation.top_up(ada, "16")

        assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
        assert 0 < int(answer.headers["Retry-After"]) <= 31
        assert len(installation.sandbox.requests) == calls
        hands.time += timedelta(seconds=30)
        assert await top_ups(installation, ada, range(17, 19)) == [201, 201]


def test_one_call_tries_after_the_pause_and_decides_for_all() -> None:
    hands = Hands()
    breaker = Breaker(failures=2, pause=timedelta(seconds=30), now=hands.now)
    breaker.failed()
    breaker.admit()
    breaker.failed()
    hands.time += timedelta(seconds=30)

    breaker.admit()
    with pytest.raises(PaymentsUnavailableError):
        breaker.admit()
    breaker.failed()
    hands.time += timedelta(seconds=29)
    with pytest.raises(PaymentsUnavailableError):
        breaker.admit()
    hands.time += timedelta(seconds=1)
    breaker.admit()
    breaker.worked()

    breaker.admit()
    breaker.failed()
    breaker.admit()


@pytest.mark.prove
async def test_one_top_ups_trouble_does_not_keep_the_others_waiting(install: Install) -> None:
    async with install(top_up_max_open=100, rate_limit_top_ups_per_hour=100, database_pool_size=6) as installation:
        ada = await installation.person()
        await installation.top_up(ada, "5")
        fault(installation, "lose_request", times=3 * 4)
        await top_ups(installation, ada, range(10, 14))
        lease_ends(installation)
        fault(installation, "refuse", error={"code": "parameter_unknown"})

        await sweep(installation)

        assert sorted(states(installation)) == ["awaiting_payment"] * 4 + ["failed_to_create"]


async def test_a_top_up_that_was_cancelled_unopened_is_not_opened_again(installation: Installation) -> None:
    ada = await installation.person()
    fault(installation, "lose_request", times=3)
    await installation.top_up(ada, "10", **KEY)
    (row,) = installation.rows("SELECT id FROM top_ups")
    await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{row['id']}/cancel", headers=ada.headers)
    installation.execute("UPDATE top_ups SET leased_until = now(), created_at = now() - interval '24 hours'")
    await sweep(installation)
    assert states(installation) == ["canceled"]

    answer = await installation.top_up(ada, "10", **KEY)

    assert answer.status_code == 409
    assert installation.sandbox.store.count("payment_intent") == 0
