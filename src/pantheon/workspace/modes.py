"""How the agents of a room work together. A mode decides who speaks and when to end; it cannot spend by itself.

`manual`: the tagged agents, in the order of their tags. `roundtable`: all, in the order of the room, each after hearing
the others. `orchestrator`: a manager plans, asks agents, judges their answers and writes what is answered in the end.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pantheon.workspace.turn import Member

MOST_MESSAGES = 10
"""Of agents, for one message of a person."""

MOST_EXCHANGES = 2
"""In a row between the manager and the same agent, unless a tool gave the agent something new."""

Ask = Callable[[str, str], Awaitable[str]]
"""An agent's key and a task for it; answers what the agent said, or why it was not asked."""


class Stage(Protocol):
    """Where a turn is played. Speaking adds to the conversation that the next speaker hears."""

    roster: Sequence[Member]

    async def speak(self, member: Member, task: str | None = None) -> str: ...

    async def manage(self, ask: Ask) -> str:
        """Lets the manager work, who may ask; answers what it says in the end."""
        ...

    def used_a_tool(self) -> bool:
        """Whether the agent that spoke last did."""
        ...


async def everybody_once(stage: Stage) -> str:
    """Manual and roundtable, and the one agent of a direct conversation."""
    answer = ""
    for member in stage.roster[:MOST_MESSAGES]:
        answer = await stage.speak(member) or answer
    return answer


async def orchestrate(stage: Stage) -> str:
    guard = _Guard()
    by_key = {member.agent_key.lower(): member for member in stage.roster}

    async def ask(agent_key: str, task: str) -> str:
        member = by_key.get(agent_key.removeprefix("@").lower())
        if member is None:
            return f"There is no agent {agent_key}. There are: {', '.join(by_key)}."
        refusal = guard.refusal(member)
        if refusal is not None:
            return refusal
        answer = await stage.speak(member, task)
        guard.spoke(member, new_facts=stage.used_a_tool())
        return answer

    return await stage.manage(ask)


class _Guard:
    """Ends loops: a manager that gets refusals can only conclude."""

    def __init__(self) -> None:
        # The manager's own conclusion is one of the messages.
        self._left = MOST_MESSAGES - 1
        self._last: Member | None = None
        self._in_a_row = 0

    def refusal(self, member: Member) -> str | None:
        if self._left == 0:
            return "Nobody can be asked any more in this turn. Conclude with what you have."
        if self._last == member and self._in_a_row >= MOST_EXCHANGES:
            return f"{member.name} was asked {MOST_EXCHANGES} times in a row. Ask somebody else, or conclude."
        return None

    def spoke(self, member: Member, *, new_facts: bool) -> None:
        self._left -= 1
        again = self._last == member and not new_facts
        self._in_a_row = self._in_a_row + 1 if again else 1
        self._last = member
