"""What operators see and decide about payments and Stripe's events."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from pantheon.api.callers import AdminOwner, AdminReader
from pantheon.api.dependencies import WithRuntime
from pantheon.api.strict_json import PlainText, RequestModel, strict_router
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.money.currencies import CURRENCIES
from pantheon.money.top_up import State
from pantheon.payments.explain import Explanation, explain
from pantheon.payments.list_events import EventState, EventView, list_events
from pantheon.payments.replay_event import replay_event
from pantheon.payments.resolve_top_up import Action, resolve_top_up
from pantheon.payments.top_ups import TopUp
from pantheon.payments.view_top_ups import list_all_top_ups

router: APIRouter = strict_router("admin")

Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


class AdminTopUpAnswer(BaseModel):
    id: UUID
    user_id: UUID
    status: State
    reason: str | None
    amount: str
    currency: str
    credits: str
    payment_intent_id: str | None
    created_at: datetime


class AdminTopUpsAnswer(BaseModel):
    items: list[AdminTopUpAnswer]
    total: int


class ResolveRequest(RequestModel):
    action: Action
    reason: Annotated[PlainText, Field(min_length=1, max_length=256)] = Field(
        description="Why, for the audit log, which is kept for ever."
    )


class ResolveAnswer(AdminTopUpAnswer):
    changed: bool = Field(description="False when the same decision was made before.")


class EventsAnswer(BaseModel):
    items: list[EventView]
    total: int


class ReplayAnswer(BaseModel):
    state_before: str
    replayed: bool = Field(description="False for an event that is done, ignored or about to be handled anyway.")


@router.get("/admin/explain/{id}")
async def get_explanation(id: str, runtime: WithRuntime, caller: AdminReader) -> Explanation:
    """Why a top-up, event, payment, grant, transfer or hold is in its state, with the rows that led there."""
    return await explain(runtime.database, id)


@router.get("/admin/top-ups")
async def get_top_ups(
    runtime: WithRuntime, caller: AdminReader, state: State | None = None, limit: Limit = 50, offset: Offset = 0
) -> AdminTopUpsAnswer:
    """Everybody's top-ups, newest first."""
    found, total = await list_all_top_ups(runtime.database, state=state, limit=limit, offset=offset)
    return AdminTopUpsAnswer(items=[_answer(top_up) for top_up in found], total=total)


@router.post("/admin/top-ups/{top_up_id}/resolve")
async def post_resolve(
    top_up_id: UUID, body: ResolveRequest, runtime: WithRuntime, caller: AdminOwner
) -> ResolveAnswer:
    """Decides about a top-up in review. The same decision again changes nothing; another one is 409."""
    top_up, changed = await resolve_top_up(
        runtime.database, caller.actor, top_up_id=top_up_id, action=body.action, reason=body.reason
    )
    return ResolveAnswer(**_answer(top_up).model_dump(), changed=changed)


@router.get("/admin/events")
async def get_events(
    runtime: WithRuntime, caller: AdminReader, state: EventState | None = None, limit: Limit = 50, offset: Offset = 0
) -> EventsAnswer:
    """Stripe's events, newest first. `stuck` are those that a person should look at."""
    found, total = await list_events(runtime.database, state=state, limit=limit, offset=offset)
    return EventsAnswer(items=found, total=total)


@router.post("/admin/events/{inbox_event_id}/replay")
async def post_replay(inbox_event_id: UUID, runtime: WithRuntime, caller: AdminOwner) -> ReplayAnswer:
    """Lets an event that failed or was given up be handled once more."""
    state, replayed = await replay_event(runtime.database, caller.actor, inbox_event_id=inbox_event_id)
    return ReplayAnswer(state_before=state, replayed=replayed)


def _answer(top_up: TopUp) -> AdminTopUpAnswer:
    decimals = CURRENCIES[top_up.currency].decimals
    return AdminTopUpAnswer(
        id=top_up.id,
        user_id=top_up.user_id,
        status=top_up.state,
        reason=top_up.reason,
        amount=format_decimal(top_up.amount_minor, decimals=decimals, least=decimals),
        currency=top_up.currency,
        credits=format_credits(top_up.credits),
        payment_intent_id=top_up.payment_intent_id,
        created_at=top_up.created_at,
    )
