import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.payments.stripe.sandbox import Switch
from tests.installation import Installation, eventually
from tests.ledger.books import Books

Install = Callable[..., AbstractAsyncContextManager[Installation]]


def creations(installation: Installation) -> list[str]:
    """The idempotency keys of the requests that created payments."""
    return [
        request["idempotency_key"]
        for request in installation.sandbox.requests
        if (request["method"], request["path"]) == ("POST", "/v1/payment_intents")
    ]


@pytest.mark.parametrize(
    ("amount", "credits"),
    [("1.00", "33.33"), (1, "33.33"), ("10", "333.33"), (10.5, "350"), ("500.00", "16666.67"), ("0007", None)],
)
async def test_credits_follow_from_the_amount(installation: Installation, amount: object, credits: str | None) -> None:
    """T-002: both bounds are allowed."""
    answer = await installation.top_up(await installation.person(), amount)

    assert (answer.status_code, answer.json().get("credits_to_grant")) == ((201, credits) if credits else (422, None))


NO_AMOUNTS = [
    b'{"amount_usd": NaN}',
    b'{"amount_usd": Infinity}',
    b'{"amount_usd": -Infinity}',
    b'{"amount_usd": 1e400}',
    b'{"amount_usd": 1e1}',
    b'{"amount_usd": "1e1"}',
    b'{"amount_usd": 10.105}',
    b'{"amount_usd": 1.005}',
    b'{"amount_usd": "10.001"}',
    b'{"amount_usd": true}',
    b'{"amount_usd": null}',
    b'{"amount_usd": [10]}',
    b'{"amount_usd": {"amount": 10}}',
    b'{"amount_usd": "1_000"}',
    b'{"amount_usd": " 10 "}',
    b'{"amount_usd": "+10"}',
    b'{"amount_usd": "\\u0661\\u0660"}',
    b'{"amount_usd": "\xef\xbc\x91\xef\xbc\x90"}',
    b'{"amount_usd": 9223372036854775808}',
    b'{"amount_usd": ' + b"9" * 5001 + b"}",
    b'{"amount_usd": -0}',
    b'{"amount_usd": 10, "amount_usd": 20}',
    b'{"amount_usd": "\\ud800"}',
    b'{"\\ud800": 10}',
    b'{"amount_usd": "\\u0000"}',
    b'{"amount_usd": 10',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
    b"10",
    b"null",
    b"{}",
]


async def test_amounts_that_are_none_are_refused(installation: Installation, subtests: pytest.Subtests) -> None:
    ada = await installation.person()
    headers = ada.headers | {"Content-Type": "application/json"}
    for body in NO_AMOUNTS:
        with subtests.test(body=body[:40]):
            answer = await installation.client.post("/api/v1/users/me/wallet/top-up", content=body, headers=headers)

            assert answer.status_code == 422
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert creations(installation) == []


@pytest.mark.parametrize("field", ["credits", "user_id", "status", "metadata", "price_id"])
async def test_unknown_fields_are_refused(installation: Installation, field: str) -> None:
    """T-013."""
    ada = await installation.person()

    answer = await installation.client.post(
        "/api/v1/users/me/wallet/top-up", json={"amount_usd": "10", field: "1"}, headers=ada.headers
    )

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"loc": ["body", field], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}
    ]
    assert creations(installation) == []


async def test_a_later_change_of_the_price_does_not_touch_an_open_top_up(install: Install) -> None:
    """T-004."""
    async with install() as before:
        ada = await before.person()
        opened = (await before.top_up(ada)).json()
        payment = before.sandbox.payments.find(opened["top_up_id"])
    async with install(credits_per_usd="50") as after:
        after.sandbox.store.put(payment)

        after.sandbox.play(opened["top_up_id"], "pay")

        await after.becomes(ada, opened["top_up_id"], "credited")
        assert await after.balance(ada) == "333.33"
        assert (await after.top_up(ada)).json()["credits_to_grant"] == "500"


async def test_the_same_key_gets_the_same_top_up(installation: Installation) -> None:
    """T-006."""
    ada = await installation.person()

    first = await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})
    second = await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(creations(installation)) == 1


async def test_the_same_key_with_another_amount_is_refused(installation: Installation) -> None:
    """T-008."""
    ada = await installation.person()
    await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})

    answer = await installation.top_up(ada, "20.00", **{"Idempotency-Key": "attempt-1"})

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert len(creations(installation)) == 1


async def test_keys_of_two_users_do_not_meet(installation: Installation) -> None:
    ada, bob = await installation.person(), await installation.person(email="bob@example.com")

    answers = [await installation.top_up(who, "10.00", **{"Idempotency-Key": "k"}) for who in (ada, bob)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["top_up_id"] != answers[1].json()["top_up_id"]


@pytest.mark.parametrize("key", ["", "a" * 256, "with space"])
async def test_a_key_that_is_none_is_refused(installation: Installation, key: str) -> None:
    answer = await installation.top_up(await installation.person(), "10", **{"Idempotency-Key": key})

    assert answer.status_code == 422


async def test_a_double_click_gets_the_same_top_up(installation: Installation) -> None:
    """T-011."""
    ada = await installation.person()

    first, second = await installation.top_up(ada), await installation.top_up(ada)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["top_up_id"] == second.json()["top_up_id"]
    assert len(creations(installation)) == 1
    installation.execute("UPDATE top_ups SET created_at = created_at - interval '11 minutes'")
    assert (await installation.top_up(ada)).status_code == 201


async def test_another_users_top_up_is_not_found(installation: Installation) -> None:
    """T-014."""
    ada, bob = await installation.person(), await installation.person(email="bob@example.com")
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    nobodys = "01900000-0000-7000-8000-000000000000"

    answers = [
        await installation.client.get(f"/api/v1/users/me/wallet/top-ups/{id}", headers=bob.headers)
        for id in (top_up_id, nobodys)
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    cancel = await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=bob.headers)
    assert cancel.status_code == 404
    listed = await installation.client.get("/api/v1/users/me/wallet/top-ups", headers=bob.headers)
    assert listed.json() == {"top_ups": [], "total": 0}


async def test_metadata_only_points_to_our_row(installation: Installation) -> None:
    """T-018."""
    ada = await installation.person()

    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]

    (row,) = installation.rows("SELECT id FROM installation")
    payment = installation.sandbox.payments.find(top_up_id)
    assert payment["metadata"] == {"top_up_id": top_up_id, "environment_id": str(row["id"]), "schema": "1"}
    assert ada.email not in str(payment)


async def test_a_key_names_the_row_and_the_row_is_there_first(installation: Installation) -> None:
    ada = await installation.person()
    installation.sandbox.switches.add(Switch(name="lose_request", on="POST /v1/payment_intents", times=3))

    answer = await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})

    assert answer.status_code == 503
    assert answer.json()["code"] == "payments_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    (row,) = installation.rows("SELECT id, state FROM top_ups")
    assert row["state"] == "creating"
    assert set(creations(installation)) == {f"topup-create-{row['id']}"}


async def test_a_repeat_goes_on_with_a_payment_whose_answer_was_lost(install: Install) -> None:
    async with install(worker=False) as installation:
        ada = await installation.person()
        installation.sandbox.switches.add(Switch(name="lose_answer", on="POST /v1/payment_intents", times=3))
        lost = await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})
        assert lost.status_code == 503
        assert (await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})).status_code == 409
        installation.execute("UPDATE top_ups SET leased_until = now()")

        answer = await installation.top_up(ada, "10.00", **{"Idempotency-Key": "attempt-1"})

        assert answer.status_code == 200
        assert len(set(creations(installation))) == 1
        assert installation.sandbox.store.count("payment_intent") == 1


async def test_a_payment_that_stripe_refuses_ends_the_top_up(install: Install) -> None:
    async with install(worker=False, stripe_account_id=None, top_up_min_usd="0.50") as installation:
        ada = await installation.person()
        installation.execute("ALTER TABLE top_ups DISABLE TRIGGER top_ups_promise_is_fixed")
        installation.sandbox.switches.add(Switch(name="lose_request", on="POST /v1/payment_intents", times=3))
        await installation.top_up(ada, "0.50", **{"Idempotency-Key": "k"})
        installation.execute(
            "UPDATE top_ups SET leased_until = now(), request_params = jsonb_set(request_params, '{amount}', '1')"
        )

        answer = await installation.top_up(ada, "0.50", **{"Idempotency-Key": "k"})

        assert answer.status_code == 422
        assert answer.json()["code"] == "amount_out_of_range"
        assert installation.rows("SELECT state FROM top_ups") == [{"state": "failed_to_create"}]


async def test_parallel_requests_cannot_pass_the_limit_of_open_top_ups(install: Install) -> None:
    """T-016."""
    async with install(top_up_max_open=3) as installation:
        ada = await installation.person()

        answers = await asyncio.gather(*(installation.top_up(ada, str(10 + number)) for number in range(12)))

        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 9
        assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
        assert len(creations(installation)) == 3


async def test_only_so_many_top_ups_within_an_hour(install: Install) -> None:
    """T-015."""
    async with install(rate_limit_top_ups_per_hour=2) as installation:
        ada = await installation.person()
        for amount in ("10", "11"):
            assert (await installation.top_up(ada, amount)).status_code == 201

        answer = await installation.top_up(ada, "12")

        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 3600


async def test_a_frozen_wallet_cannot_be_topped_up(installation: Installation) -> None:
    """T-017."""
    ada = await installation.person()
    installation.execute("UPDATE wallets SET state = 'frozen'")

    answer = await installation.top_up(ada)

    assert (answer.status_code, answer.json()["code"]) == (403, "wallet_frozen")


async def test_a_wallet_in_debt_can_be_topped_up_and_says_what_it_owes(installation: Installation) -> None:
    """T-017, T-129."""
    ada = await installation.person()
    (wallet,) = installation.rows("SELECT id FROM wallets")
    books = Books(installation.runtime.database, installation.owner_url)
    granted = await books.grant(wallet["id"], 500 * 10**9)
    await books.adjust(wallet["id"], -500 * 10**9)
    await books.reverse(granted, 300 * 10**9)
    shown = (await installation.client.get("/api/v1/users/me/wallet", headers=ada.headers)).json()
    assert (shown["debt"], shown["balance"]) == ("300", "-300")

    answer = await installation.top_up(ada)

    assert answer.status_code == 201
    installation.sandbox.play(answer.json()["top_up_id"], "pay")
    await installation.becomes(ada, answer.json()["top_up_id"], "credited")
    shown = (await installation.client.get("/api/v1/users/me/wallet", headers=ada.headers)).json()
    assert (shown["debt"], shown["balance"]) == ("0", "33.33")


async def test_cancelling(installation: Installation) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    path = f"/api/v1/users/me/wallet/top-ups/{top_up_id}"

    answers = [await installation.client.post(f"{path}/cancel", headers=ada.headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["status"] == "canceled"
    assert installation.sandbox.payments.find(top_up_id)["status"] == "canceled"
    await installation.all_events_handled()
    one = (await installation.client.get(path, headers=ada.headers)).json()
    assert [step["status"] for step in one["history"]] == [
        "creating",
        "awaiting_payment",
        "cancel_requested",
        "canceled",
    ]


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_usBankAccount_success"])
async def test_a_paid_top_up_cannot_be_cancelled(installation: Installation, method: str) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.play(top_up_id, "pay", method=method)

    async def on_its_way() -> bool:
        return await installation.status(ada, top_up_id) in ("credited", "processing")

    await eventually(on_its_way)

    answer = await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=ada.headers)

    assert answer.status_code == 409


async def test_a_payment_wins_the_race_against_a_cancellation(installation: Installation) -> None:
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.switches.add(Switch(name="drop_webhook", times=None))
    installation.sandbox.play(top_up_id, "pay")

    answer = await installation.client.post(f"/api/v1/users/me/wallet/top-ups/{top_up_id}/cancel", headers=ada.headers)

    assert answer.status_code == 409
    assert await installation.status(ada, top_up_id) == "credited"
    assert await installation.balance(ada) == "333.33"
