"""What every page owes to everybody: it fits on a small phone, and its parts have names."""

import pytest
from playwright.async_api import Page

from pantheon.money.rate_card import Usage
from pantheon.users.rights import Role
from pantheon.wallets.grant_credits import grant_credits
from tests.browser.conftest import OpenPage
from tests.browser.people import sign_in, start_top_up
from tests.installation import TEST, Installation, Person
from tests.turns.used import use

_TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
_NAMELESS = """() => [...document.querySelectorAll("input:not([type=hidden], [hidden]), select, button, a, img")]
  .filter((part) => !(part.labels?.length || part.textContent.trim() || part.alt === ""))
  .map((part) => part.outerHTML)"""
_SHARED_IDS = """() => { const ids = [...document.querySelectorAll("[id]")].map((part) => part.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
_POINTS_NOWHERE = """() => [...document.querySelectorAll("[aria-describedby], [aria-labelledby]")]
  .flatMap((part) => [part.getAttribute("aria-describedby"), part.getAttribute("aria-labelledby")])
  .filter(Boolean).flatMap((ids) => ids.split(" ")).filter((id) => !document.getElementById(id))"""


async def check(page: Page) -> None:
    assert await page.evaluate(_TOO_WIDE) <= 0, page.url
    assert await page.evaluate(_NAMELESS) == [], page.url
    assert await page.evaluate(_SHARED_IDS) == [], page.url
    assert await page.evaluate(_POINTS_NOWHERE) == [], page.url
    assert await page.locator("h1").count() == 1, page.url


@pytest.mark.parametrize("width", [360, pytest.param(1280, marks=pytest.mark.prove)])
async def test_every_page_fits_and_its_parts_have_names(
    installation: Installation, open_page: OpenPage, width: int
) -> None:
    page = await open_page(expects=[401, 404, 422], viewport={"width": width, "height": 780})
    long = "an.address.that.is.as.long.as.they.come.and.goes.on.and.on.and.on@a-company-with-a-long-name.example.com"
    await page.goto(installation.url)
    await check(page)
    await page.get_by_label("E-mail").fill("nobody@example.com")
    await page.get_by_label("Password").fill("a wrong password")
    await page.get_by_role("button", name="Sign in").click()
    await check(page)
    await sign_in(page, installation, long, Role.OWNER)
    await check(page)
    (user,) = installation.rows("SELECT id FROM users")
    for note in ("x" * 256, "Thank you"):
        await grant_credits(installation.runtime.database, TEST, user_id=user["id"], amount="9999.999999999", note=note)

    call = await use(installation, Person(user["id"], long, {}), Usage(input=123_456_789, output=1), drawn=10**9)
    await start_top_up(page, "$50.00")
    await check(page)
    pages = (
        "/wallet",
        "/usage",
        f"/receipts/{call}",
        "/account",
        "/admin",
        "/admin/prices",
        "/admin/prices/versions/1",
    )
    for path in (*pages, f"/admin/users/{user['id']}", "/nowhere"):
        await page.goto(installation.url + path)
        await check(page)
    await page.goto(installation.url + "/account")
    await page.get_by_label("Name").fill("y" * 100)
    await page.get_by_role("button", name="Create key").click()
    await check(page)
    await page.get_by_role("checkbox").first.check()
    await page.get_by_role("button", name="Create key").click()
    await check(page)
    await page.goto(installation.url + "/wallet")
    await page.get_by_role("button", name="Cancel top-up").click()
    await check(page)
