"""What agents may do besides speaking. An agent is built without the tools that it has no permission for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pantheon.workspace.turn import Member


@dataclass(frozen=True)
class ToolContext:
    """For whom and where a tool works. No argument of a model can lead out of it."""

    user_id: UUID
    room_id: UUID | None


def tools_of(member: Member) -> list[Callable[..., Any]]:
    return [TOOLS[name] for name in member.tool_permissions if name in TOOLS]


TOOLS: dict[str, Callable[..., Any]] = {}
