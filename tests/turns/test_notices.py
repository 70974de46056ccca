"""Notices that a balance goes down, from the call that brings it there to what people see."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
from structlog.testing import capture_logs

from pantheon.api.callers import cookie_name
from pantheon.money.amounts import format_credits
from pantheon.turns.recover_calls import recover_calls
from pantheon.wallets.adjust_credits import adjust_credits
from tests.crash.test_kill_calls import is_overdue
from tests.installation import TEST, Installation, Person
from tests.models.scripted_provider import Script, delta, streamed
from tests.turns.metering import Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
COST = 39
TOP_UP = 33_330_000_000
"""Nanocredits for 1.00."""
NEXT_TO_NOTHING = 2000
"""Enough for the worst case of the call that leads there."""


async def top_up(m: Metering) -> Person:
    person = Person(m.user_id, "ada@example.com", m.headers)
    id_ = (await m.installation.top_up(person, "1.00")).json()["top_up_id"]
    m.installation.sandbox.play(id_, "pay")
    await m.installation.becomes(person, id_, "credited")
    return person


async def spend_down_to(m: Metering, left: int) -> None:
    """The last of it by a call."""
    available, _ = m.balances
    amount = format_credits(left + COST - available)
    await adjust_credits(m.installation.runtime.database, TEST, user_id=m.user_id, amount=amount, note="test")
    async for _ in (await m.start()).chunks():
        pass
    await m.ended()


async def notice(m: Metering, person: Person) -> Any:
    answer = await m.installation.client.get("/api/v1/users/me/wallet", headers=person.headers)
    shown = answer.json()["notice"]
    return shown and shown["level"]


async def test_each_level_is_noticed_once_and_shown_until_there_is_more_again(install: Install) -> None:
    async with metering(install, *[streamed("x", usage=USED)] * 9, funds=0, worker=True) as m:
        ada = await top_up(m)
        with capture_logs() as logs:
            seen = []
            quarter, tenth = TOP_UP // 4, TOP_UP // 10
            for left in (quarter + 1, quarter, tenth + 1, tenth, TOP_UP // 100, NEXT_TO_NOTHING, tenth, TOP_UP):
                await spend_down_to(m, left)
                seen.append(await notice(m, ada))
        assert seen == [None, 25, 25, 10, 10, 0, 10, None]
        levels = [log["level"] for log in logs if log["event"] == "balance_notice"]
        assert levels == [25, 10, 0]
        assert len(m.installation.rows("SELECT FROM balance_notices")) == 3


async def test_a_new_top_up_begins_anew(install: Install) -> None:
    async with metering(install, *[streamed("x", usage=USED)] * 3, funds=0, worker=True) as m:
        ada = await top_up(m)
        # A fall through all of them at once tells of the lowest.
        with capture_logs() as logs:
            await spend_down_to(m, NEXT_TO_NOTHING)
        assert [log["level"] for log in logs if log["event"] == "balance_notice"] == [0]
        await top_up(m)
        assert await notice(m, ada) is None

        await spend_down_to(m, TOP_UP // 5)
        assert await notice(m, ada) == 25
        levels = m.installation.rows("SELECT level FROM balance_notices ORDER BY grant_id, level")
        assert [row["level"] for row in levels] == [0, 10, 25, 25]


async def test_the_end_of_a_call_that_the_recovery_settles_is_noticed_too(install: Install) -> None:
    async with metering(install, Script([delta("abc"), asyncio.Event()]), funds=0, worker=True) as m:
        ada = await top_up(m)
        amount = format_credits(TOP_UP // 5 - m.balances[0])
        await adjust_credits(m.installation.runtime.database, TEST, user_id=m.user_id, amount=amount, note="test")
        answer = (await m.start()).chunks()
        await anext(answer)
        m.installation.execute("UPDATE calls SET delivered_output = 1")
        is_overdue(m.installation)
        await recover_calls(m.installation.runtime.database)

        assert [row["state"] for row in m.calls] == ["settled"]
        assert await notice(m, ada) == 25
        await answer.aclose()


async def test_what_was_never_topped_up_is_never_noticed(install: Install) -> None:
    async with metering(install, streamed("x", usage=USED), funds=10**6) as m:
        await spend_down_to(m, NEXT_TO_NOTHING)
        assert m.installation.rows("SELECT FROM balance_notices") == []


async def test_every_page_says_so(install: Install) -> None:
    async with metering(install, *[streamed("x", usage=USED)] * 2, funds=0, worker=True) as m:
        await top_up(m)
        token = m.headers["Authorization"].removeprefix("Bearer ")
        async with httpx2.AsyncClient(base_url=m.installation.url) as browser:
            browser.cookies.set(cookie_name(m.installation.runtime.settings), token, domain="127.0.0.1")
            assert "of your last top-up is left" not in (await browser.get("/account")).text
            await spend_down_to(m, TOP_UP // 5)
            for path in ("/account", "/wallet"):
                assert "Less than a quarter of your last top-up is left." in (await browser.get(path)).text
            await spend_down_to(m, NEXT_TO_NOTHING)
            assert "Your last top-up is used up." in (await browser.get("/account")).text
            assert "Your balance is low." not in (await browser.get("/wallet")).text
