"""Buying credits, from the sign-in to the new balance."""

import re

import pytest
from playwright.async_api import Page, expect

from pantheon.payments.stripe.sandbox import Switch
from tests.browser.conftest import OpenPage
from tests.browser.people import choose_card, sign_in, start_top_up, was_not_reloaded, without_reload
from tests.installation import Installation


async def test_credits_arrive_without_a_reload(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page()
    await sign_in(page, installation)
    await start_top_up(page)
    installation.sandbox.switches.add(Switch(name="hold_webhook", times=None))

    await without_reload(page)
    await page.get_by_role("button", name="Pay $10.00").click()
    await expect(page.get_by_role("heading", name="Payment received")).to_be_visible()
    await expect(page.locator("#announcer")).to_have_text("Payment received. Your credits are on the way.")
    await expect(page.get_by_role("heading", name="Payment received")).to_be_focused()
    installation.sandbox.switches.clear()
    await installation.sandbox.release()

    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_visible()
    await expect(page.get_by_text("Your balance is now 333.33 credits, worth $10.00.")).to_be_visible()
    announced = "333.33 credits were added. Your balance is now 333.33 credits."
    await expect(page.locator("#announcer")).to_have_text(announced)
    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_focused()
    await expect(page).to_have_title("333.33 credits were added · Pantheon")
    await was_not_reloaded(page)

    await page.get_by_role("link", name="Back to your wallet").click()
    await expect(page.locator(".big .number")).to_have_text("333.33")
    await expect(page.get_by_role("row", name=re.compile("Top-up"))).to_contain_text("+333.33")


@pytest.mark.prove
async def test_a_declined_card_is_told_in_place_and_another_one_pays(
    installation: Installation, open_page: OpenPage
) -> None:
    page = await open_page(expects=[402])
    await sign_in(page, installation)
    await start_top_up(page)

    await without_reload(page)
    await choose_card(page, "Is declined")
    await page.get_by_role("button", name="Pay $10.00").click()
    await expect(page.get_by_role("alert")).to_have_text(
        "The card was declined. Nothing was charged. Please try another card."
    )
    await expect(page.get_by_label("Card number")).to_be_focused()
    await choose_card(page, "Pays at once")
    await page.get_by_role("button", name="Pay $10.00").click()

    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_visible()
    await was_not_reloaded(page)


async def test_3d_secure_leads_to_the_bank_and_back(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page()
    await sign_in(page, installation)
    top_up_id = await start_top_up(page)

    await choose_card(page, "Asks for 3-D Secure")
    await page.get_by_role("button", name="Pay $10.00").click()
    await expect(page.get_by_role("heading", name="Confirm your payment")).to_be_visible()
    await page.get_by_role("button", name="Fail authentication").click()
    await expect(page.get_by_role("alert")).to_contain_text("Your bank could not confirm that it is you")
    assert page.url == f"{installation.url}/wallet/top-ups/{top_up_id}"

    await choose_card(page, "Asks for 3-D Secure")
    await page.get_by_role("button", name="Pay $10.00").click()
    await page.get_by_role("button", name="Complete authentication").click()
    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_visible()
    assert page.url == f"{installation.url}/wallet/top-ups/{top_up_id}"


async def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the focus is on what is called `name`, as somebody without a mouse does."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if name in (await focused.inner_text() or await focused.get_attribute("id") or ""):
            return
    raise AssertionError(f"the focus never came to {name}")


async def test_the_keyboard_is_enough(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page()
    await sign_in(page, installation)

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("radio", name="$10.00")).to_be_focused()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="$25.00")).to_be_checked()
    await expect(page.locator(".quote")).to_have_text("You pay $25.00 and get 833.33 credits.")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Amount in USD")).to_be_focused()
    await page.keyboard.type("1000")
    await expect(page.locator(".quote")).to_have_text("Choose an amount between $1.00 and $500.00.")
    await page.keyboard.press("Control+a")
    await page.keyboard.type("12.50")
    await expect(page.locator(".quote")).to_have_text("You pay $12.50 and get 416.67 credits.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Pay for your top-up")).to_be_visible()
    await tab_to(page, "Pay $12.50")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="416.67 credits were added")).to_be_visible()


async def test_everything_works_without_javascript(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page(expects=[402, 422], java_script_enabled=False)
    await sign_in(page, installation)
    await page.get_by_text("Another amount").click()
    await page.get_by_label("Amount in USD").fill("0.50")
    await page.get_by_role("button", name="Continue to payment").click()
    await expect(page.get_by_role("alert")).to_have_text("Choose an amount between $1.00 and $500.00.")
    await start_top_up(page)
    await choose_card(page, "Is declined")
    await page.get_by_role("button", name="Pay $10.00").click()
    await expect(page.get_by_role("alert")).to_contain_text("The card was declined.")
    await choose_card(page, "Asks for 3-D Secure")
    await page.get_by_role("button", name="Pay $10.00").click()
    await page.get_by_role("button", name="Complete authentication").click()
    # The page looks again by itself.
    await expect(page.get_by_role("heading", name="333.33 credits were added")).to_be_visible()


@pytest.mark.prove
async def test_an_unfinished_top_up_is_continued_or_cancelled(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page()
    await sign_in(page, installation)
    await start_top_up(page)
    await page.get_by_role("link", name="Wallet").first.click()
    await page.get_by_role("link", name="Continue top-up of $10.00").click()
    await expect(page.get_by_role("button", name="Pay $10.00")).to_be_visible()
    await page.get_by_role("link", name="Wallet").first.click()

    await page.get_by_role("button", name="Cancel top-up of $10.00").click()

    await expect(page.get_by_role("heading", name="This top-up was canceled")).to_be_visible()
    await page.get_by_role("link", name="Start a new top-up").click()
    await expect(page.get_by_text("Not finished")).to_have_count(0)
