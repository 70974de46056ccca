"""What people do in a browser, step by step."""

from playwright.async_api import Page, expect

from pantheon.users.create_user import create_user
from pantheon.users.rights import Role
from tests.installation import TEST, Installation

PASSWORD = "a long password"


async def sign_in(
    page: Page, installation: Installation, email: str = "ada@example.com", role: Role = Role.USER, url: str = ""
) -> None:
    await create_user(installation.runtime.database, email=email, actor=TEST, role=role, password=PASSWORD)
    await page.goto(url or installation.url)
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Available")).to_be_visible()


async def start_top_up(page: Page, amount: str = "$10.00") -> str:
    """Leads to the page that pays, and answers the top-up's id."""
    await page.get_by_text(amount, exact=True).first.click()
    await page.get_by_role("button", name="Continue to payment").click()
    await expect(page.get_by_role("heading", name="Pay for your top-up")).to_be_visible()
    return page.url.rpartition("/")[2]


async def choose_card(page: Page, effect: str) -> None:
    card = page.get_by_role("link", name=effect)
    number = await card.locator("code").inner_text()
    await card.click()
    await expect(page.get_by_label("Card number")).to_have_value(number)


async def without_reload(page: Page) -> None:
    """Leaves a mark that a reload would take away."""
    await page.evaluate("() => { document.documentElement.dataset.kept = 'yes' }")


async def was_not_reloaded(page: Page) -> None:
    await expect(page.locator("html")).to_have_attribute("data-kept", "yes")
