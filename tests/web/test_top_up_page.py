import re

import httpx2
import pytest

from pantheon.payments.stripe.sandbox import Crafted, Switch
from tests.installation import Installation, eventually
from tests.web.conftest import Visit, Visitor

PAYS, DECLINED, NO_MONEY, CHALLENGE = "4242 4242 4242 4242", "4000000000000002", "4000000000009995", "4000002760003184"


async def start(visitor: Visitor, amount: str = "10.00") -> str:
    answer = await visitor.post("/wallet/top-ups", choice="own", amount=amount)
    assert answer.status_code == 303
    return str(answer.headers["location"])


async def pay(visitor: Visitor, path: str, number: str, **headers: str) -> httpx2.Response:
    return await visitor.post(f"{path}/pay", headers, number=number, expiry="12 / 34", cvc="123")


async def shows(visitor: Visitor, path: str, text: str) -> None:
    async def shown() -> bool:
        return text in (await visitor.get(path)).text

    await eventually(shown)


async def test_a_test_card_pays_and_the_credits_arrive(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    assert "Sandbox: no real money moves." in (await ada.get(path)).text

    answer = await pay(ada, path, PAYS)

    assert (answer.status_code, answer.headers["location"]) == (303, path)
    await shows(ada, path, "333.33 credits were added")
    assert "Your balance is now <strong>333.33 credits</strong>, worth $10.00." in (await ada.get(path)).text
    wallet = (await ada.get("/wallet")).text
    assert "Top-up" in wallet and "+333.33" in wallet and "Not finished" not in wallet


async def test_the_page_looks_again_until_the_credits_are_there(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path, htmx = await start(ada), {"HX-Request": "true"}
    installation.sandbox.switches.add(Switch(name="hold_webhook", times=None))

    paid = await pay(ada, path, PAYS, **htmx)
    assert paid.status_code == 200
    assert "Payment received" in paid.text and 'hx-swap-oob="innerHTML"' in paid.text
    look = re.search(r'hx-get="([^"]+)" hx-trigger="every 1s"', paid.text)
    assert look is not None
    address = look[1].replace("&amp;", "&")
    assert (await ada.get(address, headers=htmx)).status_code == 204
    slow = await ada.get(re.sub("since=[0-9]+", "since=1", address), headers=htmx)
    assert "This takes longer than usual." in slow.text and 'hx-trigger="every 5s"' in slow.text

    installation.sandbox.switches.clear()
    await installation.sandbox.release()
    await installation.becomes(ada.person, path.rpartition("/")[2], "credited")

    done = await ada.get(address, headers=htmx)
    assert "333.33 credits were added" in done.text
    assert "hx-trigger" not in done.text


@pytest.mark.parametrize("number", [DECLINED, NO_MONEY])
async def test_a_declined_card_says_what_to_do_and_another_one_works(
    installation: Installation, visit: Visit, number: str
) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)

    answer = await pay(ada, path, number)

    assert answer.status_code == 402
    assert "The card was declined. Nothing was charged. Please try another card." in answer.text
    assert "insufficient" not in answer.text and "generic_decline" not in answer.text
    assert "The card was declined." in (await ada.get(path)).text
    assert (await pay(ada, path, PAYS)).status_code == 303
    await shows(ada, path, "333.33 credits were added")


async def test_a_card_with_3d_secure_goes_to_the_bank_and_back(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)

    answer = await pay(ada, path, CHALLENGE)
    assert answer.status_code == 303
    challenge = answer.headers["location"]
    assert challenge.startswith(f"{installation.sandbox.base_url}/challenge/")
    in_place = await pay(ada, path, CHALLENGE, **{"HX-Request": "true"})
    challenge = in_place.headers["hx-redirect"]

    async with httpx2.AsyncClient() as bank:
        passed = await bank.post(challenge, data={"outcome": "complete"})
    back = passed.headers["location"]
    assert back.startswith(f"{installation.url}{path}?") and "client_secret" in back
    cleaned = await ada.get(back)
    assert (cleaned.status_code, cleaned.headers["location"]) == (303, path)
    await shows(ada, path, "333.33 credits were added")


async def test_a_failed_challenge_can_be_tried_again(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    challenge = (await pay(ada, path, CHALLENGE)).headers["location"]
    async with httpx2.AsyncClient() as bank:
        await bank.post(challenge, data={"outcome": "fail"})

    page = (await ada.get(path)).text

    assert "Your bank could not confirm that it is you, so nothing was charged." in page
    assert "Pay $10.00" in page


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"number": "5105 1051 0510 5108"}, "Only the test cards work here."),
        ({"number": ""}, "Only the test cards work here."),
        ({"expiry": "13/30"}, "Write the expiry date as month and year"),
        ({"expiry": "01/20"}, "This date is over."),
        ({"cvc": "12a"}, "The security code has three or four digits."),
    ],
)
async def test_a_wrong_field_is_explained_and_nothing_is_tried(
    installation: Installation, visit: Visit, fields: dict[str, str], problem: str
) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)

    answer = await ada.post(f"{path}/pay", **{"number": PAYS, "expiry": "12/34", "cvc": "123", **fields})

    assert answer.status_code == 422
    assert problem in answer.text
    assert "5105" not in answer.text
    assert not any("confirm" in request["path"] for request in installation.sandbox.requests)


async def test_paying_twice_is_paying_once(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    await pay(ada, path, PAYS)
    assert (await pay(ada, path, PAYS)).status_code == 303
    await installation.becomes(ada.person, path.rpartition("/")[2], "credited")
    assert await installation.balance(ada.person) == "333.33"


async def test_a_top_up_is_cancelled_and_says_so(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)

    for _ in range(2):
        answer = await ada.post(f"{path}/cancel")
        assert (answer.status_code, answer.headers["location"]) == (303, path)

    assert "This top-up was canceled" in (await ada.get(path)).text
    assert "Not finished" not in (await ada.get("/wallet")).text


async def test_a_paid_top_up_cannot_be_cancelled(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    await pay(ada, path, PAYS)
    await installation.becomes(ada.person, path.rpartition("/")[2], "credited")

    answer = await ada.post(f"{path}/cancel")

    assert answer.status_code == 409
    assert "cannot be cancelled" in answer.text


async def test_a_payment_that_differs_is_under_review(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    top_up_id = path.rpartition("/")[2]

    await installation.sandbox.emit(
        top_up_id,
        Crafted(object={"status": "succeeded", "amount_received": 500}, keep=True),
    )
    await installation.becomes(ada.person, top_up_id, "review")

    page = (await ada.get(path)).text
    assert "We are checking this payment" in page
    assert f"<code>{top_up_id}</code>" in page


@pytest.mark.parametrize(
    ("state", "words"),
    [("processing", "Your payment is on its way"), ("expired", "This top-up has expired")],
)
async def test_every_state_has_words(installation: Installation, visit: Visit, state: str, words: str) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    installation.execute("UPDATE top_ups SET state = %s WHERE id = %s", state, path.rpartition("/")[2])

    assert words in (await ada.get(path)).text


async def test_a_debit_that_is_returned_says_so_in_place(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)

    answer = await ada.get(f"{path}/status?seen=processing", headers={"HX-Request": "true"})

    assert "The payment did not go through" in answer.text


async def test_when_stripe_cannot_be_reached_the_page_says_that_nothing_was_charged(
    installation: Installation, visit: Visit
) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    installation.sandbox.switches.add(Switch(name="fail", times=None))

    answer = await ada.get(path)

    assert answer.status_code == 503
    assert "Nothing was charged" in answer.text
    assert "payments_unavailable" in answer.text
    assert int(answer.headers["retry-after"]) > 0


async def test_nobody_sees_or_touches_anothers_top_up(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    bob = await visit(await installation.person(email="bob@example.com"))
    path = await start(ada)

    assert (await bob.get(path)).status_code == 404
    assert (await bob.get(f"{path}/status")).status_code == 404
    assert (await pay(bob, path, PAYS)).status_code == 404
    assert (await bob.post(f"{path}/cancel")).status_code == 404
    for nonsense in ("/wallet/top-ups/1", "/wallet/top-ups/..%2f", "/wallet/top-ups/%00/status"):
        assert (await ada.get(nonsense)).status_code == 404


async def test_with_real_keys_cards_never_come_here(installation: Installation, visit: Visit, with_keys: str) -> None:
    ada = await visit(await installation.person(), with_keys)
    path = await start(ada)

    page = (await ada.get(path)).text
    answer = await pay(ada, path, PAYS)

    assert 'name="number"' not in page
    assert answer.status_code == 404
    secret = installation.sandbox.payments.find(path.rpartition("/")[2])["client_secret"]
    assert f'data-client-secret="{secret}"' in page
    assert 'data-publishable-key="pk_test_pantheon_sandbox"' in page
    assert f'data-return-url="{installation.url}{path}"' in page
