"""Agents of the caller."""

from datetime import datetime
from typing import Annotated, Any, Self, cast
from uuid import UUID

from fastapi import Depends
from pydantic import AfterValidator, BaseModel, Field, model_validator

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import Deleted, WithPage, WithRuntime
from pantheon.api.strict_json import LongText, OneLine, PlainText, RequestModel, strict_router
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.agents import Agent, AgentFields, Tool
from pantheon.workspace.change_agent import change_agent
from pantheon.workspace.create_agent import create_agent
from pantheon.workspace.delete import delete_agent
from pantheon.workspace.restore import restore_agent
from pantheon.workspace.view_agents import list_agents, view_agent

router = strict_router("agents")

Worker = Annotated[Caller, Depends(caller_with(Scope.WORKSPACE))]

AgentKey = Annotated[PlainText, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="How people call it: @key.")]
Name = Annotated[OneLine, Field(max_length=120)]
ModelAlias = Annotated[PlainText, Field(min_length=1, max_length=64, description="A model of `/admin/pricing`.")]
RolePrompt = Annotated[LongText, Field(max_length=50_000, description="What the agent is told to be.")]
Tools = Annotated[list[Tool], Field(max_length=16), AfterValidator(lambda tools: list(dict.fromkeys(tools)))]


class NewAgent(RequestModel):
    agent_key: AgentKey
    name: Name
    model_alias: ModelAlias
    role_prompt: RolePrompt = ""
    tool_permissions: Tools = Field(default_factory=list)

    @property
    def fields(self) -> AgentFields:
        return cast(AgentFields, self.model_dump())


class AgentChanges(RequestModel):
    agent_key: AgentKey = ""
    name: Name = ""
    model_alias: ModelAlias = ""
    role_prompt: RolePrompt = ""
    tool_permissions: Tools = Field(default_factory=list)
    version: int | None = Field(None, description="The version that you read. 409 when it is no longer the present.")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.fields:
            raise ValueError("give at least one field to change")
        return self

    @property
    def fields(self) -> AgentFields:
        return cast(AgentFields, self.model_dump(exclude_unset=True, exclude={"version"}))


class AgentAnswer(BaseModel):
    id: UUID
    owner_user_id: UUID
    agent_key: str
    name: str
    model_alias: str
    role_prompt: str
    tool_permissions: list[Tool]
    version: int
    created_at: datetime
    updated_at: datetime


class AgentsAnswer(BaseModel):
    agents: list[AgentAnswer]
    total: int


def shown(agent: Agent) -> AgentAnswer:
    fields: dict[str, Any] = vars(agent)
    return AgentAnswer(**fields, owner_user_id=agent.user_id)


@router.post("/agents", status_code=201)
async def post_agent(body: NewAgent, runtime: WithRuntime, caller: Worker) -> AgentAnswer:
    return shown(await create_agent(runtime.database, user_id=caller.user_id, fields=body.fields))


@router.get("/agents")
async def get_agents(runtime: WithRuntime, caller: Worker, page: WithPage, deleted: Deleted = False) -> AgentsAnswer:
    """Newest first."""
    listed, total = await list_agents(
        runtime.database, user_id=caller.user_id, deleted=deleted, limit=page.limit, offset=page.offset
    )
    return AgentsAnswer(agents=[shown(agent) for agent in listed], total=total)


@router.get("/agents/{agent_id}")
async def get_agent(agent_id: UUID, runtime: WithRuntime, caller: Worker) -> AgentAnswer:
    return shown(await view_agent(runtime.database, user_id=caller.user_id, agent_id=agent_id))


@router.patch("/agents/{agent_id}")
async def patch_agent(agent_id: UUID, body: AgentChanges, runtime: WithRuntime, caller: Worker) -> AgentAnswer:
    """Makes a new version. Turns that run already go on with the one they began with."""
    agent = await change_agent(
        runtime.database, user_id=caller.user_id, agent_id=agent_id, changes=body.fields, based_on=body.version
    )
    return shown(agent)


@router.delete("/agents/{agent_id}", status_code=204)
async def remove_agent(agent_id: UUID, runtime: WithRuntime, caller: Worker) -> None:
    """Its key is free again at once."""
    await delete_agent(runtime.database, user_id=caller.user_id, agent_id=agent_id)


@router.post("/agents/{agent_id}/restore")
async def post_restore_agent(agent_id: UUID, runtime: WithRuntime, caller: Worker) -> AgentAnswer:
    """Within 7 days of its deletion."""
    return shown(await restore_agent(runtime.database, user_id=caller.user_id, agent_id=agent_id))
