"""OpenAI's API, as far as its clients need it to spend from a wallet: chat completions, and the models there are."""

import asyncio
from contextlib import aclosing, nullcontext
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from pantheon import exact_json
from pantheon.api.callers import caller_with
from pantheon.api.dependencies import WithIdempotencyKey, WithRuntime
from pantheon.api.event_stream import told_when_gone
from pantheon.api.gateway.agent_answer import answer_with_agents
from pantheon.api.gateway.chat_answer import ChatAnswer
from pantheon.api.gateway.chat_request import description, read_chat_request
from pantheon.api.gateway.chat_stream import ChatStream
from pantheon.db.idempotency import keyed
from pantheon.errors import CallerError, ModelNotFoundError, PantheonError, ProviderUnavailableError
from pantheon.turns.answer_once import claim_answer, forget_answer, keep_answer
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.rate_cards import Model, view_rate_card
from pantheon.turns.spender import Spender
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.find_place import find_place
from pantheon.workspace.list_places import NamedPlace, list_places

PATH = "/v1/chat/completions"

_LARGE = 256 * 1024

router = APIRouter(tags=["gateway"])

Spending = Annotated[Caller, Depends(caller_with(Scope.MODELS_CALL))]


class ModelAnswer(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "pantheon"
    name: str | None = None
    """Of an agent or a room."""
    context_length: int | None = None
    max_output_tokens: int | None = None


class ModelsAnswer(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelAnswer]


@router.post(
    PATH,
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": description()}}}},
)
async def post_chat_completion(
    request: Request, runtime: WithRuntime, caller: Spending, key: WithIdempotencyKey
) -> Response:
    """One of OpenAI's chat completions, streamed or not, paid from the caller's wallet. See docs/gateway.md."""
    raw = await request.body()
    # What is large is read aside, so that the others' streams go on meanwhile.
    asked = read_chat_request(raw) if len(raw) < _LARGE else await asyncio.to_thread(read_chat_request, raw)
    place = await find_place(runtime.database, user_id=caller.user_id, model=asked.body["model"])
    if place is not None:
        caller.require_scope(Scope.WORKSPACE)
        if key is not None:
            raise CallerError("Idempotency-Key is not for agents and rooms.", param="model")
        return await answer_with_agents(
            runtime, user_id=caller.user_id, api_key_id=caller.api_key_id, place=place, asked=asked
        )
    if key is not None and asked.streams:
        raise CallerError("Idempotency-Key is for answers that are not streamed.", param="stream")
    once = keyed(key, user_id=caller.user_id, route=f"POST {PATH}", asked=asked.body)
    kept = await claim_answer(runtime.database, once)
    if kept is not None:
        return _json(kept["body"], kept["headers"] | {"Idempotency-Replayed": "true"})
    try:
        spender = Spender(user_id=caller.user_id, api_key_id=caller.api_key_id)
        call = await runtime.meter.start(spender, asked.body)
        if asked.streams:
            return ChatStream(call, wants_usage=asked.wants_usage)
        answer = ChatAnswer(call)
        body = await _whole(call, answer, request, stays=once is not None)
    except PantheonError:
        await forget_answer(runtime.database, once)
        raise
    await keep_answer(runtime.database, once, {"body": body, "headers": answer.headers})
    return _json(body, answer.headers)


async def _whole(call: MeteredCall, answer: ChatAnswer, request: Request, *, stays: bool) -> str:
    """The answer when all of it is there. It stops when its caller hangs up, unless it is kept for another try."""
    watched = nullcontext() if stays else told_when_gone(request.receive, call.leave)
    async with watched, aclosing(call.chunks()) as chunks:
        told = [chunk async for chunk in chunks]
    if not told:
        raise ProviderUnavailableError
    return exact_json.dumps(answer.whole(told[0]))


def _json(body: str, headers: dict[str, str]) -> Response:
    return Response(body, media_type="application/json", headers=headers | {"Cache-Control": "no-store"})


@router.get("/v1/models", response_model_exclude_none=True)
async def get_models(runtime: WithRuntime, caller: Spending) -> ModelsAnswer:
    """The models that can be called here now, and the caller's agents and rooms where the key may use them."""
    return ModelsAnswer(data=await _callable(runtime, caller))


@router.get("/v1/models/{model_alias:path}", response_model_exclude_none=True)
async def get_model(model_alias: str, runtime: WithRuntime, caller: Spending) -> ModelAnswer:
    for model in await _callable(runtime, caller):
        if model.id == model_alias:
            return model
    raise ModelNotFoundError


async def _callable(runtime: WithRuntime, caller: Caller) -> list[ModelAnswer]:
    card = await view_rate_card(runtime.database)
    found = [_model(model) for model in card.models if runtime.meter.can_call(model)]
    if caller.may(Scope.WORKSPACE):
        found += map(_place, await list_places(runtime.database, user_id=caller.user_id))
    return found


def _model(model: Model) -> ModelAnswer:
    return ModelAnswer(id=model.alias, context_length=model.context_tokens, max_output_tokens=model.max_output_tokens)


def _place(place: NamedPlace) -> ModelAnswer:
    return ModelAnswer(id=place.model, name=place.name, created=int(place.created_at.timestamp()))
