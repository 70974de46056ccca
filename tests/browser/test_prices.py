import json

from playwright.async_api import expect

from pantheon.users.rights import Role
from tests.browser.conftest import OpenPage
from tests.browser.people import sign_in, was_not_reloaded, without_reload
from tests.browser.test_layout import check
from tests.installation import Installation
from tests.turns.price_lists import listed, price_list


async def test_an_owner_reads_an_import_confirms_and_publishes_it(
    installation: Installation, open_page: OpenPage
) -> None:
    page = await open_page(expects=[422], viewport={"width": 360, "height": 780})
    document = price_list(
        listed("openai/gpt-4o", prompt="0.000003"), listed("maker/" + "long-name-" * 5), listed("x y")
    )
    file = {"name": "prices.json", "mimeType": "application/json", "buffer": json.dumps(document).encode()}
    await sign_in(page, installation, "owner@example.com", Role.OWNER)
    await page.goto(installation.url + "/admin")
    await page.get_by_role("link", name="Prices").click()

    await without_reload(page)
    await page.get_by_label("A file of mine").check()
    await page.get_by_role("button", name="Show what changes").click()
    await expect(page.get_by_role("alert")).to_contain_text("Choose the file of the price list.")
    await page.get_by_label("File of the price list").set_input_files([file])
    await page.get_by_label("Models empty").fill("")
    await page.get_by_role("button", name="Show what changes").click()
    await expect(page.get_by_role("row", name="Input Before 70 After 130 Change +85.7 %")).to_be_visible()
    await was_not_reloaded(page)
    await check(page)

    # The browser lets nobody publish what is not confirmed.
    await page.get_by_role("button", name="Publish").click()
    await was_not_reloaded(page)
    await page.get_by_role("checkbox", name="gpt-4o: input tokens +85.7 %").check()
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_role("status").first).to_have_text("Version 2 is in force.")
    await check(page)
    await page.get_by_role("link", name="Version 2").click()
    await expect(page.get_by_role("row", name="deepseek gone")).to_be_visible()
    await check(page)
