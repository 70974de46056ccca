"""The page that pays with Stripe's keys. Stripe's script is a stub here, which answers as Stripe's own does."""

import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.people import sign_in, start_top_up
from tests.installation import Installation

_STUB = """
window.Stripe = (key) => {
  let tries = 0;
  return {
    elements: ({ clientSecret, appearance }) => ({
      create: (type) => {
        const listeners = {};
        return {
          on: (event, listener) => { listeners[event] = listener; },
          mount: (place) => {
            document.querySelector(place).textContent =
              [type, key, clientSecret, appearance.theme, appearance.variables.colorPrimary].join(" ");
            setTimeout(() => listeners.ready());
          },
        };
      },
    }),
    confirmPayment: async ({ confirmParams }) => {
      tries += 1;
      if (tries === 1) return { error: { type: "card_error", message: "Your card was declined." } };
      if (tries === 2) return { error: { type: "api_error", message: "an inner detail" } };
      location.href = confirmParams.return_url + "?payment_intent=pi_1&payment_intent_client_secret=secret";
      return new Promise(() => {});
    },
  };
};
"""


async def test_the_card_goes_to_stripe_and_the_credits_come_back(
    installation: Installation, with_keys: str, open_page: OpenPage
) -> None:
    page = await open_page(color_scheme="dark")
    loaded: list[str] = []

    async def answer(route: Route) -> None:
        loaded.append(route.request.url)
        await route.fulfill(body=_STUB, content_type="text/javascript")

    await page.route("https://js.stripe.com/**", answer)
    await sign_in(page, installation, url=with_keys)
    top_up_id = await start_top_up(page)

    payment = installation.sandbox.payments.find(top_up_id)
    drawn = f"payment pk_test_pantheon_sandbox {payment['client_secret']} night #93a4ff"
    await expect(page.locator("#payment-element")).to_have_text(drawn)
    assert len(loaded) == 1
    pay, problem = page.get_by_role("button", name="Pay $10.00"), page.get_by_role("alert")
    await pay.click()
    await expect(problem).to_have_text("Your card was declined.")
    await pay.click()
    await expect(problem).to_have_text("The payment could not be made. Nothing was charged. Please try again.")
    installation.sandbox.play(top_up_id, "pay")
    await pay.click()

    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_visible()
    assert page.url == f"{installation.url}/wallet/top-ups/{top_up_id}"


@pytest.mark.prove
async def test_a_browser_that_blocks_stripe_is_told(
    installation: Installation, with_keys: str, open_page: OpenPage
) -> None:
    page = await open_page(expects=[404])
    await page.route("https://js.stripe.com/**", lambda route: route.fulfill(status=404))
    await sign_in(page, installation, url=with_keys)
    await start_top_up(page)
    await expect(page.get_by_role("alert")).to_contain_text("Stripe's payment form could not be loaded.")
    await expect(page.get_by_role("button", name="Pay $10.00")).to_be_disabled()
