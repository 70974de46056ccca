"""Where credits went: by day and model, and what each call cost."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from pantheon import clock
from pantheon.api import csv
from pantheon.api.dependencies import WithRuntime
from pantheon.api.routes.statements import statement_csv
from pantheon.turns.list_usage import list_usage
from pantheon.turns.summarize_usage import summarize_usage
from pantheon.turns.usage_days import Period
from pantheon.turns.view_receipt import view_receipt
from pantheon.wallets.view_statement import list_months, view_statement
from pantheon.web.chart import HEIGHT, daily_bars
from pantheon.web.history import page_number
from pantheon.web.rendering import render
from pantheon.web.visitors import WithVisitor

router = APIRouter()

PERIODS = {7: "7 days", 30: "30 days", 90: "90 days"}
_USUAL_DAYS = 30
_ROWS_ON_A_PAGE = 20
_LATEST = 10
_MOST_MONTHS = 12

METERS = {
    "input_tokens": "Input",
    "cached_input_tokens": "Cached input",
    "cache_write_tokens": "Input, written to the cache",
    "output_tokens": "Output",
    "reasoning_tokens": "Reasoning",
    "tool_calls": "Tool calls",
    "operator_overrun": "Not charged: more than was set aside for it",
    "enforcement_off": "Not charged: work is free here just now",
}
QUALITIES = {
    "provider": "Counted by the provider",
    "provider_partial": "Counted by the provider up to where the call was stopped",
    "estimated": "Estimated, because the provider did not tell",
}
STOPPED_BY = {
    "caller": "Stopped on request; only what was delivered is charged",
    "credit_limit": "Stopped when the credits for it were used up",
    "provider": "Broken off by the provider",
    "time_limit": "Stopped because it took too long",
    "shutdown": "Broken off because the service was stopped; only what was delivered is charged",
}
GRANTS = {
    "top_up": "Top-up",
    "admin": "Credits from the operator",
    "promotion": "Promotion",
    "plan": "Plan",
    "compensation": "Compensation",
    "adjustment": "Correction",
}


@router.get("/usage")
async def get_usage(
    request: Request, visitor: WithVisitor, runtime: WithRuntime, days: str = "", page: str = "1"
) -> Response:
    user_id = visitor.caller.user_id
    chosen = next((count for count in PERIODS if str(count) == days), _USUAL_DAYS)
    today = clock.now().date()
    period = Period(today - timedelta(days=chosen - 1), today)
    summary = await summarize_usage(runtime.database, period, user_id=user_id)
    latest, calls_ever = await list_usage(runtime.database, user_id=user_id, limit=_LATEST)
    pages = max(1, -(-len(summary.rows) // _ROWS_ON_A_PAGE))
    shown = min(page_number(page), pages)
    return render(
        request,
        "usage.html",
        visitor=visitor,
        periods=PERIODS,
        days=chosen,
        summary=summary,
        bars=daily_bars({day: charged for day, _, charged in summary.by_date()}, first=period.first, last=period.last),
        bar_height=HEIGHT,
        rows=summary.rows[(shown - 1) * _ROWS_ON_A_PAGE : shown * _ROWS_ON_A_PAGE],
        page=shown,
        pages=pages,
        latest=latest,
        calls_ever=calls_ever,
        months=(await list_months(runtime.database, user_id=user_id))[:_MOST_MONTHS],
    )


@router.get("/usage/statements/{month}")
async def get_statement(month: str, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    """A file for spreadsheets."""
    statement = await view_statement(runtime.database, user_id=visitor.caller.user_id, month=month)
    return StreamingResponse(
        statement_csv(runtime.database, statement),
        media_type=csv.MEDIA_TYPE,
        headers={
            "Content-Disposition": f'attachment; filename="pantheon-{statement.month}.csv"',
            "Cache-Control": "no-store",
        },
    )


@router.get("/receipts/{receipt_id}")
async def get_receipt(request: Request, receipt_id: UUID, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    receipt = await view_receipt(runtime.database, receipt_id, user_id=visitor.caller.user_id)
    return render(
        request,
        "receipt.html",
        visitor=visitor,
        receipt=receipt,
        meters=METERS,
        qualities=QUALITIES,
        stopped_by=STOPPED_BY,
        grant_names=GRANTS,
    )
