"""An agent, or a room of them, as a model: `agent/KEY` or `room/ID` answers a chat completion with a turn.

The turn has a session of its own, which nobody sees and which is gone when it ends: whoever calls a model sends the
conversation each time.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pantheon import clock, exact_json
from pantheon.api.event_stream import EventStream, told_when_gone
from pantheon.api.gateway.chat_request import Asked
from pantheon.api.gateway.errors import error_of
from pantheon.api.problems import error_named, problem_of
from pantheon.errors import CallerError, PantheonError
from pantheon.exact_json import NumberLiteral
from pantheon.models.provider import Json
from pantheon.runtime import Runtime
from pantheon.workspace.delete import delete_session
from pantheon.workspace.forget_session import forget_session
from pantheon.workspace.sessions import Place
from pantheon.workspace.start_session import start_session

_HEARD = {"model", "messages", "stream"}
_TUNING = {
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "parallel_tool_calls",
}
"""Chat clients send some of it whatever the model. It is ignored, since agents have settings of their own."""
_AS_USUAL: dict[str, list[Any]] = {
    "response_format": [{"type": "text"}],
    "tool_choice": ["none", "auto"],
    "logprobs": [False],
}
"""Anything else would shape the answer, and whoever asks for that relies on it."""

_OF_THE_TURN = {"code", "detail", "status", "content", "usage", "balance_after", "low_balance"}
"""In a turn's last event, beside what belongs to its error."""


class AgentAnswer(Response):
    """Streamed or whole. Whoever hangs up stops the turn, as with any model."""

    def __init__(self, runtime: Runtime, place: Place, session_id: UUID, turn_id: UUID, asked: Asked) -> None:
        super().__init__()
        self._runtime = runtime
        self._in_room = place.room_id is not None
        self._session_id = session_id
        self._turn_id = turn_id
        self._model = asked.body["model"]
        self._streams = asked.streams
        self._wants_usage = asked.wants_usage
        self._created = int(clock.now().timestamp())
        self._end: Json = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"X-Pantheon-Turn": str(self._turn_id)}
        stream = EventStream(send, headers)
        try:
            async with told_when_gone(receive, self._leave), aclosing(self._texts()) as texts:
                if self._streams:
                    await self._send_all(stream, texts)
                else:
                    text = "".join([text async for text in texts])
                    headers["Cache-Control"] = "no-store"
                    answer = Response(self._whole(text), media_type="application/json", headers=headers)
                    await answer(scope, receive, send)
        except PantheonError as error:
            if stream.started:
                await stream.send(_event(error_of(error)))
                await stream.end()
            else:
                await self._refusal(error)(scope, receive, send)
        finally:
            # What is still under way is needed until it ends; then it is found by the purge.
            if self._end:
                with suppress(PantheonError):
                    await forget_session(self._runtime.database, self._session_id)

    def _leave(self) -> None:
        self._runtime.turns.stop_here(self._turn_id)

    async def _texts(self) -> AsyncGenerator[str]:
        """What is said, as it is said. In a room all words begin with the name of whose they are."""
        names: dict[int, str] = {}
        last_heard, said = None, False
        async for event in self._runtime.turns.events.follow(self._turn_id):
            if event is None:
                continue
            if event.is_last:
                self._end = event.data
            elif event.event == "step_started":
                names[event.data["step"]] = event.data["name"]
            elif event.event == "step_delta":
                # Not with each step that starts: a manager goes on in its own once somebody else has spoken.
                step, text = event.data["step"], event.data["text"]
                if step != last_heard:
                    text = "\n\n" * said + f"[{names[step]}] " * self._in_room + text.lstrip("\n")
                last_heard, said = step, True
                yield text
        if self._end.get("code"):
            raise _failure(self._end)

    async def _send_all(self, stream: EventStream, texts: AsyncGenerator[str]) -> None:
        # Only once: clients put together what the chunks say.
        first = {"role": "assistant"}
        async with stream.kept_alive():
            async for text in texts:
                await stream.send(_event(self._chunk(first | {"content": text})))
                first = {}
            last = [self._chunk(first, "stop") | {"pantheon": self._pantheon | {"usage": self._usage}}]
            if self._wants_usage:
                last.append(self._frame("chat.completion.chunk") | {"choices": [], "usage": self._usage})
            await stream.send("".join(map(_event, last)) + "data: [DONE]\n\n")
        await stream.end()

    def _refusal(self, error: PantheonError) -> Response:
        answer = problem_of(error)
        if self._end.get("receipt_ids"):
            # OpenAI's libraries send again what failed, unless they are told not to. Each time would be paid.
            answer.headers["X-Should-Retry"] = "false"
        return answer

    def _whole(self, text: str) -> str:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": self._usage, "pantheon": self._pantheon}
        return exact_json.dumps(self._frame("chat.completion") | answer)

    def _chunk(self, delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._frame("chat.completion.chunk") | {"choices": [choice]}

    def _frame(self, kind: str) -> Json:
        return {"id": f"chatcmpl-{self._turn_id.hex}", "object": kind, "created": self._created, "model": self._model}

    @property
    def _usage(self) -> Json:
        usage = self._end["usage"]
        read, written = usage["input_tokens"], usage["output_tokens"]
        cost = NumberLiteral(self._end["credits"])
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written, "cost": cost}

    @property
    def _pantheon(self) -> Json:
        return {"turn_id": str(self._turn_id), "receipt_ids": self._end["receipt_ids"]}


async def answer_with_agents(
    runtime: Runtime, *, user_id: UUID, api_key_id: UUID | None, place: Place, asked: Asked
) -> AgentAnswer:
    """Raises what starting a turn raises, and CallerError for what agents decide for themselves."""
    for name, value in asked.body.items():
        if name not in _HEARD | _TUNING and value not in _AS_USUAL.get(name, ()):
            raise CallerError(f"An agent decides {name} for itself. Leave it out.", param=name)
    context, message = _told(asked.body["messages"])
    session = await start_session(runtime.database, user_id=user_id, place=place)
    try:
        turn_id, _ = await runtime.turns.start(
            user_id=user_id, api_key_id=api_key_id, session_id=session.id, message=message, context=context
        )
    finally:
        # From now on it is seen by nobody, even if this process dies before it has forgotten it.
        with suppress(PantheonError):
            await delete_session(runtime.database, user_id=user_id, place=place, session_id=session.id)
    return AgentAnswer(runtime, place, session.id, turn_id, asked)


def _told(messages: list[Json]) -> tuple[str, str]:
    """What was said before, and the last word, which is a user's and calls whom it tags."""
    if messages[-1]["role"] != "user":
        raise CallerError("The last message must be a user's.", param="messages")
    *before, (_, last) = [(message["role"], _text(message.get("content"))) for message in messages]
    if not last.strip():
        raise CallerError("The last message is empty.", param="messages")
    return "\n\n".join([f"[{role}] {text}" for role, text in before if text]), last


def _text(content: Any) -> str:
    if isinstance(content, list):
        if any(part["type"] == "image_url" for part in content):
            raise CallerError("Agents read text only.", param="messages")
        content = "\n".join(part.get("text", "") for part in content)
    if "\0" in (content or ""):
        raise CallerError("messages must not contain the character NUL.", param="messages")
    return content or ""


def _failure(end: Json) -> PantheonError:
    extras = {name: value for name, value in end.items() if name not in _OF_THE_TURN}
    return error_named(end["code"])(end["detail"], **extras)


def _event(value: Json) -> str:
    return f"data: {exact_json.dumps(value)}\n\n"
