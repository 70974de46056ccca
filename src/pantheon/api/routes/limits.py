"""Limits of what a wallet spends in a day or a month: those of the caller, and those that operators set for a user."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from pantheon.api.callers import AdminOwner, AdminReader, InPerson, caller_with
from pantheon.api.dependencies import Page, WithPage, WithRuntime
from pantheon.api.strict_json import Decimal, PlainText, RequestModel, strict_router
from pantheon.ledger.post import SetBy
from pantheon.money.amounts import format_credits
from pantheon.money.periods import Period
from pantheon.runtime import Runtime
from pantheon.turns.limits import Limit, Scope
from pantheon.turns.list_limits import list_limits
from pantheon.turns.remove_limit import remove_limit
from pantheon.turns.set_limit import set_limit
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope as KeyScope

router = strict_router("limits")

Reader = Annotated[Caller, Depends(caller_with(KeyScope.WALLET_READ))]

ScopeId = Annotated[
    PlainText | None, Field(max_length=64, description="The id, or the model's alias. Not for a wallet.")
]


class LimitRequest(RequestModel):
    scope: Scope
    scope_id: ScopeId = None
    period: Period
    amount: Annotated[Decimal, Field(description="Credits. 0 stops all spending.")]


class LimitAnswer(BaseModel):
    scope: Scope
    scope_id: str | None
    name: str | None
    period: Period
    set_by: SetBy
    amount: str
    reserved: str
    spent: str
    remaining: str
    resets_at: datetime


class LimitsAnswer(BaseModel):
    limits: list[LimitAnswer]
    total: int


def limit_answer(limit: Limit) -> LimitAnswer:
    return LimitAnswer(
        scope=limit.scope,
        scope_id=limit.scope_id,
        name=limit.name,
        period=limit.period,
        set_by=limit.set_by,
        amount=format_credits(limit.amount),
        reserved=format_credits(limit.reserved),
        spent=format_credits(limit.spent),
        remaining=format_credits(limit.remaining),
        resets_at=limit.resets_at,
    )


@router.get("/users/me/limits")
async def get_limits(runtime: WithRuntime, caller: Reader, page: WithPage) -> LimitsAnswer:
    """One's own and those that operators set: of all that apply to a call, the tightest binds."""
    return await _list(runtime, caller.user_id, page)


@router.put("/users/me/limits")
async def put_limit(body: LimitRequest, runtime: WithRuntime, caller: InPerson) -> LimitAnswer:
    """Sets a limit, or changes the one that is there. A limit that an operator set stays beside it."""
    return await _set(runtime, caller, caller.user_id, "user", body)


@router.delete("/users/me/limits", status_code=204)
async def delete_limit(
    runtime: WithRuntime,
    caller: InPerson,
    scope: Annotated[Scope, Query()],
    period: Annotated[Period, Query()],
    scope_id: Annotated[ScopeId, Query()] = None,
) -> None:
    """Removes one's own limit. One that an operator set stays."""
    await _remove(runtime, caller, caller.user_id, "user", scope, scope_id, period)


@router.get("/admin/users/{user_id}/limits")
async def get_limits_of_user(user_id: UUID, runtime: WithRuntime, caller: AdminReader, page: WithPage) -> LimitsAnswer:
    return await _list(runtime, user_id, page)


@router.put("/admin/users/{user_id}/limits")
async def put_limit_of_user(user_id: UUID, body: LimitRequest, runtime: WithRuntime, caller: AdminOwner) -> LimitAnswer:
    """Sets a limit that the user can neither raise nor remove."""
    return await _set(runtime, caller, user_id, "owner", body)


@router.delete("/admin/users/{user_id}/limits", status_code=204)
async def delete_limit_of_user(
    user_id: UUID,
    runtime: WithRuntime,
    caller: AdminOwner,
    scope: Annotated[Scope, Query()],
    period: Annotated[Period, Query()],
    scope_id: Annotated[ScopeId, Query()] = None,
) -> None:
    """Removes a limit that an operator set. The user's own stays."""
    await _remove(runtime, caller, user_id, "owner", scope, scope_id, period)


async def _list(runtime: Runtime, user_id: UUID, page: Page) -> LimitsAnswer:
    listed, total = await list_limits(runtime.database, user_id=user_id, limit=page.limit, offset=page.offset)
    return LimitsAnswer(limits=[limit_answer(limit) for limit in listed], total=total)


async def _set(runtime: Runtime, caller: Caller, user_id: UUID, set_by: SetBy, body: LimitRequest) -> LimitAnswer:
    limit = await set_limit(runtime.database, caller.actor, user_id=user_id, set_by=set_by, **body.model_dump())
    return limit_answer(limit)


async def _remove(
    runtime: Runtime,
    caller: Caller,
    user_id: UUID,
    set_by: SetBy,
    scope: Scope,
    scope_id: str | None,
    period: Period,
) -> None:
    await remove_limit(
        runtime.database,
        caller.actor,
        user_id=user_id,
        set_by=set_by,
        scope=scope,
        scope_id=scope_id,
        period=period,
    )
