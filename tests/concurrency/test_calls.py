"""Calls at once over HTTP, through four processes: what there are funds for is admitted, no more."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, Literal, get_args
from uuid import UUID

import httpx2
import pytest

from pantheon.api.server import bind
from pantheon.models.tokens import most_input_tokens
from pantheon.money.amounts import format_credits
from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from tests.crash.callers import BODY, serve, started
from tests.installation import NO_TLS, TEST, Installation, eventually
from tests.models.scripted_provider import DONE, USAGE, Script, delta, event, streamed
from tests.turns.metering import ALIAS, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

PROCESSES = 4
SECONDS = 400
LONG = [pytest.mark.prove, pytest.mark.timeout(600)]
FUNDS = 10**9
NEEDED = most_input_tokens(BODY) + 2 + 100 * 10 + 1
USED = 9 + 3 * 10

Kind = Literal["funds", "wallet", "api_key", "agent", "room", "model"]
KINDS: list[tuple[Kind, str]] = [
    ("funds", ""),
    *((scope, period) for scope in get_args(Kind)[1:] for period in ("day", "month")),
]
"""What may be short: the wallet's funds, or what a limit of it allows for a day or a month."""


def many(kind: Kind) -> int:
    """Turns take ten times as long as calls. A thousand calls of agents are in test_calls_of_agents.py."""
    return 100 if kind in ("agent", "room") else 1000


ROOMY = {
    "rate_limit_turns_per_minute": 10**6,
    "rate_limit_turns_per_hour": 10**6,
    "turns_max_open": 10**6,
    "turn_max_seconds": 600,
    # Each turn sets aside as much, whatever its calls need of it.
    "turn_cap_credits": "0.0001",
}

Refusals = Counter[tuple[UUID, str]]
"""How many calls of which person were refused, and why."""


@pytest.mark.parametrize(
    ("kinds", "calls", "allowed"),
    [
        pytest.param([("funds", ""), ("wallet", "day"), ("api_key", "month"), ("model", "day")], 20, 5, id="some"),
        *(pytest.param([kind], many(kind[0]), 50, id=" ".join(kind), marks=LONG) for kind in KINDS),
    ],
)
async def test_what_is_there_for_so_many_calls_admits_exactly_so_many(
    install: Install, kinds: list[tuple[Kind, str]], calls: int, allowed: int
) -> None:
    """Each kind is that of a person who has more than enough of everything else."""
    async with metering(install, funds=0, payments=False, **ROOMY) as m, processes(m, **ROOMY) as doors:
        callers = {kind: await short_of(m, *kind, calls=allowed) for kind in kinds}

        refused = await at_once(m, doors, list(callers.values()) * calls)

        assert refused == {(caller.person.user_id, caller.why): calls - allowed for caller in callers.values()}
        assert [len(caller.person.receipts) for caller in callers.values()] == [allowed] * len(kinds)
        left = [(caller.funds - allowed * USED, 0) for caller in callers.values()]
        assert [caller.person.balances for caller in callers.values()] == left
        counted = m.installation.rows("SELECT reserved, spent FROM spend_counters")
        assert counted == [{"reserved": 0, "spent": allowed * USED}] * sum(kind != "funds" for kind, _ in kinds)


@pytest.mark.parametrize(
    ("kind", "setting", "bucket"),
    [
        pytest.param("funds", "rate_limit_calls_per_minute", "calls:{}", marks=LONG),
        pytest.param("funds", "rate_limit_calls_per_hour", "calls:{}:hour", marks=LONG),
        pytest.param("funds", "calls_max_open", None, marks=LONG),
        pytest.param("agent", "rate_limit_turns_per_minute", "turns:{}", marks=LONG),
        pytest.param("agent", "rate_limit_turns_per_hour", "turns:{}:hour", marks=LONG),
        pytest.param("agent", "turns_max_open", None, marks=LONG),
    ],
)
async def test_of_so_many_at_once_no_more_than_50_are_begun(
    install: Install, kind: Kind, setting: str, bucket: str | None
) -> None:
    settings = ROOMY | {setting: 50}
    async with metering(install, funds=0, payments=False) as m, processes(m, **settings) as doors:
        caller = await new_caller(m, kind)

        refused = await at_once(m, doors, [caller] * many(kind))

        begun = [50]
        if bucket is not None:
            # Where a window ended in between, each of the two has its own fifty.
            query = "SELECT hits FROM rate_limits WHERE bucket = %s"
            begun = [row["hits"] for row in m.installation.rows(query, bucket.format(caller.person.user_id))]
        assert max(begun) == 50
        assert refused == {(caller.person.user_id, "too_many_requests"): many(kind) - sum(begun)}
        assert len(caller.person.receipts) == sum(begun)
        assert caller.person.balances == (FUNDS - sum(begun) * USED, 0)


@dataclass(frozen=True)
class Caller:
    person: Metering
    key: str
    model: str
    scope_id: str | None
    """What a limit of its kind is set for."""
    funds: int
    why: str = ""
    """What refuses its calls."""

    @property
    def body(self) -> dict[str, Any]:
        # Agents' answers in one piece, whose errors have a status of their own however long they take.
        return BODY | {"model": self.model, "stream": self.model == ALIAS}


async def short_of(m: Metering, kind: Kind, period: str, *, calls: int) -> Caller:
    """Somebody who has of this only what so many calls need at most, and a little more."""
    amount = calls * await needed_for(m, kind) + 7
    if kind == "funds":
        return replace(await new_caller(m, kind, funds=amount), why="insufficient_credits of wallet")
    caller = await new_caller(m, kind)
    body = {"scope": kind, "scope_id": caller.scope_id, "period": period, "amount": format_credits(amount)}
    answer = await m.installation.client.put("/api/v1/users/me/limits", json=body, headers=caller.person.headers)
    assert answer.status_code == 200, answer.text
    return replace(caller, why=f"over_limit of {kind} for the {period}")


async def needed_for(m: Metering, kind: Kind) -> int:
    """What one call sets aside. What an agent is told is not all ours, so one is asked."""
    if kind not in ("agent", "room"):
        return NEEDED
    m.provider.scripts[:] = [streamed("x")]
    caller = await new_caller(m, kind)
    assert await ask(m.installation.client, caller) is None
    [draw] = m.installation.rows(
        "SELECT amount FROM draws JOIN calls USING (id) WHERE calls.wallet_id = %s", caller.person.wallet_id
    )
    m.provider.asked.clear()
    return int(draw["amount"])


async def new_caller(m: Metering, kind: Kind, *, funds: int = FUNDS) -> Caller:
    """A person who calls the model, or an agent alone or in a room, as this kind is about."""
    person, runtime = await m.another(funds), m.installation.runtime
    scopes = [Scope.MODELS_CALL, Scope.WORKSPACE]
    made, key = await create_api_key(
        runtime.database, runtime.settings, user_id=person.user_id, name="client", scopes=scopes, actor=TEST
    )
    model, scope_id = ALIAS, {"api_key": str(made.id), "model": ALIAS}.get(kind)
    if kind in ("agent", "room"):
        scope_id = agent = await make(person, "/agents", agent_key="ada", name="Ada", model_alias=ALIAS)
        model = "agent/ada"
    if kind == "room":
        scope_id = await make(person, "/rooms", name="Plans", current_mode="roundtable")
        await make(person, f"/rooms/{scope_id}/agents", agent_id=agent)
        model = f"room/{scope_id}"
    return Caller(person, key, model, scope_id, funds)


async def make(person: Metering, path: str, **body: Any) -> str:
    made = await person.installation.client.post(f"/api/v1{path}", json=body, headers=person.headers)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@asynccontextmanager
async def processes(m: Metering, **settings: Any) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Clients of four processes that serve, each with a runtime of its own."""
    listeners = [bind("127.0.0.1", 0) for _ in range(PROCESSES)]
    serving = [started(serve, m, None, listener, **settings) for listener in listeners]
    # None is used again: a door may close what is not, while a thousand wait for their turn here.
    unlimited = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with AsyncExitStack() as stack:
        for process in serving:
            stack.callback(process.join)
            stack.callback(process.kill)
        doors = []
        for listener in listeners:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.close()
            client = httpx2.AsyncClient(base_url=url, timeout=SECONDS, limits=unlimited, verify=NO_TLS)
            doors.append(await stack.enter_async_context(client))
        for door in doors:
            assert (await door.get("/api/v1/health")).status_code == 200
        yield doors


async def at_once(m: Metering, doors: Sequence[httpx2.AsyncClient], callers: list[Caller]) -> Refusals:
    """No call ends, and gives back what it does not need, before the last one was admitted or refused."""
    go_on = asyncio.Event()
    told = event({"choices": [], "usage": USAGE})
    m.provider.scripts[:] = [Script([go_on, delta("one "), delta("two "), delta("three", "stop"), told, DONE])]
    asking = [asyncio.create_task(ask(door, caller)) for door, caller in zip(cycle(doors), callers, strict=False)]

    async def all_are_decided() -> bool:
        return len(m.provider.asked) + sum(task.done() for task in asking) >= len(asking)

    await eventually(all_are_decided, seconds=SECONDS)
    go_on.set()
    whys = await asyncio.gather(*asking)
    people = {caller.person.user_id: caller.person for caller in callers}

    # What was set aside too late, for a turn that was told that the database is busy, goes back soon after.
    async def nothing_is_held() -> bool:
        return all(person.balances[1] == 0 for person in people.values())

    await eventually(nothing_is_held, seconds=30)
    return Counter((caller.person.user_id, why) for caller, why in zip(callers, whys, strict=True) if why is not None)


async def ask(door: httpx2.AsyncClient, caller: Caller) -> str | None:
    """Why it was refused, if it was. Who is told that the database is busy tries again."""
    headers = {"Authorization": f"Bearer {caller.key}"}
    while True:
        answer = await door.post("/v1/chat/completions", json=caller.body, headers=headers)
        if answer.status_code == 200:
            assert '"error"' not in answer.text
            return None
        error = answer.json()["error"]
        if error["code"] == "database_busy":
            await asyncio.sleep(int(answer.headers.get("retry-after", 1)))
        elif "limit_source" in error:
            period = f" for the {error['limit_period']}" if "limit_period" in error else ""
            return f"{error['reason']} of {error['limit_source']}{period}"
        else:
            return str(error["code"])
