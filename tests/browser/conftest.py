"""A real browser on a whole installation.

    async def test_something(installation, open_page):
        page = await open_page()

`open_page`   a page in a window of its own; whatever the console says, and every violation of a content security
              policy, fails the test. `expects=[402]` names the statuses that the test brings about on purpose.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_FAILED_REQUEST = re.compile(r"Failed to load resource: the server responded with a status of ([0-9]{3})")

OpenPage = Callable[..., Awaitable[Page]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = pytest.mark.skip(reason=f"there is no {CHROMIUM}")
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            if not Path(CHROMIUM).exists():
                item.add_marker(missing)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    said: list[str] = []

    async def open_page(expects: Collection[int] = (), **options: Any) -> Page:
        context = await browser.new_context(**options)
        context.set_default_timeout(10_000)

        def listen(message: ConsoleMessage) -> None:
            failed = _FAILED_REQUEST.match(message.text)
            if message.type in ("error", "warning") and not (failed and int(failed[1]) in expects):
                said.append(f"{message.type}: {message.text}")

        context.on("console", listen)
        context.on("weberror", lambda error: said.append(f"exception: {error.error}"))
        return await context.new_page()

    yield open_page
    assert said == []
