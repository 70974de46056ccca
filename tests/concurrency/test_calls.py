"""Calls at once from four processes, each with a runtime of its own: what there are funds for is admitted, no more."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

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
from tests.turns.metering import ALIAS, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

PROCESSES = 4
SECONDS = 100
LONG = [pytest.mark.prove, pytest.mark.timeout(400)]
NEEDED = most_input_tokens(BODY) + 2 + 100 * 10 + 1
USED = 9 + 3 * 10

Scope = Literal["wallet", "api_key", "agent", "room", "model"]
SCOPES: tuple[Scope, ...] = ("wallet", "api_key", "agent", "room", "model")
LIMITS = [(scope, period) for scope in SCOPES for period in ("day", "month")]

Refusals = Counter[tuple[UUID, str]]
"""How many calls of which person were refused, and why."""


@pytest.mark.parametrize("calls", [200, pytest.param(1000, marks=LONG)])
async def test_funds_for_50_calls_admit_exactly_50(install: Install, calls: int) -> None:
    go_on = asyncio.Event()
    async with metering(install, answer_once(go_on), funds=50 * NEEDED + 7, worker=False, payments=False) as m:
        refused = await at_once(m, go_on, [m.spender] * calls)

        assert refused == {(m.user_id, "insufficient_credits of wallet"): calls - 50}
        assert (len(m.provider.asked), len(m.receipts)) == (50, 50)
        assert m.balances == (50 * (NEEDED - USED) + 7, 0)


@pytest.mark.parametrize(
    ("limits", "calls", "allowed"),
    [
        pytest.param(LIMITS, 10, 3, id="all of them"),
        *(pytest.param([limit], 1000, 50, id=" ".join(limit), marks=LONG) for limit in LIMITS),
    ],
)
async def test_a_limit_for_so_many_calls_admits_exactly_so_many(
    install: Install, limits: list[tuple[Scope, str]], calls: int, allowed: int
) -> None:
    """Each kind of limit is that of a person who has more than enough funds."""
    go_on = asyncio.Event()
    async with metering(install, answer_once(go_on), funds=0, worker=False, payments=False) as m:
        people = {limit: await limited(m, *limit, allowed) for limit in limits}

        refused = await at_once(m, go_on, [everywhere(person) for person in people.values()] * calls)

        assert refused == {
            (person.user_id, f"over_limit of {scope} for the {period}"): calls - allowed
            for (scope, period), person in people.items()
        }
        assert {limit: len(person.receipts) for limit, person in people.items()} == dict.fromkeys(limits, allowed)
        assert {person.balances for person in people.values()} == {(10**9 - allowed * USED, 0)}
        assert m.installation.rows("SELECT DISTINCT reserved, spent FROM spend_counters") == [
            {"reserved": 0, "spent": allowed * USED}
        ]


def answer_once(go_on: asyncio.Event) -> Script:
    """No call ends, and gives back what it does not need, before the last one was admitted or refused."""
    told = event({"choices": [], "usage": USAGE})
    return Script([go_on, delta("one "), delta("two "), delta("three", "stop"), told, DONE])


async def limited(m: Metering, scope: Scope, period: str, calls: int) -> Metering:
    person = await m.another(10**9)
    ids = {"wallet": "", "model": ALIAS}
    async with m.installation.runtime.database.transaction() as tx:
        limit = await post.set_spend_limit(
            tx,
            wallet_id=person.wallet_id,
            limit_id=uuid7(),
            scope=scope,
            scope_id=ids.get(scope, str(person.user_id)),
            period=period,
            amount=calls * NEEDED + 7,
            set_by="user",
        )
    limit.expect("ok")
    return person


def everywhere(person: Metering) -> Spender:
    """In a room, by an agent, through a key: all of one id, which the ledger does not mind."""
    return replace(person.spender, api_key_id=person.user_id, agent_id=person.user_id, room_id=person.user_id)


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


async def start(meter: Meter, spender: Spender) -> MeteredCall | tuple[UUID, str]:
    """The call, or of whom and why it was refused. Who is told that the database is busy tries again."""
    while True:
        try:
            return await meter.start(spender, BODY)
        except InsufficientCreditsError as refused:
            told = refused.extras
            period = f" for the {told['limit_period']}" if "limit_period" in told else ""
            return spender.user_id, f"{told['reason']} of {told['limit_source']}{period}"
        except DatabaseBusyError:
            await asyncio.sleep(0.1)


async def text_of(call: MeteredCall) -> str:
    return "".join([chunk["choices"][0]["delta"].get("content") or "" async for chunk in call.chunks()])
