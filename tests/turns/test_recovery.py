"""The recovery of calls, where it is not alone, and what is too much for the books."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from structlog.testing import capture_logs

from pantheon.money.rate_card import Meter, Rate
from pantheon.turns.recover_calls import recover_calls
from tests.crash.test_kill_calls import is_overdue
from tests.installation import Installation, eventually
from tests.models.scripted_provider import Script, delta, streamed
from tests.turns.metering import ALIAS, MODEL, PRICES, metering
from tests.turns.test_meter import COUNTED, text_of

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_usage_that_is_too_much_for_the_books_is_left_to_the_recovery(install: Install) -> None:
    """A provider may say that it used a thousand million tokens: then our own count is as good as any."""
    dear = replace(MODEL, rate=Rate(model_alias=ALIAS, prices=PRICES | {Meter.OUTPUT: 10**18}))
    told = {"prompt_tokens": 9, "completion_tokens": 10**9, "total_tokens": 10**9 + 9}
    async with metering(install, streamed("x", usage=told), model=dear, funds=10**13, worker=False) as m:
        with capture_logs() as logs:
            await text_of(await m.start(max_tokens=1))

            async def told_of() -> bool:
                return "call_not_settled" in [line["event"] for line in logs]

            await eventually(told_of)

        m.installation.execute("UPDATE calls SET delivered_output = 1")
        is_overdue(m.installation)
        assert await recover_calls(m.installation.runtime.database) == 1
        assert [(row["charged"], row["body"]["quality"]) for row in m.receipts] == [(COUNTED + 10**12, "estimated")]
        assert m.balances == (10**13 - COUNTED - 10**12, 0)


async def test_a_call_that_cannot_be_ended_keeps_no_other_waiting(install: Install) -> None:
    async with metering(install, Script([delta("abcdef"), asyncio.Event()]), worker=False) as m:
        other = await m.another(10**6)
        answers = [(await person.start()).chunks() for person in (m, other)]
        for answer in answers:
            await anext(answer)

        async def noted() -> bool:
            return all(person.calls[0]["delivered_output"] == 2 for person in (m, other))

        await eventually(noted)
        m.installation.execute("UPDATE calls SET delivered_output = 2000000000 WHERE id = %s", m.calls[0]["id"])
        is_overdue(m.installation)
        with capture_logs() as logs:
            assert await recover_calls(m.installation.runtime.database) == 1

        assert [(line["event"], line["call_id"]) for line in logs] == [("call_not_recovered", str(m.calls[0]["id"]))]
        assert [person.calls[0]["state"] for person in (m, other)] == ["open", "settled"]
        assert other.balances == (10**6 - COUNTED - 20, 0)
        for answer in answers:
            await answer.aclose()
