"""Rooms of the caller, and the agents in them."""

from datetime import datetime
from typing import Annotated, Any, Self, cast
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel, Field, model_validator

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import Deleted, WithPage, WithRuntime
from pantheon.api.routes import agents
from pantheon.api.strict_json import LongText, OneLine, RequestModel, strict_router
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.assign_agent import assign_agent
from pantheon.workspace.change_room import change_mode, change_room
from pantheon.workspace.create_room import create_room
from pantheon.workspace.delete import delete_room
from pantheon.workspace.move_agent import move_agent
from pantheon.workspace.restore import restore_room
from pantheon.workspace.rooms import Mode, Room, RoomFields
from pantheon.workspace.roster import MAX_POSITION, RoomAgent, list_room_agents
from pantheon.workspace.unassign_agent import unassign_agent
from pantheon.workspace.view_rooms import list_rooms, view_room

router = strict_router("rooms")

Worker = Annotated[Caller, Depends(caller_with(Scope.WORKSPACE))]

Name = Annotated[OneLine, Field(max_length=200)]
Goal = Annotated[LongText, Field(max_length=10_000)]
Position = Annotated[int, Field(strict=True, ge=0, le=MAX_POSITION)]


class NewRoom(RequestModel):
    name: Name
    goal: Goal | None = None
    current_mode: Mode = "orchestrator"


class RoomChanges(RequestModel):
    name: Name = ""
    goal: Goal | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.fields:
            raise ValueError("give at least one field to change")
        return self

    @property
    def fields(self) -> RoomFields:
        return cast(RoomFields, self.model_dump(exclude_unset=True))


class ModeRequest(RequestModel):
    mode: Mode


class RoomAnswer(BaseModel):
    id: UUID
    owner_user_id: UUID
    name: str
    goal: str | None
    current_mode: Mode
    pending_mode: Mode | None = Field(description="Takes over at the next send.")
    created_at: datetime
    updated_at: datetime


class RoomsAnswer(BaseModel):
    rooms: list[RoomAnswer]
    total: int


class AssignRequest(RequestModel):
    agent_id: UUID
    position: Position | None = Field(None, description="Default: after the last.")


class MoveRequest(RequestModel):
    position: Position


class RoomAgentAnswer(BaseModel):
    id: UUID
    room_id: UUID
    agent_id: UUID
    agent: agents.AgentAnswer
    position: int
    created_at: datetime


class RoomAgentsAnswer(BaseModel):
    agents: list[RoomAgentAnswer]
    total: int


@router.post("/rooms", status_code=201)
async def post_room(body: NewRoom, runtime: WithRuntime, caller: Worker) -> RoomAnswer:
    room = await create_room(
        runtime.database, user_id=caller.user_id, name=body.name, goal=body.goal, mode=body.current_mode
    )
    return _room(room)


@router.get("/rooms")
async def get_rooms(runtime: WithRuntime, caller: Worker, page: WithPage, deleted: Deleted = False) -> RoomsAnswer:
    """Newest first."""
    listed, total = await list_rooms(
        runtime.database, user_id=caller.user_id, deleted=deleted, limit=page.limit, offset=page.offset
    )
    return RoomsAnswer(rooms=[_room(room) for room in listed], total=total)


@router.get("/rooms/{room_id}")
async def get_room(room_id: UUID, runtime: WithRuntime, caller: Worker) -> RoomAnswer:
    return _room(await view_room(runtime.database, user_id=caller.user_id, room_id=room_id))


@router.patch("/rooms/{room_id}")
async def patch_room(room_id: UUID, body: RoomChanges, runtime: WithRuntime, caller: Worker) -> RoomAnswer:
    """Another name or goal."""
    room = await change_room(runtime.database, user_id=caller.user_id, room_id=room_id, changes=body.fields)
    return _room(room)


@router.patch("/rooms/{room_id}/mode")
async def patch_mode(room_id: UUID, body: ModeRequest, runtime: WithRuntime, caller: Worker) -> RoomAnswer:
    """Applies at the next send."""
    return _room(await change_mode(runtime.database, user_id=caller.user_id, room_id=room_id, mode=body.mode))


@router.delete("/rooms/{room_id}", status_code=204)
async def remove_room(room_id: UUID, runtime: WithRuntime, caller: Worker) -> None:
    await delete_room(runtime.database, user_id=caller.user_id, room_id=room_id)


@router.post("/rooms/{room_id}/restore")
async def post_restore_room(room_id: UUID, runtime: WithRuntime, caller: Worker) -> RoomAnswer:
    """Within 7 days of its deletion."""
    return _room(await restore_room(runtime.database, user_id=caller.user_id, room_id=room_id))


@router.post("/rooms/{room_id}/agents", status_code=201)
async def post_room_agent(room_id: UUID, body: AssignRequest, runtime: WithRuntime, caller: Worker) -> RoomAgentAnswer:
    """Lets an agent take part. Whoever has the position already, and all after it, move up."""
    assigned = await assign_agent(
        runtime.database,
        user_id=caller.user_id,
        room_id=room_id,
        agent_id=body.agent_id,
        position=body.position,
    )
    return _room_agent(assigned)


@router.get("/rooms/{room_id}/agents")
async def get_room_agents(room_id: UUID, runtime: WithRuntime, caller: Worker, page: WithPage) -> RoomAgentsAnswer:
    """In the order of their positions."""
    listed, total = await list_room_agents(
        runtime.database, user_id=caller.user_id, room_id=room_id, limit=page.limit, offset=page.offset
    )
    return RoomAgentsAnswer(agents=[_room_agent(assigned) for assigned in listed], total=total)


@router.patch("/rooms/{room_id}/agents/{agent_id}")
async def patch_room_agent(
    room_id: UUID, agent_id: UUID, body: MoveRequest, runtime: WithRuntime, caller: Worker
) -> RoomAgentAnswer:
    """Another position. Those between the old and the new one step aside."""
    moved = await move_agent(
        runtime.database, user_id=caller.user_id, room_id=room_id, agent_id=agent_id, position=body.position
    )
    return _room_agent(moved)


@router.delete("/rooms/{room_id}/agents/{agent_id}", status_code=204)
async def remove_room_agent(room_id: UUID, agent_id: UUID, runtime: WithRuntime, caller: Worker) -> None:
    """The agent itself stays."""
    await unassign_agent(runtime.database, user_id=caller.user_id, room_id=room_id, agent_id=agent_id)


def _room(room: Room) -> RoomAnswer:
    fields: dict[str, Any] = vars(room)
    return RoomAnswer(**fields, owner_user_id=room.user_id)


def _room_agent(assigned: RoomAgent) -> RoomAgentAnswer:
    return RoomAgentAnswer(
        id=assigned.id,
        room_id=assigned.room_id,
        agent_id=assigned.agent.id,
        agent=agents.shown(assigned.agent),
        position=assigned.position,
        created_at=assigned.created_at,
    )
