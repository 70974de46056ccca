"""A model for agents, which spends: pydantic-ai's own model of OpenAI's API, with the meter in place of a network.

Whatever an agent does with it, a summary or a loop of tool calls too, is admitted, set aside and settled call by call.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from openai import AsyncOpenAI
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from pantheon import exact_json
from pantheon.errors import PantheonError, ProviderUnavailableError
from pantheon.money.rate_card import Usage
from pantheon.turns.admit_call import Run
from pantheon.turns.meter import Meter
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.spender import Spender


class MeteredModel(WrapperModel):
    """Of one spender, in `run` where one is given. `calls` are those that were made with it, in their order.

    Raises what `Meter.start` and the providers raise, and not pydantic-ai's errors about an API.
    """

    def __init__(self, meter: Meter, spender: Spender, model_alias: str, *, run: Run | None = None) -> None:
        self.calls: list[MeteredCall] = []
        transport = _Transport(meter, spender, run, self.calls)
        client = AsyncOpenAI(
            base_url="http://meter.invalid",
            api_key="none",
            # What may be tried again, the meter's provider tries again, within one call.
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None),
        )
        super().__init__(OpenAIChatModel(model_alias, provider=OpenAIProvider(openai_client=client)))

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        with _own_errors():
            return await super().request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        with _own_errors():
            async with super().request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as response:
                yield response


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, meter: Meter, spender: Spender, run: Run | None, calls: list[MeteredCall]) -> None:
        self._meter = meter
        self._spender = spender
        self._run = run
        self._calls = calls

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = exact_json.loads(await request.aread())
        call = await self._meter.start(self._spender, body, run=self._run)
        self._calls.append(call)
        if body.get("stream"):
            headers = {"content-type": "text/event-stream"}
            return httpx2.Response(200, headers=headers, stream=_Events(call), request=request)
        # It is settled when there is no more to come.
        answers = [chunk async for chunk in call.chunks()]
        if not answers:
            raise ProviderUnavailableError
        [answer] = answers
        content = exact_json.dumps(answer | {"usage": usage_of(call)}).encode()
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=content, request=request)


class _Events(httpx2.AsyncByteStream):
    def __init__(self, call: MeteredCall) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        frame: dict[str, Any] = {}
        async for chunk in self._call.chunks():
            frame = chunk
            yield _event(chunk)
        yield _event(frame | {"choices": [], "usage": usage_of(self._call)})
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        self._call.leave()


def usage_of(call: MeteredCall) -> dict[str, Any]:
    """What was used, in OpenAI's words."""
    usage = call.settlement.usage if call.settlement else Usage()
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {exact_json.dumps(chunk)}\n\n".encode()


@contextmanager
def _own_errors() -> Iterator[None]:
    """The SDK takes what the meter raises for a broken network; the error itself says more."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, PantheonError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
