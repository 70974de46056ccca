"""An agent, or a room of them, as a model: `agent/KEY` or `room/ID` answers a chat completion with a turn.

The turn has a session of its own, which is gone when it ends: whoever calls a model sends the conversation each time.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pantheon import clock, exact_json
from pantheon.api.event_stream import EventStream, told_when_gone
from pantheon.api.gateway.chat_request import Asked
from pantheon.api.gateway.errors import error_of
from pantheon.errors import CallerError, PantheonError, ProviderUnavailableError
from pantheon.exact_json import NumberLiteral
from pantheon.models.provider import Json
from pantheon.runtime import Runtime
from pantheon.workspace.delete import delete_session
from pantheon.workspace.sessions import Place
from pantheon.workspace.start_session import start_session

_UNDERSTOOD = {"model", "messages", "stream"}


class AgentAnswer(Response):
    """Streamed or whole. Whoever hangs up stops the turn, as with any model."""

    def __init__(
        self, runtime: Runtime, user_id: UUID, place: Place, session_id: UUID, turn_id: UUID, asked: Asked
    ) -> None:
        super().__init__()
        self._runtime = runtime
        self._user_id = user_id
        self._place = place
        self._session_id = session_id
        self._turn_id = turn_id
        self._model = asked.body["model"]
        self._streams = asked.streams
        self._wants_usage = asked.wants_usage
        self._created = int(clock.now().timestamp())
        self._speaker: str | None = None
        self._end: Json = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = True

        headers = {"X-Pantheon-Turn": str(self._turn_id)}
        try:
            async with told_when_gone(receive, leave), aclosing(self._texts(lambda: gone)) as texts:
                if self._streams:
                    await self._stream(EventStream(send, headers), texts)
                else:
                    text = "".join([text async for text in texts])
                    answer = Response(self._whole(text), media_type="application/json", headers=headers)
                    await answer(scope, receive, send)
        finally:
            await delete_session(
                self._runtime.database, user_id=self._user_id, place=self._place, session_id=self._session_id
            )

    async def _texts(self, is_gone: Any) -> AsyncGenerator[str]:
        """What is said, as it is said. In a room everybody's words begin with their name."""
        async for event in self._runtime.turns.events.follow(self._turn_id):
            if is_gone():
                await self._runtime.turns.stop(user_id=self._user_id, turn_id=self._turn_id)
                return
            if event is None:
                continue
            if event.is_last:
                self._end = event.data
                if event.event == "turn_failed":
                    raise ProviderUnavailableError(event.data["detail"], turn_id=str(self._turn_id))
            elif event.event == "step_started":
                before, self._speaker = self._speaker, event.data["name"]
                if self._place.room_id is not None:
                    yield ("\n\n" if before else "") + f"[{self._speaker}] "
            elif event.event == "step_delta":
                yield event.data["text"]

    async def _stream(self, stream: EventStream, texts: AsyncGenerator[str]) -> None:
        async with stream.kept_alive():
            try:
                async for text in texts:
                    await stream.send(_event(self._chunk({"role": "assistant", "content": text})))
                last = [self._chunk({}, "stop") | {"pantheon": self._pantheon}]
                if self._wants_usage:
                    last.append(self._frame("chat.completion.chunk") | {"choices": [], "usage": self._usage})
                await stream.send("".join(map(_event, last)) + "data: [DONE]\n\n")
            except PantheonError as error:
                if not stream.started:
                    raise
                await stream.send(_event(error_of(error)))
        await stream.end()

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
        usage = self._end.get("usage", {"input_tokens": 0, "output_tokens": 0})
        read, written = usage["input_tokens"], usage["output_tokens"]
        cost = NumberLiteral(self._end.get("credits", "0"))
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written, "cost": cost}

    @property
    def _pantheon(self) -> Json:
        return {"turn_id": str(self._turn_id), "receipt_ids": self._end.get("receipt_ids", [])}


async def answer_with_agents(
    runtime: Runtime, *, user_id: UUID, api_key_id: UUID | None, place: Place, asked: Asked
) -> AgentAnswer:
    """Raises what starting a turn raises, and CallerError for what agents decide for themselves."""
    other = sorted(set(asked.body) - _UNDERSTOOD)
    if other:
        raise CallerError(f"An agent decides {other[0]} for itself. Leave it out.", param=other[0])
    message = _as_one_message(asked.body["messages"])
    session = await start_session(runtime.database, user_id=user_id, place=place)
    try:
        turn_id, _ = await runtime.turns.start(
            user_id=user_id, api_key_id=api_key_id, session_id=session.id, message=message
        )
    except PantheonError:
        await delete_session(runtime.database, user_id=user_id, place=place, session_id=session.id)
        raise
    return AgentAnswer(runtime, user_id, place, session.id, turn_id, asked)


def _as_one_message(messages: list[Json]) -> str:
    """What was said before, and then the last word, which is a user's."""
    if messages[-1]["role"] != "user":
        raise CallerError("The last message must be a user's.", param="messages")
    *before, last = [(message["role"], _text(message.get("content"))) for message in messages]
    told = [f"[{role}] {text}" for role, text in before if text]
    return "\n\n".join([*told, last[1]])


def _text(content: Any) -> str:
    if isinstance(content, list):
        if any(part["type"] == "image_url" for part in content):
            raise CallerError("Agents read text only.", param="messages")
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _event(value: Json) -> str:
    return f"data: {exact_json.dumps(value)}\n\n"
