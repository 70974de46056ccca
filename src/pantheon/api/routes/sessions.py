"""Sessions of the caller: conversations in a room, or with one agent, and what was said in them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import Deleted, WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.delete import delete_session
from pantheon.workspace.restore import restore_session
from pantheon.workspace.sessions import Place, Session
from pantheon.workspace.start_session import start_session
from pantheon.workspace.transcript import MessageState, Role, TurnMode, TurnStatus, list_messages, list_turns
from pantheon.workspace.view_sessions import list_sessions, view_session

router = strict_router("sessions")

Worker = Annotated[Caller, Depends(caller_with(Scope.WORKSPACE))]


async def _in_room(room_id: UUID) -> Place:
    return Place(room_id=room_id)


async def _with_agent(agent_id: UUID) -> Place:
    return Place(agent_id=agent_id)


InRoom = Annotated[Place, Depends(_in_room)]
WithAgent = Annotated[Place, Depends(_with_agent)]


class SessionAnswer(BaseModel):
    id: UUID
    room_id: UUID | None
    agent_id: UUID | None
    created_at: datetime


class SessionsAnswer(BaseModel):
    sessions: list[SessionAnswer]
    total: int


class TurnAnswer(BaseModel):
    id: UUID
    session_id: UUID
    turn_index: int
    mode: TurnMode
    user_input: str
    assistant_output: str | None
    status: TurnStatus
    error_code: str | None
    model_alias_override: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class TurnsAnswer(BaseModel):
    turns: list[TurnAnswer]
    total: int


class MessageAnswer(BaseModel):
    id: UUID
    turn_id: UUID
    position: int
    role: Role
    agent_id: UUID | None
    agent_name: str | None
    content: str
    state: MessageState
    created_at: datetime


class MessagesAnswer(BaseModel):
    messages: list[MessageAnswer]
    total: int


@router.post("/rooms/{room_id}/sessions", status_code=201)
async def post_room_session(place: InRoom, runtime: WithRuntime, caller: Worker) -> SessionAnswer:
    """Begins a conversation with all agents of the room."""
    return _session(await start_session(runtime.database, user_id=caller.user_id, place=place))


@router.post("/agents/{agent_id}/sessions", status_code=201)
async def post_agent_session(place: WithAgent, runtime: WithRuntime, caller: Worker) -> SessionAnswer:
    """Begins a conversation with this agent alone."""
    return _session(await start_session(runtime.database, user_id=caller.user_id, place=place))


@router.get("/rooms/{room_id}/sessions")
async def get_room_sessions(
    place: InRoom, runtime: WithRuntime, caller: Worker, page: WithPage, deleted: Deleted = False
) -> SessionsAnswer:
    """Newest first."""
    return _sessions(
        await list_sessions(
            runtime.database, user_id=caller.user_id, place=place, deleted=deleted, limit=page.limit, offset=page.offset
        )
    )


@router.get("/agents/{agent_id}/sessions")
async def get_agent_sessions(
    place: WithAgent, runtime: WithRuntime, caller: Worker, page: WithPage, deleted: Deleted = False
) -> SessionsAnswer:
    """Newest first."""
    return _sessions(
        await list_sessions(
            runtime.database, user_id=caller.user_id, place=place, deleted=deleted, limit=page.limit, offset=page.offset
        )
    )


@router.delete("/rooms/{room_id}/sessions/{session_id}", status_code=204)
async def remove_room_session(session_id: UUID, place: InRoom, runtime: WithRuntime, caller: Worker) -> None:
    await delete_session(runtime.database, user_id=caller.user_id, place=place, session_id=session_id)


@router.delete("/agents/{agent_id}/sessions/{session_id}", status_code=204)
async def remove_agent_session(session_id: UUID, place: WithAgent, runtime: WithRuntime, caller: Worker) -> None:
    await delete_session(runtime.database, user_id=caller.user_id, place=place, session_id=session_id)


@router.get("/sessions/{session_id}")
async def get_session(session_id: UUID, runtime: WithRuntime, caller: Worker) -> SessionAnswer:
    return _session(await view_session(runtime.database, user_id=caller.user_id, session_id=session_id))


@router.post("/sessions/{session_id}/restore")
async def post_restore_session(session_id: UUID, runtime: WithRuntime, caller: Worker) -> SessionAnswer:
    """Within 7 days of its deletion."""
    return _session(await restore_session(runtime.database, user_id=caller.user_id, session_id=session_id))


@router.get("/sessions/{session_id}/turns")
async def get_turns(session_id: UUID, runtime: WithRuntime, caller: Worker, page: WithPage) -> TurnsAnswer:
    """Oldest first."""
    listed, total = await list_turns(
        runtime.database, user_id=caller.user_id, session_id=session_id, limit=page.limit, offset=page.offset
    )
    return TurnsAnswer(turns=[TurnAnswer(**vars(turn)) for turn in listed], total=total)


@router.get("/sessions/{session_id}/messages")
async def get_messages(session_id: UUID, runtime: WithRuntime, caller: Worker, page: WithPage) -> MessagesAnswer:
    """Oldest first."""
    listed, total = await list_messages(
        runtime.database, user_id=caller.user_id, session_id=session_id, limit=page.limit, offset=page.offset
    )
    return MessagesAnswer(messages=[MessageAnswer(**vars(message)) for message in listed], total=total)


def _session(session: Session) -> SessionAnswer:
    return SessionAnswer(**vars(session))


def _sessions(listed: tuple[list[Session], int]) -> SessionsAnswer:
    return SessionsAnswer(sessions=[_session(session) for session in listed[0]], total=listed[1])
