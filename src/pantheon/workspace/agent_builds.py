"""Agents as the framework runs them. Each is built once for a version of an agent, and not for each turn."""

from dataclasses import dataclass
from functools import lru_cache

from pydantic_ai import Agent, RunContext, Tool
from pydantic_ai.settings import ModelSettings

from pantheon.workspace.modes import Ask
from pantheon.workspace.tools import ToolContext, tools_of
from pantheon.workspace.turn import MOST_OUTPUT, Member

MANAGER_PROMPT = """\
You lead a team of agents that answers a person. First say in a sentence or two how you will go about it. Then ask
agents with ask_agent, giving each a task that it can do with what you tell it: it hears the conversation, but not your
thoughts. Judge what they answer, and ask again only where something is missing. In the end write the answer for the
person, in full: they should not have to read what the agents wrote."""


@dataclass(frozen=True)
class ManagerContext:
    ask: Ask


@lru_cache(maxsize=1024)
def build(member: Member) -> Agent[ToolContext, str]:
    return Agent(deps_type=ToolContext, instructions=member.role_prompt or None, tools=tools_of(member))


@lru_cache(maxsize=1)
def build_manager() -> Agent[ManagerContext, str]:
    async def ask_agent(context: RunContext[ManagerContext], agent_key: str, task: str) -> str:
        """Ask one agent of the team and get its answer.

        Args:
            agent_key: The agent's key, without @.
            task: What the agent is to do, in full sentences.
        """
        return await context.deps.ask(agent_key, task)

    # One after the other, also where a model calls several at once: each hears those before.
    return Agent(
        deps_type=ManagerContext, instructions=MANAGER_PROMPT, tools=[Tool(ask_agent, takes_ctx=True, sequential=True)]
    )


def most_output(member: Member) -> int:
    """Tokens that the agent may say in one message."""
    return min(MOST_OUTPUT, member.max_output_tokens)


def settings_of(member: Member) -> ModelSettings:
    return ModelSettings(max_tokens=most_output(member), parallel_tool_calls=False)
