"""Golden transcripts: all that is told, said and heard in a turn of each mode, with and without tools, word for word.

After a change that is meant, `WRITE_TRANSCRIPTS=1 pytest tests/workspace/test_transcripts.py` writes them anew.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.installation import Installation
from tests.models.scripted_provider import streamed
from tests.workspace.scenes import scenes
from tests.workspace.test_turns import Workplace, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]

Event = tuple[int, str, Any]

FOLDER = Path(__file__).parent / "transcripts"
OF_THIS_RUN = {"agent_id", "turn_id", "message_id", "receipt_id", "receipt_ids", "balance_after"}


async def test_a_turn_of_each_mode_goes_as_written(install: Install, subtests: pytest.Subtests) -> None:
    async with workplace(install, streamed("x")) as w:
        for scene in scenes():
            with subtests.test(scene.name):
                w.m.provider.asked.clear()
                w.m.installation.execute("UPDATE agents SET deleted_at = now()")
                session = await scene.session(w)
                turn = (await w.send(session, scene.message)).json()
                events, said = await w.events(turn["id"]), await w.said(session)
                told = transcript(w, turn, events, said)
                path = FOLDER / f"{scene.name}.txt"
                if "WRITE_TRANSCRIPTS" in os.environ:
                    path.write_text(told)
                assert told == path.read_text()
                # What was streamed is what is kept, word for word.
                assert sorted(streamed_of(events)) == sorted(text for _, text in said[1:])


def streamed_of(events: list[Event]) -> list[str]:
    by_step: dict[int, str] = {}
    for _, name, data in events:
        if name == "step_delta":
            by_step[data["step"]] = by_step.get(data["step"], "") + data["text"]
    return list(by_step.values())


def transcript(w: Workplace, turn: Any, events: list[Event], said: list[tuple[str | None, str]]) -> str:
    return "\n".join(
        [
            "What is told:",
            *(f"  {event} {_shown(data)}" for _, event, data in events),
            "",
            "What is kept:",
            *(f"  {name or 'Person'}: {text!r}" for name, text in said),
            f"  Answer: {turn['assistant_output']!r}",
            "",
            "What models hear:",
            *(line for n, asked in enumerate(w.m.provider.asked) for line in _heard(n + 1, asked.body)),
            "",
        ]
    )


def _shown(data: dict[str, Any]) -> str:
    return " ".join(f"{name}={_plain(value)!r}" for name, value in sorted(data.items()) if name not in OF_THIS_RUN)


def _plain(value: Any) -> Any:
    return [each["agent_key"] for each in value] if isinstance(value, list) else value


def _heard(number: int, body: dict[str, Any]) -> Iterator[str]:
    tools = ", ".join(tool["function"]["name"] for tool in body.get("tools", []))
    yield f"  {number}. " + (f"with {tools}" if tools else "without tools")
    for message in body["messages"]:
        called = [call["function"]["arguments"] for call in message.get("tool_calls") or []]
        yield f"     {message['role']}: {message.get('content')!r}" + (f" calls {called}" if called else "")
