"""One turn at work. It does not depend on whoever asked for it: they may leave, come back, or stop it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic_ai import AgentRunResultEvent
from pydantic_ai.exceptions import AgentRunError, UsageLimitExceeded, UserError
from pydantic_ai.messages import FunctionToolCallEvent, FunctionToolResultEvent, ToolReturnPart
from pydantic_ai.usage import UsageLimits

from pantheon import clock, failpoints, ids
from pantheon.db.engine import Database
from pantheon.errors import PantheonError, ProviderUnavailableError, TurnInterruptedError, TurnTooLongError
from pantheon.models.tokens import most_text_tokens
from pantheon.money.amounts import format_credits
from pantheon.money.rate_card import most
from pantheon.settings import Settings
from pantheon.turns.meter import Meter
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.metered_model import MeteredModel
from pantheon.turns.spender import Spender
from pantheon.workspace.agent_builds import (
    MANAGER_PROMPT,
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
from pantheon.workspace.step import Step, bill, storable
from pantheon.workspace.storage import Storage
from pantheon.workspace.store_message import store_message
from pantheon.workspace.summarise import summarise
from pantheon.workspace.tools import ToolContext
from pantheon.workspace.turn import Member, OpenTurn
from pantheon.workspace.turn_events import TakenOverError, TurnEvent, TurnEvents
from pantheon.workspace.web_search import WebSearch
from pantheon.workspace.when_back import when_back

_MOST_REQUESTS = 12
"""That one agent may make to its model for one message, tool calls and all."""
_SHOWN_OF_TOOL = 2000
_SETTLED_SECONDS = 5
_FOR_PROMPTS = 1000
"""Tokens kept free for what the framework and the tools add."""

_logger = structlog.get_logger(__name__)


_EndedBy = Literal["stop", "time", "shutdown"]


class _EndedError(Exception):
    """The whole turn is over: whoever still speaks stops."""


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
        self._saying = asyncio.Lock()
        self._position = 0
        self._steps: list[Step] = []
        self._spoke_last: Step | None = None
        self._summaries: list[MeteredCall] = []
        self._summarising: asyncio.Task[Summary] | None = None
        self._recording: set[asyncio.Task[None]] = set()
        self._said: list[Said] = []
        self._summary: Summary | None = None
        self._ended_by: _EndedBy | None = None

    def stop(self, agent_key: str | None = None) -> None:
        """One agent that speaks, or all and with that the turn. What was said stays, and is paid for."""
        self._end("stop" if agent_key is None else None, agent_key)

    def interrupt(self) -> None:
        """The same because this process ends; the turn has failed then."""
        self._end("shutdown")

    def _end(self, by: _EndedBy | None, agent_key: str | None = None) -> None:
        self._ended_by = self._ended_by or by
        for step in self._steps:
            if step.listening is not None and (agent_key is None or step.is_of(agent_key)):
                step.listening.cancel()
        if self._summarising is not None and agent_key is None:
            self._summarising.cancel()

    async def run(self) -> None:
        left = (self.turn.ends_at - clock.now()).total_seconds()
        deadline = asyncio.get_running_loop().call_later(max(0, left), self._end, "time")
        output: str = ""
        failure: PantheonError | None = None
        try:
            await self._say("turn_started", turn_id=str(self.turn.id), mode=self.turn.mode, roster=self._shown_roster())
            self._summary, self._said = await when_back(self._said_before)
            self._hear_also(None, None, self.turn.user_input)
            output = await (orchestrate(self) if self.turn.mode == "orchestrator" else everybody_once(self))
        except _EndedError:
            failure = {"time": TurnTooLongError(), "shutdown": TurnInterruptedError()}.get(self._ended_by or "")
        except PantheonError as error:
            failure = error
        except TakenOverError:
            _logger.warning("turn_taken_over", turn_id=str(self.turn.id))
        except UsageLimitExceeded:
            failure = TurnTooLongError(
                f"An agent asked its model {_MOST_REQUESTS} times and had no answer yet, so the turn was ended."
            )
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
            task = storable(task)
            self._hear_also(None, None, f"[Task for {member.name}] {task}")
        goal = self._goal()
        told = await self._told_to(member, member.agent_id, f"{member.role_prompt}{goal or ''}")
        step = self._begin(member, is_manager=False)
        run = build(member).run_stream_events(
            told.prompt,
            message_history=told.history,
            model=step.model,
            deps=self._tools,
            instructions=goal,
            model_settings=settings_of(member),
            usage_limits=UsageLimits(request_limit=_MOST_REQUESTS),
        )
        most = self._most(member, told, calls_tools=bool(member.tool_permissions))
        await self._hear(step, run, at_most=most, task=task)
        return step.text

    async def manage(self, ask: Ask) -> str:
        first = self.roster[0]
        team = "\n".join(f"- {member.agent_key}: {member.name}. {member.role_prompt[:300]}" for member in self.roster)
        instructions = f"Your team:\n{team}\n{self._goal() or ''}"
        told = await self._told_to(first, self.turn.id, MANAGER_PROMPT + instructions)
        step = self._begin(first, is_manager=True)
        run = build_manager().run_stream_events(
            told.prompt,
            message_history=told.history,
            model=step.model,
            deps=ManagerContext(ask),
            instructions=instructions,
            model_settings=settings_of(first),
            usage_limits=UsageLimits(request_limit=_MOST_REQUESTS),
        )
        await self._hear(step, run, at_most=self._most(first, told, calls_tools=True))
        return step.answer

    def used_a_tool(self) -> bool:
        return self._steps[-1].used_a_tool

    def _hear_also(self, agent_id: UUID | None, name: str | None, text: str) -> None:
        self._said.append(Said(self.turn.turn_index, agent_id, name, text))

    async def _said_before(self) -> tuple[Summary | None, list[Said]]:
        async with self._database.transaction() as tx:
            return await said_before(tx, self.turn.session_id, self.turn.turn_index)

    async def _told_to(self, member: Member, agent_id: UUID, instructions: str) -> Told:
        budget = member.context_tokens - most_output(member) - most_text_tokens(instructions) - _FOR_PROMPTS
        told = told_to(agent_id, self._said, tokens=budget, summary=self._summary)
        earlier = [each for each in told.left_out if each.turn_index < self.turn.turn_index]
        if not earlier:
            return told
        # Up to the end of a turn, so that the next one begins with a person's word.
        last = earlier[-1].turn_index
        await self._summarise(member, [each for each in self._said if each.turn_index <= last], tokens=budget)
        self._said = [each for each in self._said if each.turn_index > last]
        return told_to(agent_id, self._said, tokens=budget, summary=self._summary)

    async def _summarise(self, member: Member, earlier: Sequence[Said], *, tokens: int) -> None:
        if self._ended_by is not None:
            raise _EndedError
        model = self._model(member, agent_id=None)
        self._summarising = asyncio.create_task(
            summarise(
                self._database,
                model,
                session_id=self.turn.session_id,
                before=self._summary,
                left_out=earlier,
                tokens=tokens,
            )
        )
        try:
            self._summary = await self._summarising
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            raise _EndedError from None
        finally:
            self._summaries += model.calls
        await self._say("context_summarised", through_turn_index=self._summary.through_turn_index, **bill(model.calls))

    def _most(self, member: Member, told: Told, *, calls_tools: bool) -> int:
        """Nanocredits that an agent can spend on what it says: what its calls can come to, within what is left."""
        calls, read = 1, told.tokens + most_text_tokens(member.role_prompt + (self._goal() or "")) + _FOR_PROMPTS
        if calls_tools:
            calls, read = _MOST_REQUESTS, member.context_tokens
        of_calls = calls * most(
            member.rate, input_tokens=min(read, member.context_tokens), max_output_tokens=most_output(member)
        )
        if self.turn.run is None:
            return of_calls
        spent = sum(call.settlement.charged for call in self._calls() if call.settlement is not None)
        return min(of_calls, max(0, self._settings.turn_cap_nanocredits - spent))

    def _calls(self) -> list[MeteredCall]:
        return [*self._summaries, *(call for step in self._steps for call in step.model.calls)]

    def _begin(self, member: Member, *, is_manager: bool) -> Step:
        model = self._model(member, agent_id=None if is_manager else member.agent_id)
        step = Step(len(self._steps) + 1, ids.uuid7(), member, is_manager, model)
        self._steps.append(step)
        return step

    def _model(self, member: Member, *, agent_id: UUID | None) -> MeteredModel:
        spender = Spender(
            user_id=self.turn.user_id,
            api_key_id=self.turn.api_key_id,
            agent_id=agent_id,
            room_id=self.turn.room_id,
            turn_id=self.turn.id,
        )
        return MeteredModel(self._meter, spender, member.model_alias, run=self.turn.run)

    async def _hear(self, step: Step, run: Any, *, at_most: int, task: str | None = None) -> None:
        if self._ended_by is not None:
            raise _EndedError
        step.listening = asyncio.create_task(self._listen(step, run, at_most=at_most, task=task))
        try:
            await step.listening
        except asyncio.CancelledError:
            step.state = "stopped"
            if _is_being_cancelled():
                await self._recorded(step)
                raise
        except Exception as error:
            step.state = "stopped" if isinstance(error, _EndedError) else "failed"
            await self._recorded(step)
            raise
        await self._recorded(step)
        if self._ended_by is not None:
            raise _EndedError

    async def _listen(self, step: Step, run: Any, *, at_most: int, task: str | None) -> None:
        told = {"model_alias": step.member.model_alias, "most": format_credits(at_most)}
        told |= {} if task is None else {"task": task[:_SHOWN_OF_TOOL]}
        await self._say("step_started", step=step.number, message_id=str(step.message_id), **step.who, **told)
        async with run as heard:
            async for event in heard:
                await self._tell(step, event)

    async def _tell(self, step: Step, event: Any) -> None:
        if text := step.hear(event):
            self._spoke_last = step
            await self._say("step_delta", step=step.number, text=text)
        elif isinstance(event, FunctionToolCallEvent) and not step.is_manager:
            arguments = storable(event.part.args_as_json_str())[:_SHOWN_OF_TOOL]
            await self._say("tool_called", step=step.number, tool=event.part.tool_name, arguments=arguments)
        elif isinstance(event, FunctionToolResultEvent) and not step.is_manager:
            step.used_a_tool |= isinstance(event.part, ToolReturnPart)
            shown = storable(str(event.part.content))[:_SHOWN_OF_TOOL]
            await self._say("tool_returned", step=step.number, tool=event.part.tool_name, text=shown)
        elif isinstance(event, AgentRunResultEvent):
            step.answer = storable(str(event.result.output))

    async def _recorded(self, step: Step) -> None:
        """Also where this task is being cancelled: what was said is never lost."""
        recording = asyncio.create_task(self._record(step))
        self._recording.add(recording)
        await asyncio.shield(recording)

    async def _record(self, step: Step) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED_SECONDS):
                for call in step.model.calls:
                    await call.ended.wait()
        if step.text:
            agent_id = self.turn.id if step.is_manager else step.member.agent_id
            self._hear_also(agent_id, step.name, step.text)
            self._position += 1
            await store_message(
                self._database,
                self.turn,
                id=step.message_id,
                position=self._position,
                agent_id=None if step.is_manager else step.member.agent_id,
                agent_name=step.name,
                content=step.text,
                state=step.state,
            )
            failpoints.reach("turn.message_stored")
        await self._say(
            "step_completed",
            step=step.number,
            **step.who,
            state=step.state,
            content=step.text,
            **bill(step.model.calls),
        )

    async def _finish(self, output: str, failure: PantheonError | None) -> None:
        await asyncio.gather(*self._recording, return_exceptions=True)
        if self.turn.run is not None:
            await self._meter.close_run(self.turn.run)
        ending = Ending(
            status="failed" if failure else "stopped" if self._ended_by else "completed",
            failure=failure,
            output=output or (self._spoke_last.text if self._spoke_last else ""),
            bill=bill(self._calls()),
            seq=self._seq + 1,
        )
        await end_turn(self._database, self._settings, self._events, self.turn, ending)

    async def _say(self, event: str, **data: Any) -> None:
        # Nobody may be shown an event before the one before it is there, whoever waits for the database meanwhile.
        async with self._saying:
            self._seq += 1
            await self._events.append(TurnEvent(self.turn.id, self._seq, event, data))

    def _goal(self) -> str | None:
        return f"The goal of this room: {self.turn.goal}" if self.turn.goal else None

    def _shown_roster(self) -> list[dict[str, Any]]:
        return [{"agent_id": str(m.agent_id), "agent_key": m.agent_key, "name": m.name} for m in self.roster]


def _is_being_cancelled() -> bool:
    """Whether this very task is, and not only the one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
