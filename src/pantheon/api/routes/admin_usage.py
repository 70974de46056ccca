"""What everybody uses, and what it brings in, for operators. Days are those of UTC, both ends included."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from pantheon import clock
from pantheon.api import csv
from pantheon.api.callers import AdminReader
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.turns.analyze_usage import analyze_usage
from pantheon.turns.count_active_users import Window, count_active_users
from pantheon.turns.summarize_usage import Bucket, summarize_usage
from pantheon.turns.usage_days import period_of
from pantheon.turns.view_margin import By, Margin, view_margin

router: APIRouter = strict_router("admin")

Day = Annotated[date | None, Query(ge=date(2000, 1, 1), le=date(2999, 12, 31))]

_NANO = 9


class ModelUsageAnswer(BaseModel):
    model_alias: str
    call_count: int
    credits_burned: str


class DailyUsageAnswer(BaseModel):
    date: date
    credits_burned: str
    call_count: int


class SummaryAnswer(BaseModel):
    total_credits_burned: str
    total_llm_calls: int
    total_output_tokens: int
    from_date: date
    to_date: date
    breakdown: list[ModelUsageAnswer]
    daily: list[DailyUsageAnswer] = Field(
        description="By the first day of each bucket; weeks begin on Mondays. Buckets without a call are left out."
    )


class UserUsageAnswer(BaseModel):
    user_id: UUID
    model_alias: str
    total_input_tokens: int
    total_output_tokens: int
    total_credits_burned: str
    event_count: int


class AnalyticsAnswer(BaseModel):
    rows: list[UserUsageAnswer]
    total: int
    start_date: date
    end_date: date


class ActiveUsersAnswer(BaseModel):
    window: Window
    as_of: date
    active_users: int = Field(description="Who made a call in the 1, 7 or 30 days that end with as_of.")
    new_users: int = Field(description="Whose account was made in them.")


class MarginAnswer(BaseModel):
    key: str | None = Field(description="The user, agent, model or day; null for calls without an agent.")
    call_count: int
    credits_burned: str
    overrun: str = Field(description="Credits of use that nobody could be charged for: the operator's.")
    value: str = Field(description="Money that the charged credits cost at today's rate, given away or sold.")
    calls_with_cost: int = Field(description="Calls of which the provider's cost is known.")
    value_with_cost: str = Field(description="Value of what these calls were charged.")
    provider_cost: str = Field(description="US dollars that the providers take for them.")
    margin: str | None = Field(
        description="value_with_cost − provider_cost. null where no cost is known, or credits are not sold in usd."
    )


class MarginsAnswer(BaseModel):
    by: By
    rows: list[MarginAnswer]
    total: int
    currency: str
    start_date: date
    end_date: date


@router.get("/admin/usage/summary")
async def get_summary(
    runtime: WithRuntime,
    caller: AdminReader,
    user_id: UUID | None = None,
    model_alias: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")] = None,
    bucket: Bucket = "day",
    from_date: Day = None,
    to_date: Day = None,
) -> SummaryAnswer:
    """Totals, by model and over time. Without dates: the last 30 days."""
    period = period_of(from_date, to_date, names=("from_date", "to_date"))
    found = await summarize_usage(runtime.database, period, bucket=bucket, user_id=user_id, model_alias=model_alias)
    return SummaryAnswer(
        total_credits_burned=format_credits(found.charged),
        total_llm_calls=found.calls,
        total_output_tokens=found.output_tokens,
        from_date=period.first,
        to_date=period.last,
        breakdown=[
            ModelUsageAnswer(model_alias=model, call_count=calls, credits_burned=format_credits(charged))
            for model, calls, charged in found.by_model()
        ],
        daily=[
            DailyUsageAnswer(date=day, credits_burned=format_credits(charged), call_count=calls)
            for day, calls, charged in found.by_date()
        ],
    )


@router.get("/admin/analytics/usage")
async def get_analytics(
    runtime: WithRuntime, caller: AdminReader, page: WithPage, start_date: Day = None, end_date: Day = None
) -> AnalyticsAnswer:
    """By user and model, the dearest first. Without dates: the last 30 days."""
    period = period_of(start_date, end_date, names=("start_date", "end_date"))
    listed, total = await analyze_usage(runtime.database, period, limit=page.limit, offset=page.offset)
    rows = [
        UserUsageAnswer(
            user_id=item.user_id,
            model_alias=item.model_alias,
            total_input_tokens=item.input_tokens,
            total_output_tokens=item.output_tokens,
            total_credits_burned=format_credits(item.charged),
            event_count=item.calls,
        )
        for item in listed
    ]
    return AnalyticsAnswer(rows=rows, total=total, start_date=period.first, end_date=period.last)


@router.get("/admin/analytics/active-users")
async def get_active_users(
    runtime: WithRuntime, caller: AdminReader, window: Window = "day", as_of: Day = None
) -> ActiveUsersAnswer:
    """People who work here, and people who are new."""
    day = as_of or clock.now().date()
    found = await count_active_users(runtime.database, window, as_of=day)
    return ActiveUsersAnswer(window=window, as_of=day, active_users=found.active, new_users=found.new)


@router.get(
    "/admin/analytics/margin",
    response_model=MarginsAnswer,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def get_margin(
    request: Request,
    runtime: WithRuntime,
    caller: AdminReader,
    page: WithPage,
    by: By = "model",
    start_date: Day = None,
    end_date: Day = None,
) -> Any:
    """What calls brought in against what their providers take. `Accept: text/csv` answers all rows as a table."""
    period = period_of(start_date, end_date, names=("start_date", "end_date"))
    as_csv = csv.wants_csv(request)
    settings = runtime.settings
    listed, total = await view_margin(
        runtime.database,
        period,
        by=by,
        credits_per_major=settings.credits_per_usd,
        limit=None if as_csv else page.limit,
        offset=0 if as_csv else page.offset,
    )
    rows = [_margin(item, comparable=settings.credits_per_dollar is not None) for item in listed]
    if as_csv:
        lines = [csv.csv_line(list(MarginAnswer.model_fields))]
        lines += [csv.csv_line(list(row.model_dump().values())) for row in rows]
        return Response("".join(lines), media_type=csv.MEDIA_TYPE, headers={"Vary": "Accept"})
    return MarginsAnswer(
        by=by, rows=rows, total=total, currency=settings.currency, start_date=period.first, end_date=period.last
    )


def _margin(item: Margin, *, comparable: bool) -> MarginAnswer:
    margin = item.margin if comparable else None
    return MarginAnswer(
        key=item.key,
        call_count=item.calls,
        credits_burned=format_credits(item.charged),
        overrun=format_credits(item.overrun),
        value=format_decimal(item.value, decimals=_NANO),
        calls_with_cost=item.calls_with_cost,
        value_with_cost=format_decimal(item.value_with_cost, decimals=_NANO),
        provider_cost=format_decimal(item.provider_cost, decimals=_NANO),
        margin=None if margin is None else format_decimal(margin, decimals=_NANO),
    )
