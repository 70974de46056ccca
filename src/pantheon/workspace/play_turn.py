"""One turn at work. It does not depend on whoever asked for it: they may leave, come back, or stop it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic_ai import AgentRunResultEvent
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.usage import UsageLimits

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.errors import PantheonError, ProviderUnavailableError, TurnTooLongError
from pantheon.models.tokens import most_text_tokens
from pantheon.money.amounts import format_credits
from pantheon.settings import Settings
from pantheon.turns.meter import Meter
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.metered_model import MeteredModel
from pantheon.turns.spender import Spender
from pantheon.workspace.agent_builds import (
    ManagerContext,
    build,
    build_manager,
    most_output,
    settings_of,
)
from pantheon.workspace.conversation import Told, told_to
from pantheon.workspace.end_turn import Ending, end_turn
from pantheon.workspace.modes import Ask, everybody_once, orchestrate
from pantheon.workspace.said import Said, Summary, said_before
from pantheon.workspace.storage import Storage
from pantheon.workspace.store_message import store_message
from pantheon.workspace.summarise import summarise
from pantheon.workspace.tools import ToolContext
from pantheon.workspace.transcript import MessageState
from pantheon.workspace.turn import Member, OpenTurn
from pantheon.workspace.turn_events import TurnEvent, TurnEvents
from pantheon.workspace.web_search import WebSearch

_MOST_REQUESTS = 12
"""That one agent may make to its model for one message, tool calls and all."""
_SHOWN_OF_TOOL = 2000
_SETTLED_SECONDS = 5
_FOR_PROMPTS = 1000
"""Tokens kept free for what the framework and the tools add."""

_logger = structlog.get_logger(__name__)


class _EndedError(Exception):
    """The whole turn is over: whoever still speaks stops."""


@dataclass
class _Step:
    number: int
    member: Member
    is_manager: bool
    model: MeteredModel
    text: str = ""
    state: MessageState = "completed"
    used_a_tool: bool = False
    listening: "asyncio.Task[None] | None" = field(default=None, repr=False)


class TurnPlay:
    """`run` it once; `stop` it at any time."""

    def __init__(
        self,
        turn: OpenTurn,
        *,
        settings: Settings,
        database: Database,
        meter: Meter,
        events: TurnEvents,
        storage: Storage | None,
        search: WebSearch | None,
    ) -> None:
        self.turn = turn
        self.roster: Sequence[Member] = turn.roster
        self._settings = settings
        self._database = database
        self._meter = meter
        self._events = events
        self._tools = ToolContext(turn.user_id, turn.room_id, database, storage, search)
        self._seq = 0
        self._position = 0
        self._steps: list[_Step] = []
        self._summaries: list[MeteredCall] = []
        self._recording: set[asyncio.Task[None]] = set()
        self._said: list[Said] = []
        self._summary: Summary | None = None
        self._ended_by: Literal["stop", "time", None] = None

    def stop(self, agent_key: str | None = None) -> None:
        """One agent that speaks, or all and with that the turn. What was said stays, and is paid for."""
        self._end("stop" if agent_key is None else None, agent_key)

    def _end(self, by: Literal["stop", "time", None], agent_key: str | None = None) -> None:
        self._ended_by = self._ended_by or by
        for step in self._steps:
            is_meant = agent_key is None or step.member.agent_key.lower() == agent_key.lower()
            if is_meant and step.listening is not None and not step.listening.done():
                step.listening.cancel()

    async def run(self) -> None:
        left = (self.turn.ends_at - clock.now()).total_seconds()
        deadline = asyncio.get_running_loop().call_later(max(0, left), self._end, "time")
        output: str = ""
        failure: PantheonError | None = None
        try:
            await self._say("turn_started", turn_id=str(self.turn.id), mode=self.turn.mode, roster=self._shown_roster())
            async with self._database.transaction() as tx:
                self._summary, self._said = await said_before(tx, self.turn.session_id, self.turn.turn_index)
            self._hear_also(None, None, self.turn.user_input)
            output = await (orchestrate(self) if self.turn.mode == "orchestrator" else everybody_once(self))
        except _EndedError:
            failure = TurnTooLongError() if self._ended_by == "time" else None
        except PantheonError as error:
            failure = error
        except (AgentRunError, UserError) as error:
            _logger.warning("answer_not_understood", turn_id=str(self.turn.id), error=type(error).__name__)
            failure = ProviderUnavailableError("A model answered in a way that cannot be used. Please try again.")
        except Exception as error:
            _logger.error("turn_broke", turn_id=str(self.turn.id), exc_info=error)
            failure = PantheonError()
        finally:
            deadline.cancel()
        await self._finish(output, failure)

    async def speak(self, member: Member, task: str | None = None) -> str:
        """Raises the error of a model that cannot be asked; one that breaks off leaves what it said."""
        if task is not None:
            self._hear_also(None, None, f"[Task for {member.name}] {task}")
        told = await self._told_to(member, member.agent_id)
        step = self._begin(member, is_manager=False)
        run = build(member).run_stream_events(
            told.prompt,
            message_history=told.history,
            model=step.model,
            deps=self._tools,
            instructions=self._goal(),
            model_settings=settings_of(member),
            usage_limits=UsageLimits(request_limit=_MOST_REQUESTS),
        )
        return await self._hear(step, run)

    async def manage(self, ask: Ask) -> str:
        first = self.roster[0]
        told = await self._told_to(first, self.turn.id)
        team = "\n".join(f"- {member.agent_key}: {member.name}. {member.role_prompt[:300]}" for member in self.roster)
        step = self._begin(first, is_manager=True)
        run = build_manager().run_stream_events(
            told.prompt,
            message_history=told.history,
            model=step.model,
            deps=ManagerContext(ask),
            instructions=f"Your team:\n{team}\n{self._goal() or ''}",
            model_settings=settings_of(first),
            usage_limits=UsageLimits(request_limit=_MOST_REQUESTS),
        )
        return await self._hear(step, run)

    def used_a_tool(self) -> bool:
        return self._steps[-1].used_a_tool

    def _hear_also(self, agent_id: UUID | None, name: str | None, text: str) -> None:
        self._said.append(Said(self.turn.turn_index, agent_id, name, text))

    async def _told_to(self, member: Member, agent_id: UUID) -> Told:
        budget = member.context_tokens - most_output(member) - most_text_tokens(member.role_prompt) - _FOR_PROMPTS
        told = told_to(agent_id, self._said, tokens=budget, summary=self._summary)
        earlier = [each for each in told.left_out if each.turn_index < self.turn.turn_index]
        if not earlier:
            return told
        # Up to the end of a turn, so that the next one begins with a person's word.
        last = earlier[-1].turn_index
        earlier = [each for each in self._said if each.turn_index <= last]
        await self._summarise(member, earlier, most_characters=budget)
        self._said = [each for each in self._said if each.turn_index > last]
        return told_to(agent_id, self._said, tokens=budget, summary=self._summary)

    async def _summarise(self, member: Member, earlier: Sequence[Said], *, most_characters: int) -> None:
        spender = Spender(
            user_id=self.turn.user_id,
            api_key_id=self.turn.api_key_id,
            room_id=self.turn.room_id,
            turn_id=self.turn.id,
        )
        model = MeteredModel(self._meter, spender, member.model_alias, run=self.turn.run)
        self._summary = await summarise(
            self._database,
            model,
            session_id=self.turn.session_id,
            before=self._summary,
            left_out=earlier,
            most_characters=most_characters,
        )
        self._summaries += model.calls
        await self._say("context_summarised", through_turn_index=self._summary.through_turn_index, **_bill(model.calls))

    def _begin(self, member: Member, *, is_manager: bool) -> _Step:
        spender = Spender(
            user_id=self.turn.user_id,
            api_key_id=self.turn.api_key_id,
            agent_id=None if is_manager else member.agent_id,
            room_id=self.turn.room_id,
            turn_id=self.turn.id,
        )
        model = MeteredModel(self._meter, spender, member.model_alias, run=self.turn.run)
        step = _Step(len(self._steps) + 1, member, is_manager, model)
        self._steps.append(step)
        return step

    async def _hear(self, step: _Step, run: Any) -> str:
        if self._ended_by is not None:
            raise _EndedError
        step.listening = asyncio.create_task(self._listen(step, run))
        try:
            await step.listening
        except asyncio.CancelledError:
            step.listening.cancel()
            step.state = "stopped"
            if self._ended_by is None and not step.listening.cancelled():
                await self._recorded(step)
                raise
        except Exception:
            step.state = "failed"
            await self._recorded(step)
            raise
        await self._recorded(step)
        if self._ended_by is not None:
            raise _EndedError
        return step.text

    async def _listen(self, step: _Step, run: Any) -> None:
        member = step.member
        await self._say(
            "step_started",
            step=step.number,
            **_who(step),
            model_alias=member.model_alias,
        )
        async with run as heard:
            async for event in heard:
                await self._tell(step, event)

    async def _tell(self, step: _Step, event: Any) -> None:
        text = _text_of(event)
        if text:
            step.text += text
            await self._say("step_delta", step=step.number, text=text)
        elif isinstance(event, FunctionToolCallEvent) and not step.is_manager:
            step.used_a_tool = True
            arguments = event.part.args_as_json_str()[:_SHOWN_OF_TOOL]
            await self._say("tool_called", step=step.number, tool=event.part.tool_name, arguments=arguments)
        elif isinstance(event, FunctionToolResultEvent) and not step.is_manager:
            shown = str(event.part.content)[:_SHOWN_OF_TOOL]
            await self._say("tool_returned", step=step.number, tool=event.part.tool_name, text=shown)
        elif isinstance(event, AgentRunResultEvent):
            # What a manager said before it asked somebody is its plan; the answer is what it says in the end.
            step.text = str(event.result.output)

    async def _recorded(self, step: _Step) -> None:
        """Also where this task is being cancelled: what was said is never lost."""
        recording = asyncio.create_task(self._record(step))
        self._recording.add(recording)
        await asyncio.shield(recording)

    async def _record(self, step: _Step) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED_SECONDS):
                for call in step.model.calls:
                    await call.ended.wait()
        if step.text:
            agent_id = self.turn.id if step.is_manager else step.member.agent_id
            self._hear_also(agent_id, _name(step), step.text)
            self._position += 1
            await store_message(
                self._database,
                self.turn,
                position=self._position,
                agent_id=None if step.is_manager else step.member.agent_id,
                agent_name=_name(step),
                content=step.text,
                state=step.state,
            )
        await self._say(
            "step_completed",
            step=step.number,
            **_who(step),
            state=step.state,
            content=step.text,
            **_bill(step.model.calls),
        )

    async def _finish(self, output: str, failure: PantheonError | None) -> None:
        await asyncio.gather(*self._recording, return_exceptions=True)
        if self.turn.run is not None:
            await self._meter.close_run(self.turn.run)
        said = [step.text for step in self._steps if step.text]
        ending = Ending(
            status="failed" if failure else "stopped" if self._ended_by else "completed",
            failure=failure,
            output=output or (said[-1] if said else ""),
            bill=_bill([*self._summaries, *(call for step in self._steps for call in step.model.calls)]),
            seq=self._seq + 1,
        )
        await end_turn(self._database, self._settings, self._events, self.turn, ending)

    async def _say(self, event: str, **data: Any) -> None:
        self._seq += 1
        await self._events.append(TurnEvent(self.turn.id, self._seq, event, data))

    def _goal(self) -> str | None:
        return f"The goal of this room: {self.turn.goal}" if self.turn.goal else None

    def _shown_roster(self) -> list[dict[str, Any]]:
        return [{"agent_id": str(m.agent_id), "agent_key": m.agent_key, "name": m.name} for m in self.roster]


def _name(step: _Step) -> str:
    return "Manager" if step.is_manager else step.member.name


def _who(step: _Step) -> dict[str, Any]:
    if step.is_manager:
        return {"agent_id": None, "agent_key": None, "name": "Manager"}
    return {"agent_id": str(step.member.agent_id), "agent_key": step.member.agent_key, "name": step.member.name}


def _text_of(event: Any) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def _bill(calls: Sequence[MeteredCall]) -> dict[str, Any]:
    settled = [(call.call.id, call.settlement) for call in calls if call.settlement is not None]
    return {
        "usage": {
            "input_tokens": sum(each.usage.input for _, each in settled),
            "output_tokens": sum(each.usage.output for _, each in settled),
        },
        "credits": format_credits(sum(each.charged for _, each in settled)),
        "receipt_ids": [str(id_) for id_, _ in settled],
    }
