import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.installation import WEBHOOK_SECRET, Installation
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]

OLD_SECRET = "whsec_fedcba9876543210fedcba9876543210"


async def a_payment(installation: Installation) -> dict[str, Any]:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    return installation.sandbox.payments.find(top_up_id)


def stored(installation: Installation) -> list[dict[str, Any]]:
    """The events made by hand here, not those that the sandbox sent."""
    return installation.rows(
        "SELECT event_id, state, outcome, secret_index, verified, body FROM inbox_events WHERE event_id LIKE %s",
        "evt_crafted%",
    )


async def test_a_signed_event_is_stored_as_it_came(installation: Installation) -> None:
    """T-030."""
    body = event_for(succeeded(await a_payment(installation)))

    answer = await installation.post_event(body, signed(body))

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    (row,) = stored(installation)
    assert (row["body"], row["verified"], row["secret_index"]) == (body, True, 0)


@pytest.mark.parametrize(("secret", "index"), [(WEBHOOK_SECRET, 0), (OLD_SECRET, 1)])
async def test_every_configured_secret_is_taken_while_they_roll(install: Install, secret: str, index: int) -> None:
    """T-031."""
    async with install(stripe_webhook_secret=f"{WEBHOOK_SECRET},{OLD_SECRET}") as installation:
        body = event_for(succeeded(await a_payment(installation)))

        assert (await installation.post_event(body, signed(body, secret=secret))).status_code == 200

        assert stored(installation)[0]["secret_index"] == index


async def test_any_of_several_signatures_may_be_the_right_one(installation: Installation) -> None:
    """T-032."""
    body = event_for(succeeded(await a_payment(installation)))
    time, right = signed(body).split(",")

    answer = await installation.post_event(body, f"{time},v1={'0' * 64},{right}")

    assert answer.status_code == 200


@pytest.mark.parametrize("change", ["scheme v0 only", "a byte flipped", "a space added", "too old", "from the future"])
async def test_what_is_not_signed_now_by_stripe_is_refused(installation: Installation, change: str) -> None:
    """T-033, T-034."""
    body = event_for(succeeded(await a_payment(installation)))
    signature = signed(body, age={"too old": 310, "from the future": -310}.get(change, 0))
    if change == "scheme v0 only":
        signature = signature.replace("v1=", "v0=")
    if change == "a byte flipped":
        body = body.replace(b"evt_crafted", b"evt_Crafted")
    if change == "a space added":
        body += b" "

    answer = await installation.post_event(body, signature)

    assert (answer.status_code, answer.json()["detail"]) == (400, "invalid stripe signature")
    assert stored(installation) == []


NO_EVENTS = [
    b"[1]",
    b"null",
    b'"x"',
    b"{}",
    b'{"object": "event"}',
    b"",
    b"{",
    b'{"a": NaN}',
    b"[" * 200_000,
    event_for({}).replace(b'"id"', b'"id": "evt_1", "id"'),
    event_for({}, object="v2.core.event"),
    event_for({}, id="evt\x00"),
    event_for({}, account="a\x00"),
    event_for({"deep": json.loads("[" * 40 + "]" * 40)}),
]


async def test_a_signed_body_that_is_no_event_is_refused(installation: Installation, subtests: pytest.Subtests) -> None:
    for body in NO_EVENTS:
        with subtests.test(body=body[:40]):
            answer = await installation.post_event(body, signed(body))

            assert (answer.status_code, answer.json()["detail"]) == (400, "malformed webhook payload")
    assert stored(installation) == []


async def test_a_body_that_is_not_utf_8_is_refused(installation: Installation) -> None:
    answer = await installation.post_event(b"\xff", f"t=1,v1={'0' * 64}")

    assert answer.status_code == 400


async def test_only_a_post_to_the_exact_path_is_served(installation: Installation, subtests: pytest.Subtests) -> None:
    """T-047: never a redirect, which Stripe counts as a failure."""
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        for path, expected in (("/webhooks/stripe/", 404), ("/webhooks/stripe", 400 if method == "POST" else 405)):
            with subtests.test(method=method, path=path):
                answer = await installation.client.request(method, path, content=b"{}", follow_redirects=False)

                assert answer.status_code == expected


@pytest.mark.parametrize("type", ["payment_intent.created", "customer.created", "charge.succeeded", "new.type"])
async def test_types_that_we_do_not_use_are_ignored(installation: Installation, type: str) -> None:
    """T-048."""
    body = event_for(succeeded(await a_payment(installation)), type=type)

    answer = await installation.post_event(body, signed(body))

    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert stored(installation)[0]["outcome"] == "type_not_used"


@pytest.mark.parametrize(
    ("fields", "metadata", "outcome"),
    [
        ({"livemode": True}, None, "livemode_differs"),
        ({"account": "acct_other"}, None, "account_differs"),
        ({}, {}, "payment_not_ours"),
        ({}, {"top_up_id": "01900000-0000-7000-8000-000000000000", "environment_id": "other"}, "payment_not_ours"),
    ],
)
async def test_what_is_not_ours_is_ignored(
    installation: Installation, fields: dict[str, Any], metadata: dict[str, str] | None, outcome: str
) -> None:
    """T-049, T-077: refusing it would make Stripe send it for days."""
    payment = succeeded(await a_payment(installation))
    if metadata is not None:
        payment["metadata"] = metadata
    body = event_for(payment, **fields)

    answer = await installation.post_event(body, signed(body))

    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert stored(installation)[0]["outcome"] == outcome
    assert installation.rows("SELECT FROM transfers") == []


@pytest.mark.parametrize("top_up_id", ["01900000-0000-7000-8000-000000000000", "'; DROP TABLE top_ups; --", ""])
async def test_an_event_for_a_top_up_that_we_do_not_know_is_parked(installation: Installation, top_up_id: str) -> None:
    payment = succeeded(await a_payment(installation))
    payment["metadata"] = payment["metadata"] | {"top_up_id": top_up_id}
    body = event_for(payment)

    answer = await installation.post_event(body, signed(body))

    assert answer.status_code == 200
    await installation.all_events_handled()
    assert stored(installation)[0]["state"] == "parked"


async def test_the_same_event_with_another_body_keeps_the_first(installation: Installation) -> None:
    payment = await a_payment(installation)
    first, second = event_for(succeeded(payment)), event_for(succeeded(payment), created=1)

    answers = [await installation.post_event(body, signed(body)) for body in (first, second)]

    assert [answer.json()["status"] for answer in answers] == ["ok", "already_processed"]
    assert [row["body"] for row in stored(installation)] == [first]


async def test_a_body_over_the_limit_is_413(installation: Installation) -> None:
    body = json.dumps({"pad": "x" * 600_000}).encode()

    answer = await installation.post_event(body, signed(body))

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_without_a_secret_the_door_is_closed_outside_of_local(install: Install) -> None:
    async with install(payments=False, app_env="staging", secret_keys="x" * 32, worker=False) as installation:
        answer = await installation.post_event(b"{}", None)

        assert (answer.status_code, answer.json()["code"]) == (503, "payments_not_configured")


async def test_the_local_shortcut_takes_unsigned_events_from_this_machine(install: Install) -> None:
    async with install(stripe_webhook_secret="", public_url="http://127.0.0.1:8000") as installation:
        payment = succeeded(await a_payment(installation))
        body = event_for(payment, id="evt_crafted")

        answer = await installation.post_event(body, None)

        assert answer.json() == {"status": "ok"}
        (row,) = stored(installation)
        assert row["verified"] is False
        forwarded = await installation.client.post(
            "/webhooks/stripe", content=event_for(payment, id="evt_2"), headers={"X-Forwarded-For": "127.0.0.1"}
        )
        assert forwarded.status_code == 400
        live = await installation.post_event(event_for(payment, id="evt_3", livemode=True), None)
        assert live.status_code == 400
