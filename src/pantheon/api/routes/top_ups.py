"""Buying credits."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Response
from pydantic import BaseModel, Field

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import WithIdempotencyKey, WithPage, WithRuntime
from pantheon.api.strict_json import Decimal, RequestModel, strict_router
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.payments.cancel_top_up import cancel_top_up
from pantheon.payments.create_top_up import create_top_up
from pantheon.payments.top_ups import TopUp
from pantheon.payments.view_top_ups import Step, list_top_ups, view_top_up
from pantheon.settings import Settings
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope

router = strict_router("top-ups")

Reader = Annotated[Caller, Depends(caller_with(Scope.WALLET_READ))]
Payer = Annotated[Caller, Depends(caller_with(Scope.WALLET_TOP_UP))]


class TopUpRequest(RequestModel):
    amount_usd: Decimal = Field(description="In the major unit of the installation's currency, two decimals at most.")


class TopUpAnswer(BaseModel):
    top_up_id: UUID
    status: str
    reason: str | None
    credits_to_grant: str
    amount_usd: str
    currency: str
    livemode: bool
    payment_intent_id: str | None
    created_at: datetime
    expires_at: datetime
    credited_at: datetime | None


class OpenTopUpAnswer(TopUpAnswer):
    client_secret: str | None = Field(description="For the payer's browser only. Never stored or logged by us.")
    publishable_key: str | None


class StepAnswer(BaseModel):
    status: str
    reason: str | None
    at: datetime


class TopUpWithHistory(TopUpAnswer):
    history: list[StepAnswer]


class TopUpsAnswer(BaseModel):
    top_ups: list[TopUpAnswer]
    total: int


@router.post("/users/me/wallet/top-up", status_code=201, responses={200: {"model": OpenTopUpAnswer}})
async def post_top_up(
    body: TopUpRequest, runtime: WithRuntime, caller: Payer, key: WithIdempotencyKey, response: Response
) -> OpenTopUpAnswer:
    """Opens a payment for credits. Answers 200 instead of 201 where it was open already."""
    settings = runtime.settings
    opened = await create_top_up(
        runtime.database,
        runtime.stripe,
        settings,
        user_id=caller.user_id,
        amount=body.amount_usd,
        idempotency_key=key,
    )
    response.headers["Cache-Control"] = "no-store"
    if opened.replayed:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    return OpenTopUpAnswer(
        **_fields(opened.top_up, settings),
        client_secret=opened.payment.client_secret,
        publishable_key=settings.stripe_publishable_key,
    )


@router.get("/users/me/wallet/top-ups")
async def get_top_ups(runtime: WithRuntime, caller: Reader, page: WithPage) -> TopUpsAnswer:
    """Newest first."""
    listed, total = await list_top_ups(runtime.database, user_id=caller.user_id, limit=page.limit, offset=page.offset)
    answers = [TopUpAnswer(**_fields(top_up, runtime.settings)) for top_up in listed]
    return TopUpsAnswer(top_ups=answers, total=total)


@router.get("/users/me/wallet/top-ups/{top_up_id}")
async def get_top_up(top_up_id: UUID, runtime: WithRuntime, caller: Reader) -> TopUpWithHistory:
    """One top-up: its state, and how it came there."""
    top_up, steps = await view_top_up(runtime.database, user_id=caller.user_id, top_up_id=top_up_id)
    return _with_history(top_up, steps, runtime.settings)


@router.post("/users/me/wallet/top-ups/{top_up_id}/cancel")
async def post_cancel(top_up_id: UUID, runtime: WithRuntime, caller: Payer) -> TopUpAnswer:
    """Ends an unpaid top-up. Repeating it is fine; 409 once it is paid or the payment is on its way."""
    top_up = await cancel_top_up(runtime.database, runtime.stripe, user_id=caller.user_id, top_up_id=top_up_id)
    return TopUpAnswer(**_fields(top_up, runtime.settings))


def _with_history(top_up: TopUp, steps: list[Step], settings: Settings) -> TopUpWithHistory:
    history = [StepAnswer(status=step.state, reason=step.reason, at=step.at) for step in steps]
    return TopUpWithHistory(**_fields(top_up, settings), history=history)


def _fields(top_up: TopUp, settings: Settings) -> dict[str, Any]:
    return {
        "top_up_id": top_up.id,
        "status": top_up.state,
        "reason": top_up.reason,
        "credits_to_grant": format_credits(top_up.credits),
        "amount_usd": format_decimal(top_up.amount_minor, decimals=settings.money.decimals),
        "currency": top_up.currency,
        "livemode": top_up.livemode,
        "payment_intent_id": top_up.payment_intent_id,
        "created_at": top_up.created_at,
        "expires_at": top_up.expires_at,
        "credited_at": top_up.credited_at,
    }
