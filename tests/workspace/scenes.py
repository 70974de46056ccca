"""Every mode, with and without tools: who is in the room, what their models say, and what comes of it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.models.scripted_provider import DONE, USAGE, Script, delta, event, streamed
from tests.workspace.test_turns import Workplace

Part = bytes | float | asyncio.Event | None


@dataclass(frozen=True)
class Scene:
    mode: str
    tools: bool
    message: str
    scripts: Sequence[Script]
    """The last words of the last but one of Ada's scripts come after `wait`."""

    @property
    def name(self) -> str:
        return self.mode + ("_with_tools" if self.tools else "")

    async def session(self, w: Workplace) -> str:
        """Where it is played, with Ada and Bob, and what their models will say."""
        w.m.provider.scripts[:] = self.scripts
        permissions = ["file_read"] if self.tools else []
        if self.mode != "direct":
            return await w.room(self.mode, "ada", "bob", tool_permissions=permissions)
        agent = await w.agent("ada", tool_permissions=permissions)
        return str((await w.post(f"/agents/{agent}/sessions")).json()["id"])


_OFTEN = {"roundtable", "orchestrator_with_tools"}

some_and_all = pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(_OFTEN.__contains__, id="some"),
        pytest.param(lambda name: name not in _OFTEN, id="the others", marks=pytest.mark.prove),
    ],
)
"""The scenes that each run of the tests plays; the others are long proofs."""


def scenes(wait: Part = b"") -> Iterator[Scene]:
    """In each of them Ada says "one two", and waits between the two words."""
    for tools in (False, True):
        ada = [Script([delta("one "), wait, *streamed("two").parts])]
        if tools:
            ada = [calls("file_read", says="I look. "), *ada]
        bob = streamed("And I say three.")
        yield Scene("direct", tools, "Count.", ada)
        yield Scene("manual", tools, "@Bob and @ada, count.", [bob, *ada])
        yield Scene("roundtable", tools, "Count.", [*ada, bob])
        plan = calls("ask_agent", ("ada", "Begin."), ("bob", "Go on."), says="Ada begins. ")
        yield Scene("orchestrator", tools, "Count.", [plan, *ada, bob, streamed("One two three.")])


def calls(tool: str, *asked: tuple[str, str], says: str = "", usage: Any = USAGE) -> Script:
    """A model that says something and then calls a tool, or a manager that asks several agents at once."""
    arguments = [{"agent_key": key, "task": task} for key, task in asked] or [{}]
    told = [
        {"index": n, "id": f"t{n}", "type": "function", "function": {"name": tool, "arguments": json.dumps(each)}}
        for n, each in enumerate(arguments)
    ]
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return Script(
        [
            *([delta(says)] if says else []),
            event(chunk | {"choices": [{"index": 0, "delta": {"tool_calls": told}, "finish_reason": None}]}),
            event(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            event({"id": "c1", "choices": [], "usage": usage}),
            DONE,
        ]
    )
