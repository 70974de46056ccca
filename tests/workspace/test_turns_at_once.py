"""How many turns one user may have under way, in all sessions together."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tests.installation import Installation, eventually
from tests.models.scripted_provider import Script, streamed
from tests.workspace.test_turns import workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def test_no_more_turns_are_under_way_than_allowed_and_each_that_ends_makes_room(install: Install) -> None:
    waits = asyncio.Event()
    async with workplace(
        install, Script([waits, *streamed("x").parts]), turns_max_open=2, turn_cap_credits="0.0001"
    ) as w:
        agent = await w.agent("ada")
        sessions = [str((await w.post(f"/agents/{agent}/sessions")).json()["id"]) for _ in range(6)]

        sending = [asyncio.create_task(w.send(session, "Hello")) for session in sessions]

        async def refused() -> bool:
            return sum(each.done() for each in sending) == 4

        await eventually(refused)
        answers = [each.result() for each in sending if each.done()]
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(429, "1")}
        assert answers[0].json()["detail"].startswith("2 of your messages are being answered already.")
        # Nothing of what was refused is stored, or stays set aside.
        assert w.m.installation.rows("SELECT count(*) FROM turns") == [{"count": 2}]
        assert w.m.balances[1] == 2 * 10**5

        answered = [each for each in sending if not each.done()]
        waits.set()
        assert [(await each).status_code for each in answered] == [201, 201]
        assert (await w.send(sessions[0], "Hello")).status_code == 201
