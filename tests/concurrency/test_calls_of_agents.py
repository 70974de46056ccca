"""A thousand calls of agents at once from four processes: what their limits allow is admitted, no more.

Without the turns around them, which take ten times as long. Those are in test_calls.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Literal

import pytest

from pantheon.errors import DatabaseBusyError, InsufficientCreditsError
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.models.tokens import most_input_tokens
from pantheon.runtime import Runtime
from pantheon.turns.meter import Meter
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.spender import Spender
from tests.crash.callers import BODY, started
from tests.crash.processes import forks
from tests.installation import Installation
from tests.models.scripted_provider import DONE, USAGE, Script, delta, event
from tests.turns.metering import Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

PROCESSES = 4
SECONDS = 100
NEEDED = most_input_tokens(BODY) + 2 + 100 * 10 + 1
USED = 9 + 3 * 10

Scope = Literal["agent", "room"]

Refusals = Counter[str]
"""How many calls were refused, and why."""


@pytest.mark.prove
@pytest.mark.timeout(400)
@pytest.mark.parametrize("period", ["day", "month"])
@pytest.mark.parametrize("scope", ["agent", "room"])
async def test_a_limit_for_50_calls_admits_exactly_50(install: Install, scope: Scope, period: str) -> None:
    go_on = asyncio.Event()
    async with metering(install, answer_once(go_on), funds=0, worker=False, payments=False) as m:
        person = await limited(m, scope, period, 50)

        refused = await at_once(m, go_on, [in_a_room(person)] * 1000)

        assert refused == {f"over_limit of {scope} for the {period}": 950}
        assert len(person.receipts) == 50
        assert person.balances == (10**9 - 50 * USED, 0)
        assert m.installation.rows("SELECT reserved, spent FROM spend_counters") == [
            {"reserved": 0, "spent": 50 * USED}
        ]


def answer_once(go_on: asyncio.Event) -> Script:
    """No call ends, and gives back what it does not need, before the last one was admitted or refused."""
    told = event({"choices": [], "usage": USAGE})
    return Script([go_on, delta("one "), delta("two "), delta("three", "stop"), told, DONE])


async def limited(m: Metering, scope: Scope, period: str, calls: int) -> Metering:
    person = await m.another(10**9)
    async with m.installation.runtime.database.transaction() as tx:
        limit = await post.set_spend_limit(
            tx,
            wallet_id=person.wallet_id,
            limit_id=uuid7(),
            scope=scope,
            scope_id=str(person.user_id),
            period=period,
            amount=calls * NEEDED + 7,
            set_by="user",
        )
    limit.expect("ok")
    return person


def in_a_room(person: Metering) -> Spender:
    """By an agent there: both of one id, which the ledger does not mind."""
    return replace(person.spender, agent_id=person.user_id, room_id=person.user_id)


async def at_once(m: Metering, go_on: asyncio.Event, spenders: list[Spender]) -> Refusals:
    begin, refusals = forks.Barrier(PROCESSES), forks.SimpleQueue()
    processes = [
        started(start_all, m, None, spenders[number::PROCESSES], begin, refusals) for number in range(PROCESSES)
    ]
    refused = [await asyncio.to_thread(refusals.get) for _ in processes]
    go_on.set()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    return sum(refused, Counter())


async def start_all(runtime: Runtime, spenders: list[Spender], begin: Any, refusals: Any) -> None:
    begin.wait(SECONDS)
    outcomes = await asyncio.gather(*(start(runtime.meter, spender) for spender in spenders))
    calls = [outcome for outcome in outcomes if isinstance(outcome, MeteredCall)]
    refusals.put(Counter(outcome for outcome in outcomes if not isinstance(outcome, MeteredCall)))
    await asyncio.gather(*map(text_of, calls))


async def start(meter: Meter, spender: Spender) -> MeteredCall | str:
    """The call, or why it was refused. Who is told that the database is busy tries again."""
    while True:
        try:
            return await meter.start(spender, BODY)
        except InsufficientCreditsError as refused:
            told = refused.extras
            period = f" for the {told['limit_period']}" if "limit_period" in told else ""
            return f"{told['reason']} of {told['limit_source']}{period}"
        except DatabaseBusyError:
            await asyncio.sleep(0.1)


async def text_of(call: MeteredCall) -> str:
    return "".join([chunk["choices"][0]["delta"].get("content") or "" async for chunk in call.chunks()])
