"""What a user's calls used and cost, and the models that can be called."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from pantheon.api.callers import WithCaller, caller_with
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.models.providers import provider_names
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.money.rate_card import Meter
from pantheon.turns.list_models import TYPICAL_TURN, list_models, price_of_typical_turn
from pantheon.turns.list_usage import UsageEvent, list_usage
from pantheon.turns.rate_cards import Model
from pantheon.turns.view_receipt import ROUNDING_DECIMALS, UNIT_PRICE_DECIMALS, Receipt, view_receipt
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope

router: APIRouter = strict_router("usage")

Reader = Annotated[Caller, Depends(caller_with(Scope.USAGE_READ))]


class TokensAnswer(BaseModel):
    input: int = Field(description="Cached input and what was written to the cache are in it.")
    cached: int
    cache_write: int
    output: int = Field(description="Reasoning is in it.")
    reasoning: int
    tool_calls: int


class UsageEventAnswer(BaseModel):
    id: UUID
    model_alias: str
    credits_burned: str
    usage: TokensAnswer
    quality: str
    turn_id: UUID | None
    receipt_id: UUID
    created_at: datetime


class UsageAnswer(BaseModel):
    events: list[UsageEventAnswer]
    total: int


class LineAnswer(BaseModel):
    meter: str
    quantity: int
    unit_price: str | None = Field(description="Credits for a million units. null for what is not measured.")
    credits: str
    rounding: str | None = Field(description="What the credits were rounded up by, exactly; less than a nanocredit.")


class PaidByAnswer(BaseModel):
    grant_id: UUID
    source: str
    category: str
    credits: str
    top_up_id: UUID | None


class ReceiptAnswer(BaseModel):
    id: UUID
    turn_id: UUID | None
    call_id: UUID
    agent_id: UUID | None
    room_id: UUID | None
    model_alias: str
    rate_card_version: int
    quality: str = Field(description="provider, provider_partial or estimated: who counted.")
    stopped_by: str | None
    usage: TokensAnswer
    lines: list[LineAnswer] = Field(description="They add up to total_credits.")
    total_credits: str
    grants: list[PaidByAnswer] = Field(description="Where the credits came from.")
    balance_after: str | None
    created_at: datetime


class ModelAnswer(BaseModel):
    model_alias: str
    context_tokens: int
    max_output_tokens: int
    credits_per_million: dict[str, str] = Field(description="By meter.")
    credits_per_typical_turn: str


class TypicalTurnAnswer(BaseModel):
    input_tokens: int
    output_tokens: int


class ModelsAnswer(BaseModel):
    models: list[ModelAnswer]
    total: int
    typical_turn: TypicalTurnAnswer


@router.get("/users/me/usage")
async def get_usage(runtime: WithRuntime, caller: Reader, page: WithPage) -> UsageAnswer:
    """Calls, newest first."""
    listed, total = await list_usage(runtime.database, user_id=caller.user_id, limit=page.limit, offset=page.offset)
    return UsageAnswer(events=[_event(item) for item in listed], total=total)


@router.get("/receipts/{receipt_id}")
async def get_receipt(receipt_id: UUID, runtime: WithRuntime, caller: Reader) -> ReceiptAnswer:
    """What a call used, what each part of it cost, and which grants paid for it."""
    return shown(await view_receipt(runtime.database, receipt_id, user_id=caller.user_id))


@router.get("/models")
async def get_models(runtime: WithRuntime, caller: WithCaller) -> ModelsAnswer:
    """The models that can be called here, with their prices."""
    found = await list_models(runtime.database, providers=provider_names(runtime.settings))
    return ModelsAnswer(
        models=[_model(model) for model in found],
        total=len(found),
        typical_turn=TypicalTurnAnswer(input_tokens=TYPICAL_TURN.input, output_tokens=TYPICAL_TURN.output),
    )


def _event(item: UsageEvent) -> UsageEventAnswer:
    return UsageEventAnswer(
        id=item.id,
        model_alias=item.model_alias,
        credits_burned=format_credits(item.charged),
        usage=_tokens(item.usage),
        quality=item.quality,
        turn_id=item.turn_id,
        receipt_id=item.id,
        created_at=item.created_at,
    )


def _tokens(usage: dict[str, int]) -> TokensAnswer:
    return TokensAnswer(
        input=usage["input"],
        cached=usage["cached_input"],
        cache_write=usage["cache_write"],
        output=usage["output"],
        reasoning=usage["reasoning"],
        tool_calls=usage["tool_calls"],
    )


def shown(receipt: Receipt) -> ReceiptAnswer:
    return ReceiptAnswer(
        id=receipt.id,
        turn_id=receipt.turn_id,
        call_id=receipt.id,
        agent_id=receipt.agent_id,
        room_id=receipt.room_id,
        model_alias=receipt.model_alias,
        rate_card_version=receipt.rate_card_version,
        quality=receipt.quality,
        stopped_by=receipt.stopped_by,
        usage=_tokens(receipt.usage),
        lines=[
            LineAnswer(
                meter=line.meter,
                quantity=line.quantity,
                unit_price=_per_million(line.unit_price),
                credits=format_credits(line.amount),
                rounding=None if line.rounding is None else format_decimal(line.rounding, decimals=ROUNDING_DECIMALS),
            )
            for line in receipt.lines
        ],
        total_credits=format_credits(receipt.charged),
        grants=[
            PaidByAnswer(
                grant_id=grant.grant_id,
                source=grant.source,
                category=grant.category,
                credits=format_credits(grant.amount),
                top_up_id=grant.top_up_id,
            )
            for grant in receipt.grants
        ],
        balance_after=None if receipt.balance_after is None else format_credits(receipt.balance_after),
        created_at=receipt.created_at,
    )


def _model(model: Model) -> ModelAnswer:
    return ModelAnswer(
        model_alias=model.alias,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        credits_per_million={meter: _per_million(model.rate.unit_price(meter)) or "0" for meter in Meter},
        credits_per_typical_turn=format_credits(price_of_typical_turn(model)),
    )


def _per_million(unit_price: int | None) -> str | None:
    return None if unit_price is None else format_decimal(unit_price, decimals=UNIT_PRICE_DECIMALS)
