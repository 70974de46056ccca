"""PostgreSQL is away while a model answers: its answer is given whole, and paid once the database is back."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from pantheon.db import embedded
from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError
from pantheon.ids import uuid7
from pantheon.ledger.verify import verify
from pantheon.models.tokens import input_tokens
from pantheon.turns.recover_calls import recover_calls
from tests.crash.callers import call_once, started
from tests.crash.processes import SECONDS
from tests.crash.test_kill_calls import die, is_noted, is_overdue
from tests.installation import eventually, installed
from tests.models.scripted_provider import DONE, USAGE, Script, delta, event
from tests.turns.metering import HELLO, metering

COUNTED = input_tokens({"messages": HELLO})


def answer(second_half: asyncio.Event) -> Script:
    told = event({"choices": [], "usage": USAGE})
    return Script([*[delta("abc")] * 3, second_half, *[delta("def")] * 3, delta("", "stop"), told, DONE])


@pytest.mark.prove
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGQUIT], ids=["killed", "shut down at once"])
async def test_an_answer_is_given_whole_and_paid_once_the_database_is_back(home: Path, end: signal.Signals) -> None:
    """And who dies meanwhile has paid for what was written down."""
    server, second_half = embedded.start(home), asyncio.Event()
    install = partial(installed, app_url=server.app_url, owner_url=server.owner_url)
    async with metering(install, answer(second_half), worker=False, payments=False) as m:
        chunks = (await m.start()).chunks()
        first = [await anext(chunks) for _ in range(3)]
        dying = await m.another(10**6)
        process = started(call_once, dying, "call.read", dying.spender, None)
        await eventually(lambda: is_noted(dying, 3), seconds=SECONDS)

        os.kill(server.pid, end)
        with pytest.raises((DatabaseUnavailableError, DatabaseBusyError)):
            await m.start()
        second_half.set()
        given = [*first, *[chunk async for chunk in chunks]]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in given) == "abcabcabcdefdefdef"
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
