import re

from playwright.async_api import expect

from pantheon.users.create_user import create_user
from pantheon.users.rights import Role
from pantheon.wallets.adjust_credits import adjust_credits
from pantheon.wallets.grant_credits import grant_credits
from tests.browser.conftest import OpenPage
from tests.browser.people import sign_in, was_not_reloaded, without_reload
from tests.installation import TEST, Installation


async def test_an_owner_finds_somebody_and_gives_credits(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page(expects=[422])
    database = installation.runtime.database
    for name in ("grace", "alan"):
        await create_user(database, email=f"{name}@example.com", actor=TEST)
    await sign_in(page, installation, "owner@example.com", Role.OWNER)
    await page.get_by_role("link", name="Admin").click()

    await without_reload(page)
    await page.get_by_role("searchbox").press_sequentially("grace")
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await was_not_reloaded(page)
    await expect(page).to_have_url(re.compile(r"\?search=grace$"))
    await page.get_by_role("link", name="grace@example.com").click()

    await without_reload(page)
    await page.get_by_role("textbox", name="Credits").fill("0")
    await page.get_by_label("Note").fill("Thank you")
    await page.get_by_role("button", name="Give credits").click()
    await expect(page.get_by_role("alert")).to_have_text("Amount must be greater than 0 and at most 10000.")
    await page.get_by_role("textbox", name="Credits").fill("250")
    await page.get_by_role("button", name="Give credits").dblclick()
    await expect(page.get_by_role("row", name=re.compile("Thank you"))).to_contain_text("+250.00")
    await expect(page.locator(".big .number")).to_have_text("250.00")
    await was_not_reloaded(page)
    assert len(installation.rows("SELECT FROM transfers")) == 1


async def test_history_is_filtered_in_place(installation: Installation, open_page: OpenPage) -> None:
    page = await open_page()
    await sign_in(page, installation)
    (user,) = installation.rows("SELECT id FROM users")
    await grant_credits(installation.runtime.database, TEST, user_id=user["id"], amount="9", note="A gift")
    await adjust_credits(installation.runtime.database, TEST, user_id=user["id"], amount="-2", note="A mistake")
    await page.reload()
    await expect(page.get_by_role("row")).to_have_count(3)

    await without_reload(page)
    await page.get_by_label("Show").focus()
    await page.get_by_label("Show").select_option("adjustment")

    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("row", name=re.compile("A mistake"))).to_contain_text("−2.00")
    await expect(page.get_by_label("Show")).to_be_focused()
    await was_not_reloaded(page)
