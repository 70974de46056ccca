"""Killed anywhere within a call of a model (kill -9 of a real process): what was given is paid, and the rest goes back.

Calls last for minutes and their holds longer. What passes here is not time: their rows are dated back.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pantheon.models.tokens import input_tokens
from pantheon.turns.admit_call import LONGEST_CALL
from pantheon.turns.recover_calls import recover_calls
from pantheon.wallets.expire_holds import expire_holds
from tests.crash.callers import call, call_over_http, recover
from tests.crash.processes import SECONDS
from tests.installation import Installation, eventually
from tests.models.scripted_provider import DONE, Script, ScriptedProvider, answered, delta, event, serving
from tests.turns.metering import HELLO, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

FUNDS = 10**6
COUNTED = input_tokens({"messages": HELLO})
WHOLE = 9 + 6 * 10
"""Nanocredits, by what the provider tells at the end of its answer."""

GIVEN_BACK = ("released", 0)
PAID = ("settled", WHOLE)
NOTED = ("settled", -1)
"""Paid for as many tokens as were written down, where any were."""


@dataclass(frozen=True)
class Kill:
    failpoint: str | None
    """None: killed while the provider has the request and says nothing."""
    leaves: tuple[str, int] | None
    """State of the call, and what its person pays in the end; None where there is no trace of it."""
    funds: int = FUNDS
    fails: bool = False
    """The provider answers with an error."""
    takes: int | None = None
    """Its person leaves after so many chunks, and the provider says no more."""
    progress: bool = False
    """The second half of the answer comes once the first is written down, and not at once."""

    def leaves_after(self, noted: int) -> tuple[str, int] | None:
        if self.leaves is not NOTED:
            return self.leaves
        return ("settled", COUNTED + noted * 10) if noted else GIVEN_BACK


KILLS = {
    "before a call is written down": Kill("call.inserted", None),
    "once it is written down": Kill("call.admitted", GIVEN_BACK),
    "once funds are set aside, before anybody knows": Kill("lane.committed", GIVEN_BACK),
    "once they are refused, before anybody knows": Kill("lane.committed", GIVEN_BACK, funds=5),
    "before the provider is asked": Kill("call.funded", GIVEN_BACK),
    "while the provider thinks": Kill(None, GIVEN_BACK),
    "at the first piece": Kill("call.chunk", GIVEN_BACK),
    "once it was handed on": Kill("call.handed", NOTED),
    "once it is noted how far the call got": Kill("call.progress", NOTED, progress=True),
    "in the middle of the answer": Kill("call.chunk:5", NOTED, progress=True),
    "once the answer was read": Kill("call.read", NOTED, progress=True),
    "once it is paid, before anybody knows": Kill("lane.committed:2", PAID),
    "once it is paid": Kill("call.posted", PAID),
    "once the end is written down": Kill("call.recorded", PAID),
    "once somebody left": Kill("call.read", NOTED, takes=3),
    "once what somebody left is paid": Kill("lane.committed:2", ("settled", COUNTED + 3 * 10), takes=3),
    "within giving back what a failed call had": Kill("lane.committed:2", GIVEN_BACK, fails=True),
}

TOLD = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}})


@pytest.mark.parametrize(
    ("over_http", "recoveries"),
    [
        pytest.param(False, [], id="recovered at once"),
        pytest.param(True, [], id="through the gateway", marks=pytest.mark.prove),
        pytest.param(
            False,
            ["recovery.found", *(f"recovery.{done}:{time}" for time in (1, 3) for done in ("posted", "recorded"))],
            id="recoveries are killed as well",
            marks=pytest.mark.prove,
        ),
    ],
)
async def test_what_was_given_is_paid_and_the_rest_goes_back(
    install: Install, over_http: bool, recoveries: list[str]
) -> None:
    async with metering(install, funds=0, worker=False, payments=False) as m:
        people = dict(
            zip(KILLS, await asyncio.gather(*(killed(m, kill, over_http) for kill in KILLS.values())), strict=True)
        )
        expected = {name: KILLS[name].leaves_after(noted(person)) for name, person in people.items()}
        database = m.installation.runtime.database
        assert await recover_calls(database) == 0

        is_overdue(m.installation)
        for failpoint in recoveries:
            await die(recover(m, failpoint))
        await recover_calls(database)

        assert {name: left_by(person) for name, person in people.items()} == expected
        assert {name: person.balances for name, person in people.items()} == {
            name: (KILLS[name].funds - (left[1] if left else 0), 0) for name, left in expected.items()
        }
        assert m.installation.rows("SELECT FROM holds WHERE state = 'placed'") == []
        assert m.installation.rows("SELECT FROM draws WHERE state = 'open'") == []
        # Nothing is left for whoever comes later.
        assert (await recover_calls(database), await expire_holds(database)) == (0, 0)


async def killed(m: Metering, kill: Kill, over_http: bool) -> Metering:
    """A person whose only call was cut off by the death of its process."""
    second_half = asyncio.Event()
    pieces: list[bytes | asyncio.Event] = [delta("abc")] * 3
    pieces += (
        [second_half] * (kill.progress or kill.takes is not None) + [delta("def")] * 3 + [delta("", "stop"), TOLD, DONE]
    )
    script = Script(pieces if kill.failpoint else [second_half])
    if kill.fails:
        script = answered({"error": {"message": "no"}}, status=400)
    async with serving(ScriptedProvider(script)) as provider:
        person = replace(await m.another(kill.funds), provider=provider)
        make = call_over_http if over_http else call
        async with make(person, kill.failpoint, takes=kill.takes) as process:
            if kill.progress:
                await eventually(lambda: is_noted(person, 3), seconds=SECONDS)
                second_half.set()
            if kill.failpoint is None:
                await eventually(lambda: was_asked(person), seconds=SECONDS)
                process.kill()
            await die(process)
    return person


async def is_noted(person: Metering, tokens: int) -> bool:
    return noted(person) == tokens


def noted(person: Metering) -> int:
    return sum(row["delivered_output"] for row in person.calls)


def is_overdue(it: Installation) -> None:
    """As if the processes had died long ago."""
    it.execute("UPDATE calls SET started_at = now() - %s - %s, expires_at = now()", LONGEST_CALL, LONGEST_CALL)


async def was_asked(person: Metering) -> bool:
    return len(person.provider.asked) == 1


async def die(process: Any) -> None:
    await asyncio.to_thread(process.join, SECONDS)
    assert process.exitcode == -signal.SIGKILL


def left_by(person: Metering) -> tuple[str, int] | None:
    states = [row["state"] for row in person.calls]
    paid = [row["charged"] for row in person.receipts]
    assert (len(states), len(paid)) in [(0, 0), (1, 0), (1, 1)]
    return (states[0], sum(paid)) if states else None
