import asyncio
import hmac
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from stripe import WebhookSignature
from structlog.testing import capture_logs

from pantheon.api.server import bind, serving
from pantheon.errors import InvalidSignatureError
from pantheon.payments.stripe.webhooks import verify
from pantheon.web.app import create_app
from tests.installation import WEBHOOK_SECRET, Installation
from tests.payments.events import event_for, signed, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]

OLD_SECRET = "whsec_fedcba9876543210fedcba9876543210"
BOM = b"\xef\xbb\xbf"


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
    stamp, right = signed(body).split(",")

    answer = await installation.post_event(body, f"{stamp},v1={'0' * 64},{right}")

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


@pytest.mark.parametrize(("age", "status"), [(295, 200), (301, 400), (-298, 200), (-305, 400), (-31_536_000, 400)])
async def test_a_signature_is_good_for_five_minutes_in_both_directions(
    installation: Installation, age: int, status: int
) -> None:
    """T-037, T-038. A few seconds are left for the request itself."""
    body = event_for(succeeded(await a_payment(installation)))

    assert (await installation.post_event(body, signed(body, age=age))).status_code == status


def test_to_the_second_it_is_300_seconds(subtests: pytest.Subtests) -> None:
    """T-037, T-038, at the edge and without a clock."""
    for now, good in ((1000 + 299, True), (1300, True), (1301, False), (701, True), (700, True), (699, False)):
        with subtests.test(now=now):
            signature = WebhookSignature.generate_signature_header("{}", WEBHOOK_SECRET, timestamp=1000)
            with nullcontext() if good else pytest.raises(InvalidSignatureError):
                verify(b"{}", signature, [SecretStr(WEBHOOK_SECRET)], now=now)


async def test_headers_that_are_no_signature_are_refused(installation: Installation, subtests: pytest.Subtests) -> None:
    """T-039, T-041: even with a signature that would verify, the time is ASCII digits, once and in front."""
    body = event_for(succeeded(await a_payment(installation)))
    stamp, right = signed(body).split(",")
    number = stamp.removeprefix("t=")
    arabic = "".join(chr(0x660 + int(digit)) for digit in number)
    mac = hmac.new(WEBHOOK_SECRET.encode(), f"{arabic}.".encode() + body, "sha256").hexdigest()
    headers = {
        "non-ASCII byte": f"{stamp},v1=".encode() + b"\xe9" * 64,
        "non-ASCII byte more": f"{stamp},{right},v1=".encode() + b"\xff",
        "Arabic digits": f"t={arabic},v1={mac}".encode(),
        "no time": right.encode(),
        "empty time": f"t=,{right}".encode(),
        "time twice": f"{stamp},{stamp},{right}".encode(),
        "another time after it": f"{stamp},{right},t=1".encode(),
        "5,000 nines": f"t={'9' * 5000},{right}".encode(),
        "negative": f"t=-{number},{right}".encode(),
        "fraction": f"{stamp}.0,{right}".encode(),
        "upper case": f"{stamp},v1={right[3:].upper()}".encode(),
        "nothing": b"",
        "only commas": b",,,,",
    }
    for name, header in headers.items():
        with subtests.test(name):
            answer = await installation.client.post(
                "/webhooks/stripe", content=body, headers={b"Stripe-Signature": header}
            )

            assert (answer.status_code, answer.json()["detail"]) == (400, "invalid stripe signature")
    assert stored(installation) == []


async def test_the_verdict_depends_on_the_raw_bytes_only(installation: Installation, subtests: pytest.Subtests) -> None:
    """T-046: each form of the same event is taken with its own signature, and never with that of another form."""
    payment = succeeded(await a_payment(installation))
    forms = {}
    for name, form in (("compact", {"separators": (",", ":")}), ("pretty", {"indent": 2}), ("crlf", {"indent": 2})):
        event = json.loads(event_for(payment, id=f"evt_crafted_{name}"))
        text = json.dumps(event, **form)
        forms[name] = (text.replace("\n", "\r\n") if name == "crlf" else text).encode()
    for name, body in forms.items():
        with subtests.test(name):
            others = {"compact": json.dumps(json.loads(body)).encode(), "line end": body + b"\n", "bom": BOM + body}
            for other in others.values():
                assert (await installation.post_event(other, signed(body))).status_code == 400
            assert (await installation.post_event(body, signed(body))).status_code == 200
    with_bom = BOM + forms["compact"]
    assert (await installation.post_event(with_bom, signed(with_bom))).json()["detail"] == "malformed webhook payload"


async def test_a_thin_event_is_named_in_the_log(installation: Installation) -> None:
    """T-045."""
    body = event_for({}, object="v2.core.event")

    with capture_logs() as logged:
        answer = await installation.post_event(body, signed(body))

    assert answer.status_code == 400
    assert "webhook_is_a_thin_event" in [line["event"] for line in logged]


async def test_captured_bytes_sent_again_have_no_effect(installation: Installation) -> None:
    """T-051."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
    signature = signed(body, age=200)
    await installation.post_event(body, signature)
    await installation.becomes(ada, top_up_id, "credited")

    answers = [await installation.post_event(body, signature) for _ in range(3)]

    assert [answer.json()["status"] for answer in answers] == ["already_processed"] * 3
    assert (await installation.post_event(body, signed(body, age=310))).status_code == 400
    assert await installation.balance(ada) == "333.33"
    assert len(stored(installation)) == 1


HEADER_PARTS = st.sampled_from([b"t=", b"v1=", b"v0=", b",", b"1", b"9" * 20, b"a" * 64, b"\xff", b" ", b"="])
BODY_PARTS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b'"id":', b'"object":"event",', b"1e999", b"\\ud800", b"\0"]
)


# Hypothesis draws in a thread of its own, while the installation, for its waits, asks the same source of chance.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
async def test_no_header_and_no_body_ever_gives_a_500(installation: Installation) -> None:
    loop = asyncio.get_running_loop()

    @hypothesis.settings(max_examples=100, deadline=None, database=None)
    @given(
        header=st.lists(HEADER_PARTS, max_size=8).map(b"".join).map(bytes.strip) | st.none(),
        body=st.binary(max_size=60) | st.lists(BODY_PARTS, max_size=12).map(b"".join),
    )
    def never_500(header: bytes | None, body: bytes) -> None:
        # With a header of its own, and signed as it is: what is behind the signature must hold as well.
        mac = hmac.new(WEBHOOK_SECRET.encode(), f"{int(time.time())}.".encode() + body, "sha256").hexdigest()
        for signature in (header, f"t={int(time.time())},v1={mac}".encode()):
            headers = {} if signature is None else {b"Stripe-Signature": signature}
            answer = asyncio.run_coroutine_threadsafe(
                installation.client.post("/webhooks/stripe", content=body, headers=headers), loop
            ).result(30)
            assert answer.status_code == 400

    await asyncio.to_thread(never_500)


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


async def test_the_same_event_with_another_body_keeps_the_first_and_alerts(installation: Installation) -> None:
    """T-052."""
    payment = await a_payment(installation)
    first, second = event_for(succeeded(payment)), event_for(succeeded(payment), created=1)

    with capture_logs() as logged:
        answers = [await installation.post_event(body, signed(body)) for body in (first, second)]

    assert [answer.json()["status"] for answer in answers] == ["ok", "already_processed"]
    assert [row["body"] for row in stored(installation)] == [first]
    alerts = [line for line in logged if line["event"] == "event_came_again_with_another_body"]
    assert [alert["log_level"] for alert in alerts] == ["error"]


async def test_a_body_over_the_limit_is_413(installation: Installation) -> None:
    body = json.dumps({"pad": "x" * 600_000}).encode()

    answer = await installation.post_event(body, signed(body))

    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


class _CountedSecret(SecretStr):
    reads = 0

    def get_secret_value(self) -> str:
        self.reads += 1
        return super().get_secret_value()


@pytest.mark.parametrize("signer", [0, 1, 2, None])
def test_every_secret_is_tried_and_compared_in_constant_time(signer: int | None) -> None:
    """T-193: how long it takes does not tell which secret, or how much of a signature, was right."""
    secrets = [_CountedSecret(f"whsec_{number:032}") for number in range(3)]
    key = "whsec_of_nobody_at_all" if signer is None else secrets[signer].get_secret_value()
    header = WebhookSignature.generate_signature_header("{}", key, timestamp=1000)
    for secret in secrets:
        secret.reads = 0
    called: list[object] = []

    sys.setprofile(lambda frame, event, function: called.append(function) if event == "c_call" else None)
    try:
        with pytest.raises(InvalidSignatureError) if signer is None else nullcontext():
            assert verify(b"{}", header, secrets, now=1000) == signer
    finally:
        sys.setprofile(None)

    assert [secret.reads for secret in secrets] == [1, 1, 1]
    assert called.count(hmac.compare_digest) == 3


@pytest.mark.parametrize("secret", ["", " ", "\t", "short", " " * 40])
async def test_a_secret_that_anybody_could_guess_opens_no_door(install: Install, secret: str) -> None:
    """T-035: no installation starts with such a secret, so the server is given it behind the settings' back."""
    async with install(worker=False) as installation:
        body = event_for(succeeded(await a_payment(installation)))
        settings = installation.runtime.settings.model_copy(
            update={"app_env": "production", "stripe_webhook_secret": [SecretStr(secret)]}
        )
        listener = bind("127.0.0.1", 0)
        async with serving(create_app(replace(installation.runtime, settings=settings)), listener):
            for key in {secret, secret.strip()}:
                stamp = int(time.time())
                mac = hmac.new(key.encode(), f"{stamp}.".encode() + body, "sha256").hexdigest()
                answer = await installation.client.post(
                    f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks/stripe",
                    content=body,
                    headers={"Stripe-Signature": f"t={stamp},v1={mac}"},
                )
                assert (answer.status_code, answer.json()["detail"]) == (400, "invalid stripe signature")
        assert stored(installation) == []


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
