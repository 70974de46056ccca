"""Turns: a message is sent, agents answer it on the server, and whoever wants to can follow, come back, or stop it."""

import re
from collections.abc import AsyncGenerator
from datetime import datetime
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pantheon import exact_json
from pantheon.api.callers import caller_with
from pantheon.api.dependencies import WithIdempotencyKey, WithRuntime
from pantheon.api.routes import usage as receipts
from pantheon.api.strict_json import LongText, OneLine, RequestModel, strict_router
from pantheon.db.idempotency import keyed
from pantheon.errors import InvalidInputError
from pantheon.money.amounts import format_credits
from pantheon.runtime import Runtime
from pantheon.turns.view_receipt import view_receipt
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.estimate_turn import estimate_turn
from pantheon.workspace.transcript import TurnMode, TurnStatus
from pantheon.workspace.turn_events import TurnEvent
from pantheon.workspace.view_turn import TurnView, view_turn

router = strict_router("turns")

Worker = Annotated[Caller, Depends(caller_with(Scope.WORKSPACE))]

_HEARTBEAT_SECONDS = 15


class NewTurn(RequestModel):
    message: Annotated[LongText, Field(min_length=1, max_length=200_000)]
    model_alias_override: Annotated[OneLine, Field(max_length=64)] | None = Field(
        None, description="Lets every agent answer with this model, this once."
    )


class StopRequest(RequestModel):
    agent_key: Annotated[OneLine, Field(max_length=64)] | None = Field(
        None, description="Stops only what this agent is saying; the next one goes on."
    )


class TurnAnswer(BaseModel):
    id: UUID
    session_id: UUID
    turn_index: int
    mode: TurnMode
    user_input: str
    assistant_output: str | None
    status: TurnStatus
    error_code: str | None
    model_alias_used: str
    credits: str | None = Field(description="What it cost; null while it runs.")
    balance_after: str | None = Field(description="Available credits at its end; null while it runs.")
    low_balance: bool | None
    receipt_id: UUID | None = Field(description="Of its last call.")
    receipt_ids: list[UUID]
    created_at: datetime
    ended_at: datetime | None


class TurnReceiptAnswer(BaseModel):
    turn_id: UUID
    receipts: list[receipts.ReceiptAnswer]
    total: int
    total_credits: str


class EstimateAnswer(BaseModel):
    mode: TurnMode
    agents: list[str] = Field(description="Keys of those who would answer, in their order.")
    most: str = Field(description="Credits, if each answered once at full length.")
    turn_cap: str = Field(description="The most that a turn may cost here, in credits.")
    available: str


@router.post("/sessions/{session_id}/turns", status_code=201)
async def post_turn(
    session_id: UUID, body: NewTurn, runtime: WithRuntime, caller: Worker, key: WithIdempotencyKey, response: Response
) -> TurnAnswer:
    """Sends a message, and answers when its turn has ended. The turn goes on when the caller does not wait."""
    turn_id, replayed = await _start(runtime, caller, session_id, body, key)
    async for _ in runtime.turns.events.follow(turn_id):
        pass
    if replayed:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    return _answer(await view_turn(runtime.database, user_id=caller.user_id, turn_id=turn_id))


@router.post("/sessions/{session_id}/turns/stream", response_class=StreamingResponse)
async def post_turn_stream(
    session_id: UUID, body: NewTurn, runtime: WithRuntime, caller: Worker, key: WithIdempotencyKey
) -> StreamingResponse:
    """Sends a message, and tells what happens as server-sent events. See GET /turns/{turn_id}/events."""
    turn_id, replayed = await _start(runtime, caller, session_id, body, key)
    return _stream(runtime, turn_id, after=0, **({"Idempotency-Replayed": "true"} if replayed else {}))


@router.get("/sessions/{session_id}/estimate")
async def get_estimate(
    session_id: UUID, runtime: WithRuntime, caller: Worker, message: Annotated[str, Query(max_length=20_000)] = ""
) -> EstimateAnswer:
    """What a message would cost at most. Nothing is sent, and nothing is set aside."""
    found = await estimate_turn(
        runtime.database, runtime.settings, user_id=caller.user_id, session_id=session_id, message=message
    )
    return EstimateAnswer(
        mode=found.mode,
        agents=[member.agent_key for member in found.roster],
        most=format_credits(found.most),
        turn_cap=format_credits(found.cap),
        available=format_credits(found.available),
    )


@router.get("/turns/{turn_id}")
async def get_turn(turn_id: UUID, runtime: WithRuntime, caller: Worker) -> TurnAnswer:
    return _answer(await view_turn(runtime.database, user_id=caller.user_id, turn_id=turn_id))


@router.get("/turns/{turn_id}/receipt")
async def get_turn_receipt(turn_id: UUID, runtime: WithRuntime, caller: Worker) -> TurnReceiptAnswer:
    """What each of its calls used and cost, in their order, as GET /receipts/{receipt_id} tells it for one."""
    view = await view_turn(runtime.database, user_id=caller.user_id, turn_id=turn_id)
    found = [await view_receipt(runtime.database, id, user_id=caller.user_id) for id in view.receipt_ids]
    return TurnReceiptAnswer(
        turn_id=turn_id,
        receipts=[receipts.shown(receipt) for receipt in found],
        total=len(found),
        total_credits=format_credits(sum(receipt.charged for receipt in found)),
    )


@router.get(
    "/turns/{turn_id}/events",
    response_class=StreamingResponse,
    responses={204: {"description": "Nothing comes after `Last-Event-ID` any more."}},
)
async def get_turn_events(
    turn_id: UUID,
    runtime: WithRuntime,
    caller: Worker,
    last_event_id: Annotated[str | None, Header(description="The number of the last event that was seen.")] = None,
) -> Response:
    """What happened after `Last-Event-ID`, and then what happens, to the end. Nothing is left out, nothing repeated."""
    if last_event_id is not None and not re.fullmatch("[0-9]{1,9}", last_event_id):
        raise InvalidInputError("Last-Event-ID must be the number of an event of this turn")
    after = int(last_event_id or 0)
    view = await view_turn(runtime.database, user_id=caller.user_id, turn_id=turn_id)
    if view.end_seq is not None and after >= view.end_seq:
        # Browsers connect again when a stream ends, unless they are told this.
        return Response(status_code=204)
    return _stream(runtime, turn_id, after=after)


@router.post("/turns/{turn_id}/stop", status_code=202)
async def post_stop(turn_id: UUID, runtime: WithRuntime, caller: Worker, body: StopRequest | None = None) -> TurnAnswer:
    """What was written is kept and paid for. Nothing happens where the turn has ended."""
    await runtime.turns.stop(user_id=caller.user_id, turn_id=turn_id, agent_key=body.agent_key if body else None)
    return _answer(await view_turn(runtime.database, user_id=caller.user_id, turn_id=turn_id))


async def _start(
    runtime: Runtime, caller: Caller, session_id: UUID, body: NewTurn, key: str | None
) -> tuple[UUID, bool]:
    request = keyed(key, user_id=caller.user_id, route=f"POST /sessions/{session_id}/turns", **body.model_dump())
    return await runtime.turns.start(
        user_id=caller.user_id,
        api_key_id=caller.api_key_id,
        session_id=session_id,
        message=body.message,
        model_alias_override=body.model_alias_override,
        request=request,
    )


def _stream(runtime: Runtime, turn_id: UUID, *, after: int, **headers: str) -> StreamingResponse:
    async def frames() -> AsyncGenerator[bytes]:
        spoken = monotonic()
        async for event in runtime.turns.events.follow(turn_id, after=after):
            if event is not None:
                yield _frame(event)
            elif monotonic() - spoken >= _HEARTBEAT_SECONDS:
                yield b": still here\n\n"
            else:
                continue
            spoken = monotonic()

    return StreamingResponse(
        frames(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"} | headers,
    )


def _frame(event: TurnEvent) -> bytes:
    return f"id: {event.seq}\nevent: {event.event}\ndata: {exact_json.dumps(event.data)}\n\n".encode()


def _answer(view: TurnView) -> TurnAnswer:
    end: dict[str, Any] = view.end or {}
    turn = view.turn
    return TurnAnswer(
        id=turn.id,
        session_id=turn.session_id,
        turn_index=turn.turn_index,
        mode=turn.mode,
        user_input=turn.user_input,
        assistant_output=turn.assistant_output,
        status=turn.status,
        error_code=turn.error_code,
        model_alias_used=view.model_alias_used,
        credits=end.get("credits"),
        balance_after=end.get("balance_after"),
        low_balance=end.get("low_balance"),
        receipt_id=view.receipt_ids[-1] if view.receipt_ids else None,
        receipt_ids=view.receipt_ids,
        created_at=turn.created_at,
        ended_at=turn.ended_at,
    )
