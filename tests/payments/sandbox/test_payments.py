"""The life of a payment, as the official SDK sees it over HTTP."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import stripe

from pantheon.payments.stripe.sandbox import CARD_NUMBERS, Sandbox
from pantheon.payments.stripe.sandbox.cards import METHODS
from pantheon.payments.stripe.sandbox.payment_intents import TRANSITIONS, Status, Step
from tests.payments.sandbox.conftest import RETURN_URL, Connect, Stage, confirm, open_payment

# The SDK uses an argument that the httpx of today warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


async def test_a_new_payment_waits_for_a_payment_method(client: stripe.StripeClient) -> None:
    payment = await open_payment(
        client, statement_descriptor_suffix="CREDITS", receipt_email="ada@example.com", amount=1250
    )
    assert payment.status == "requires_payment_method"
    assert (payment.amount, payment.amount_received, payment.currency) == (1250, 0, "usd")
    assert payment.client_secret is not None
    assert payment.client_secret.startswith(f"{payment.id}_secret_")
    assert payment.metadata.to_dict() == {"top_up_id": "019a"}
    assert (payment.livemode, payment.capture_method) == (False, "automatic_async")
    assert (payment.statement_descriptor_suffix, payment.receipt_email) == ("CREDITS", "ada@example.com")
    again = await client.v1.payment_intents.retrieve_async(payment.id)
    assert again.to_dict() == payment.to_dict()


async def test_a_good_card_pays_at_once(client: stripe.StripeClient) -> None:
    payment = await confirm(client, (await open_payment(client)).id)
    assert (payment.status, payment.amount_received) == ("succeeded", 1000)
    assert isinstance(payment.latest_charge, str)
    charge = await client.v1.charges.retrieve_async(payment.latest_charge)
    assert (charge.status, charge.paid, charge.captured, charge.amount_captured) == ("succeeded", True, True, 1000)
    assert (charge.payment_intent, charge.metadata.to_dict()) == (payment.id, {"top_up_id": "019a"})
    assert charge.balance_transaction is None


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedFraudulent", "card_declined", "fraudulent"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
async def test_a_decline_is_a_card_error_and_leaves_the_payment_open(
    client: stripe.StripeClient, method: str, code: str, decline_code: str
) -> None:
    opened = await open_payment(client)
    with pytest.raises(stripe.CardError) as caught:
        await confirm(client, opened.id, method)
    error = caught.value.error
    assert caught.value.http_status == 402
    assert (caught.value.code, error.code, error.decline_code) == (code, code, decline_code)
    assert error.payment_intent.id == opened.id

    payment = await client.v1.payment_intents.retrieve_async(opened.id)
    assert (payment.status, payment.amount_received, payment.payment_method) == ("requires_payment_method", 0, None)
    assert payment.last_payment_error is not None
    assert (payment.last_payment_error.code, payment.last_payment_error.decline_code) == (code, decline_code)
    charge = await client.v1.charges.retrieve_async(str(payment.latest_charge))
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)


async def test_after_declines_another_card_pays(client: stripe.StripeClient) -> None:
    opened = await open_payment(client)
    for _ in range(3):
        with pytest.raises(stripe.CardError):
            await confirm(client, opened.id, "pm_card_chargeDeclined")
    payment = await confirm(client, opened.id)
    assert (payment.status, payment.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize(
    ("outcome", "method", "status", "redirect_status", "code"),
    [
        ("complete", "pm_card_threeDSecure2Required", "succeeded", "succeeded", None),
        (
            "fail",
            "pm_card_authenticationRequired",
            "requires_payment_method",
            "failed",
            "payment_intent_authentication_failure",
        ),
        (
            "complete",
            "pm_card_threeDSecureRequiredChargeDeclined",
            "requires_payment_method",
            "failed",
            "card_declined",
        ),
    ],
)
async def test_the_challenge_is_answered_on_the_banks_page(
    client: stripe.StripeClient, outcome: str, method: str, status: str, redirect_status: str, code: str | None
) -> None:
    waiting = await confirm(client, (await open_payment(client, description="<b>5 & more")).id, method)
    assert (waiting.status, waiting.amount_received) == ("requires_action", 0)
    assert waiting.next_action is not None
    action = waiting.next_action.redirect_to_url
    assert action is not None
    assert (action.return_url, waiting.next_action.type) == (RETURN_URL, "redirect_to_url")

    async with httpx2.AsyncClient() as browser:
        page = await browser.get(action.url)
        assert page.status_code == 200
        assert "Complete authentication" in page.text
        assert "10.00 USD" in page.text
        assert "<b>5" not in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "form-action 'self' http://127.0.0.1:1;" in policy
        for _ in range(2):  # a second click leads back too, and does nothing
            answer = await browser.post(action.url, data={"outcome": outcome})
            assert answer.status_code == 303
            back = urlsplit(answer.headers["Location"])
            assert parse_qs(back.query) == {
                "tab": ["wallet"],
                "payment_intent": [waiting.id],
                "payment_intent_client_secret": [waiting.client_secret],
                "redirect_status": [redirect_status],
            }

    payment = await client.v1.payment_intents.retrieve_async(waiting.id)
    assert (payment.status, payment.next_action) == (status, None)
    assert (payment.last_payment_error.code if payment.last_payment_error else None) == code
    assert payment.amount_received == (1000 if status == "succeeded" else 0)


async def test_a_wrong_or_replaced_challenge_link_does_nothing(client: stripe.StripeClient) -> None:
    opened = await open_payment(client)
    first = await confirm(client, opened.id, "pm_card_threeDSecure2Required")
    second = await confirm(client, opened.id, "pm_card_threeDSecure2Required")
    old, new = first.next_action.redirect_to_url.url, second.next_action.redirect_to_url.url
    assert old != new
    async with httpx2.AsyncClient() as browser:
        for url in (old, new[:-1] + "!", new.replace(opened.id, "pi_unknown")):
            assert (await browser.post(url, data={"outcome": "complete"})).status_code == 404
    assert (await client.v1.payment_intents.retrieve_async(opened.id)).status == "requires_action"


async def test_an_abandoned_challenge_can_be_followed_by_another_card(client: stripe.StripeClient) -> None:
    opened = await open_payment(client)
    await confirm(client, opened.id, "pm_card_authenticationRequired")
    payment = await confirm(client, opened.id)
    assert (payment.status, payment.next_action) == ("succeeded", None)


@pytest.mark.parametrize(("play", "status", "received"), [("settle", "succeeded", 1000), ("decline", None, 0)])
async def test_a_bank_debit_is_processing_until_the_bank_decides(
    client: stripe.StripeClient, sandbox: Sandbox, play: str, status: str | None, received: int
) -> None:
    waiting = await confirm(client, (await open_payment(client)).id, "pm_usBankAccount_success")
    assert (waiting.status, waiting.amount_received) == ("processing", 0)
    charge = await client.v1.charges.retrieve_async(str(waiting.latest_charge))
    assert (charge.status, charge.paid) == ("pending", False)

    sandbox.play(waiting.id, "settle" if play == "settle" else "decline")
    payment = await client.v1.payment_intents.retrieve_async(waiting.id)
    assert (payment.status, payment.amount_received) == (status or "requires_payment_method", received)
    assert payment.latest_charge == waiting.latest_charge
    charge = await client.v1.charges.retrieve_async(str(payment.latest_charge))
    assert (charge.status, charge.paid) == (("succeeded", True) if status else ("failed", False))


async def test_an_open_payment_can_be_canceled_once(client: stripe.StripeClient) -> None:
    opened = await open_payment(client)
    payment = await client.v1.payment_intents.cancel_async(opened.id, {"cancellation_reason": "abandoned"})
    assert (payment.status, payment.cancellation_reason) == ("canceled", "abandoned")
    assert payment.canceled_at is not None
    for again in (client.v1.payment_intents.cancel_async(opened.id), confirm(client, opened.id)):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await again
        assert caught.value.code == "payment_intent_unexpected_state"


async def test_a_paid_payment_cannot_be_canceled_and_says_so(client: stripe.StripeClient) -> None:
    paid = await confirm(client, (await open_payment(client)).id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.cancel_async(paid.id)
    assert (caught.value.http_status, caught.value.code) == (400, "payment_intent_unexpected_state")
    assert "status of succeeded" in str(caught.value)
    assert caught.value.error.payment_intent.status == "succeeded"


def test_a_paid_or_canceled_payment_is_the_end_and_every_other_can_be_canceled() -> None:
    for status in Status:
        steps = {step for at, step in TRANSITIONS if at is status}
        assert steps == set() if status in (Status.SUCCEEDED, Status.CANCELED) else Step.CANCEL in steps


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": 0}, "parameter_invalid_integer", "amount"),
        ({"amount": -1000}, "parameter_invalid_integer", "amount"),
        ({"amount": "10.00"}, "parameter_invalid_integer", "amount"),
        ({"currency": "xxx"}, None, "currency"),
        ({"currency": ""}, "parameter_invalid_empty", "currency"),
        ({"receipt_email": "nobody"}, "email_invalid", "receipt_email"),
        ({"capture_method": "manual"}, None, "capture_method"),
        ({"statement_descriptor_suffix": "x" * 23}, None, "statement_descriptor_suffix"),
        ({"metadata": {"k": "x" * 501}}, None, "metadata"),
        ({"descripton": "typo"}, "parameter_unknown", "descripton"),
        ({"automatic_payment_methods": {"enable": True}}, "parameter_unknown", "automatic_payment_methods[enable]"),
        ({"metadata": {"a": {"b": "c"}}}, "parameter_unknown", "metadata[a][b]"),
    ],
)
async def test_what_stripe_refuses_is_refused(
    client: stripe.StripeClient, changes: dict[str, object], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await open_payment(client, **changes)
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (400, code, param)
    assert (await client.v1.payment_intents.list_async()).data == []


@pytest.mark.parametrize("amount", [50, 99_999_999])
async def test_the_smallest_and_the_largest_amount_are_taken(client: stripe.StripeClient, amount: int) -> None:
    assert (await open_payment(client, amount=amount)).amount == amount


async def test_required_parameters_are_required(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.create_async({"currency": "usd"})
    assert (caught.value.code, caught.value.param) == ("parameter_missing", "amount")


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"payment_method": "pm_card_nobody", "return_url": RETURN_URL}, "resource_missing", "payment_method"),
        ({"payment_method": "pm_card_visa"}, None, "return_url"),
        ({"payment_method": "pm_card_visa", "return_url": "javascript:alert(1)"}, "url_invalid", "return_url"),
        ({"return_url": RETURN_URL}, "payment_intent_unexpected_state", None),
    ],
)
async def test_a_confirmation_needs_a_known_method_and_a_way_back(
    client: stripe.StripeClient, params: dict[str, str], code: str | None, param: str | None
) -> None:
    opened = await open_payment(client)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.payment_intents.confirm_async(opened.id, params)
    assert (caught.value.code, caught.value.param) == (code, param)


async def test_unknown_objects_and_addresses_are_not_found(client: stripe.StripeClient) -> None:
    for wanted in (
        client.v1.payment_intents.retrieve_async("pi_nobody"),
        client.v1.charges.retrieve_async("ch_nobody"),
        client.v1.events.retrieve_async("evt_nobody"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await wanted
        assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        await client.v1.coupons.create_async({})


async def test_a_list_shows_250_payments_page_by_page_newest_first(client: stripe.StripeClient) -> None:
    created = [(await open_payment(client)).id for _ in range(250)]
    page = await client.v1.payment_intents.list_async({"limit": 100})
    assert (len(page.data), page.has_more) == (100, True)
    assert [payment.id async for payment in page.auto_paging_iter()] == created[::-1]
    assert len((await client.v1.payment_intents.list_async()).data) == 10


async def test_a_list_can_be_cut_by_time_and_by_place(stage: Stage, connect: Connect) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with stage.sandbox(now=lambda: moment) as sandbox:
        client = connect(sandbox)
        ids, times = [], []
        for _ in range(5):
            payment = await open_payment(client)
            ids.append(payment.id)
            times.append(payment.created)
            moment += timedelta(hours=1)

        async def listed(**params: object) -> list[str]:
            found = await client.v1.payment_intents.list_async(params)
            return [payment.id for payment in found.data]

        assert await listed(created={"gte": times[1], "lt": times[3]}) == [ids[2], ids[1]]
        assert await listed(created={"gt": times[3]}) == [ids[4]]
        assert await listed(created=times[0]) == [ids[0]]
        assert await listed(starting_after=ids[2], limit=1) == [ids[1]]
        assert await listed(ending_before=ids[2], limit=1) == [ids[3]]
        for wrong in ({"limit": 0}, {"limit": 101}, {"starting_after": "pi_nobody"}, {"created": {"ge": 1}}):
            with pytest.raises(stripe.InvalidRequestError):
                await listed(**wrong)


async def test_the_account_says_who_it_is(client: stripe.StripeClient, sandbox: Sandbox) -> None:
    assert (await client.v1.accounts.retrieve_current_async()).id == sandbox.account_id


async def test_a_wrong_key_is_refused_and_not_repeated_in_full(sandbox: Sandbox, connect: Connect) -> None:
    key = "sk_test_wrong_0123456789abcdef"
    with pytest.raises(stripe.AuthenticationError) as caught:
        await open_payment(connect(sandbox, key=key))
    assert caught.value.http_status == 401
    assert caught.value.error.type == "invalid_request_error"
    assert key not in str(caught.value)


async def test_the_key_may_come_as_basic_too(sandbox: Sandbox) -> None:
    async with httpx2.AsyncClient(base_url=sandbox.base_url) as http:
        assert (await http.get("/v1/account", auth=(sandbox.secret_key, ""))).status_code == 200
        assert (await http.get("/v1/account", auth=("sk_test_wrong", ""))).status_code == 401
        assert (await http.get("/v1/account")).status_code == 401
        assert (await http.get("/v1/account", headers={"Authorization": "Basic ???"})).status_code == 401


async def test_a_browser_pays_with_the_client_secret_and_sees_no_more_than_it_may(
    client: stripe.StripeClient, sandbox: Sandbox, connect: Connect
) -> None:
    opened = await open_payment(client)
    browser = connect(sandbox, key=sandbox.publishable_key)
    secret = {"client_secret": opened.client_secret}
    seen = await browser.v1.payment_intents.retrieve_async(opened.id, secret)
    assert seen.amount == 1000
    assert "metadata" not in seen.to_dict()
    with pytest.raises(stripe.CardError) as declined:
        await browser.v1.payment_intents.confirm_async(
            opened.id,
            {**secret, "payment_method": "pm_card_chargeDeclined", "return_url": RETURN_URL},
        )
    assert "metadata" not in declined.value.error.payment_intent.to_dict()
    paid = await browser.v1.payment_intents.confirm_async(
        opened.id,
        {**secret, "payment_method": "pm_card_visa", "return_url": RETURN_URL},
    )
    assert paid.status == "succeeded"
    assert "latest_charge" not in paid.to_dict()


async def test_the_publishable_key_opens_nothing_else(
    client: stripe.StripeClient, sandbox: Sandbox, connect: Connect
) -> None:
    opened = await open_payment(client)
    browser = connect(sandbox, key=sandbox.publishable_key)
    for attempt in (
        browser.v1.payment_intents.retrieve_async(opened.id),
        browser.v1.payment_intents.list_async(),
        browser.v1.payment_intents.cancel_async(opened.id),
        browser.v1.accounts.retrieve_current_async(),
        open_payment(browser),
    ):
        with pytest.raises(stripe.AuthenticationError) as refused:
            await attempt
        assert refused.value.error.code == "secret_key_required"
    async with httpx2.AsyncClient(base_url=sandbox.base_url, auth=(sandbox.publishable_key, "")) as http:
        path = f"/v1/payment_intents/{opened.id}/cancel"
        assert (await http.post(path, data={"client_secret": opened.client_secret})).status_code == 401
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await browser.v1.payment_intents.retrieve_async(opened.id, {"client_secret": f"{opened.id}_secret_wrong"})
    assert caught.value.code == "payment_intent_invalid_parameter"


async def test_answers_carry_stripes_headers(sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {sandbox.secret_key}"}
    async with httpx2.AsyncClient(base_url=sandbox.base_url, headers=headers) as http:
        plain = await http.get("/v1/account")
        assert plain.headers["Request-Id"].startswith("req_")
        assert plain.headers["Stripe-Version"] == stripe.api_version
        asked = await http.get("/v1/account", headers={"Stripe-Version": "2025-01-01.acacia"})
        assert asked.headers["Stripe-Version"] == "2025-01-01.acacia"


def test_the_card_numbers_stand_for_known_methods() -> None:
    expected = {
        "4242424242424242": (False, False),
        "4000000000000002": (False, True),
        "4000000000009995": (False, True),
        "4000002500003155": (True, False),
        "4000002760003184": (True, False),
    }
    for number, (challenge, declined) in expected.items():
        method = METHODS[CARD_NUMBERS[number]]
        assert (method.challenge, method.decline is not None) == (challenge, declined)


def test_the_sandbox_stays_on_this_machine() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(base_url="http://192.168.1.5:9000")
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(base_url="http://127.0.0.1:9000", webhook_url="https://example.com/hook", webhook_secrets=["whsec_1"])
    with pytest.raises(ValueError, match="secret"):
        Sandbox(base_url="http://127.0.0.1:9000", webhook_url="http://127.0.0.1:8000/hook")
