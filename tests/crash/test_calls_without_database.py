"""PostgreSQL is away while a model answers: its answer is given whole, and paid once the database is back."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pantheon.db import embedded
from pantheon.errors import DatabaseBusyError
from pantheon.ids import uuid7
from pantheon.ledger.verify import verify
from pantheon.models.tokens import input_tokens
from pantheon.turns.recover_calls import recover_calls
from tests.crash.callers import BODY, call_once, started
from tests.crash.processes import SECONDS
from tests.crash.test_kill_calls import die, is_noted, is_overdue
from tests.installation import eventually, installed
from tests.models.scripted_provider import DONE, USAGE, Script, delta, event
from tests.turns.metering import HELLO, metering

COUNTED = input_tokens({"messages": HELLO})


def answer(second_half: asyncio.Event) -> Script:
    told = event({"choices": [], "usage": USAGE})
    return Script([*[delta("abc")] * 3, second_half, *[delta("def")] * 3, delta("", "stop"), told, DONE])


async def words_of(stream: httpx2.Response) -> AsyncGenerator[str]:
    """Of an answer that comes to its end."""
    lines = []
    async for line in stream.aiter_lines():
        lines.append(line)
        if line.startswith("data: {"):
            [choice] = json.loads(line.removeprefix("data: "))["choices"]
            if choice["delta"]:
                yield choice["delta"]["content"]
    assert lines[-2:] == ["data: [DONE]", ""]


@pytest.mark.prove
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGQUIT], ids=["killed", "shut down at once"])
async def test_an_answer_is_given_whole_and_paid_once_the_database_is_back(home: Path, end: signal.Signals) -> None:
    """And who dies meanwhile has paid for what was written down."""
    server, second_half = embedded.start(home), asyncio.Event()
    install = partial(installed, app_url=server.app_url, owner_url=server.owner_url)
    async with (
        metering(install, answer(second_half), worker=False, payments=False) as m,
        AsyncExitStack() as asking,
    ):
        asked: Any = {"method": "POST", "url": "/v1/chat/completions", "json": BODY, "headers": m.headers}
        stream = await asking.enter_async_context(m.installation.client.stream(**asked))
        words = words_of(stream)
        first = [await anext(words) for _ in range(3)]
        dying = await m.another(10**6)
        process = started(call_once, dying, "call.read", dying.spender, None)
        await eventually(lambda: is_noted(dying, 3), seconds=SECONDS)

        os.kill(server.pid, end)
        refused = await m.installation.client.request(**asked)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] in ("database_unavailable", "database_busy")
        second_half.set()
        assert [*first, *[word async for word in words]] == ["abc"] * 3 + ["def"] * 3
        await die(process)
        # Longer than a lane is waited for: whoever asked before this has been told by now.
        with pytest.raises(DatabaseBusyError):
            await m.installation.runtime.lanes.release(wallet_id=m.wallet_id, hold_id=uuid7())
        await asyncio.to_thread(embedded.start, home)

        await m.ended()
        assert [(row["state"], row["outcome"]) for row in m.calls] == [("settled", "completed")]
        assert [(row["charged"], row["overrun"], row["body"]["quality"]) for row in m.receipts] == [(39, 0, "provider")]
        assert m.balances == (10**6 - 39, 0)
        is_overdue(m.installation)
        assert await recover_calls(m.installation.runtime.database) == 1
        assert [(row["charged"], row["body"]["quality"]) for row in dying.receipts] == [(COUNTED + 30, "estimated")]
        assert dying.balances == (10**6 - COUNTED - 30, 0)
        # Who was refused without a database has left nothing behind, and no provider was asked for them.
        assert (len(m.provider.asked), len(m.calls)) == (2, 1)
        async with m.installation.runtime.database.transaction() as tx:
            assert await verify(tx) == []
