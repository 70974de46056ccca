"""One process holds many turns that stream at once, and each of them ends well and is settled."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from tests.installation import Installation
from tests.models.scripted_provider import DONE, USAGE, Script, delta, event
from tests.workspace.test_turns import Workplace, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]

TURNS = 200
AT_ONCE = 16
"""How many come at the same time: more would only wait for each other."""
FUNDS = 10**12
SECONDS = 120
COST = 9 + 3 * 10
"""Nanocredits, by what the provider tells at the end of its answer."""


@pytest.mark.prove
@pytest.mark.timeout(300)
async def test_one_process_streams_200_turns_at_once_and_settles_them_all(install: Install) -> None:
    gate = asyncio.Event()
    usage = event({"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    script = Script([delta("Wait. "), gate, delta("Done."), delta("", "stop"), usage, DONE])
    limits = {
        "rate_limit_turns_per_minute": 10 * TURNS,
        "rate_limit_turns_per_hour": 10 * TURNS,
        "turns_max_open": TURNS,
        "turn_cap_credits": "1",
    }
    async with workplace(install, script, funds=FUNDS, **limits) as w:
        agent = await w.agent("ada")
        sessions = [str((await w.post(f"/agents/{agent}/sessions")).json()["id"]) for _ in range(TURNS)]
        begun = asyncio.Semaphore(0)
        coming = asyncio.Semaphore(AT_ONCE)
        # The usual client has a hundred connections.
        many = httpx2.Limits(max_connections=None)
        async with (
            httpx2.AsyncClient(base_url=w.m.installation.url, limits=many, timeout=SECONDS) as client,
            asyncio.timeout(SECONDS),
            asyncio.TaskGroup() as group,
        ):
            streams = [group.create_task(_follow(w, client, session, coming, begun)) for session in sessions]
            for _ in sessions:
                await begun.acquire()
            # All of them have said something, and none has ended.
            assert w.m.installation.rows("SELECT count(*) FROM turns WHERE status = 'running'") == [{"count": TURNS}]
            held = w.m.balances[1]
            assert held >= TURNS * COST and not any(stream.done() for stream in streams)
            assert (await w.get("/auth/me")).status_code == 200
            gate.set()

        assert [stream.result() for stream in streams] == ["turn_completed"] * TURNS
        rows = w.m.installation.rows("SELECT DISTINCT status, assistant_output, leased_by FROM turns")
        assert rows == [{"status": "completed", "assistant_output": "Wait. Done.", "leased_by": None}]
        assert {receipt["charged"] for receipt in w.m.receipts} == {COST} and len(w.m.receipts) == TURNS
        assert w.m.balances == (FUNDS - TURNS * COST, 0)
        assert w.m.installation.rows("SELECT DISTINCT state FROM holds") == [{"state": "settled"}]


async def _follow(
    w: Workplace, client: httpx2.AsyncClient, session: str, coming: asyncio.Semaphore, begun: asyncio.Semaphore
) -> str:
    """The name of the stream's last event."""
    last, path = "", f"/api/v1/sessions/{session}/turns/stream"
    await coming.acquire()
    async with client.stream("POST", path, json={"message": "Hello"}, headers=w.headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line == "event: step_delta" and last != "step_delta":
                coming.release()
                begun.release()
            if line.startswith("event: "):
                last = line.removeprefix("event: ")
    return last
