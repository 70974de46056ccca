"""A chat completion as a stream of events: each chunk leaves when it comes, and the last one says what it cost."""

from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pantheon import exact_json
from pantheon.api.event_stream import EventStream, told_when_gone
from pantheon.api.gateway.chat_answer import ChatAnswer
from pantheon.api.gateway.errors import error_of
from pantheon.errors import PantheonError
from pantheon.models.provider import Json
from pantheon.turns.metered_call import MeteredCall

_DONE = "data: [DONE]\n\n"


class ChatStream(Response):
    def __init__(self, call: MeteredCall, *, wants_usage: bool) -> None:
        super().__init__()
        self._call = call
        self._wants_usage = wants_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = ChatAnswer(self._call)
        stream = EventStream(send, answer.headers)
        try:
            async with told_when_gone(receive, self._call.leave), stream.kept_alive():
                await self._send_all(stream, answer)
        except PantheonError as error:
            if not stream.started:
                raise
            await stream.send(_event(error_of(error, receipt_id=str(self._call.call.id))))
        finally:
            self._call.leave()
        await stream.end()

    async def _send_all(self, stream: EventStream, answer: ChatAnswer) -> None:
        held: list[Json] = []
        async with aclosing(self._call.chunks()) as chunks:
            async for told in chunks:
                chunk = answer.chunk(told)
                if answer.is_finished:
                    # Whoever has the last chunk has the cost as well, and that is known when the call is settled.
                    held.append(chunk)
                else:
                    await stream.send(_event(chunk))
        *others, last = held or [answer.finish_chunk]
        usage = [answer.usage_chunk] if self._wants_usage else []
        await stream.send("".join(map(_event, [*others, answer.settled(last), *usage])) + _DONE)


def _event(value: Json) -> str:
    return f"data: {exact_json.dumps(value)}\n\n"
