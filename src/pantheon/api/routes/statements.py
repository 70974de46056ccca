"""A month of a wallet as JSON or CSV. Written while it is read, because a busy month has many thousand movements."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from pantheon.api import csv
from pantheon.api.callers import caller_with
from pantheon.api.dependencies import WithRuntime
from pantheon.api.routes.wallet import TransactionAnswer, transaction_answer
from pantheon.api.strict_json import strict_router
from pantheon.db.engine import Database
from pantheon.money.amounts import format_credits
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.wallets.view_statement import Statement, read_movements, view_statement

router: APIRouter = strict_router("wallet")

Reader = Annotated[Caller, Depends(caller_with(Scope.USAGE_READ))]

_COLUMNS = ("created_at", "kind", "amount", "balance_after", "note", "reference_id", "initiated_by", "id")


class StatementAnswer(BaseModel):
    month: str
    opening_balance: str
    movements: list[TransactionAnswer]
    closing_balance: str


@router.get(
    "/users/me/statements/{month}",
    response_model=StatementAnswer,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def get_statement(month: str, request: Request, runtime: WithRuntime, caller: Reader) -> StreamingResponse:
    """A month of UTC, such as 2026-11, oldest movement first. `Accept: text/csv` answers a table."""
    statement = await view_statement(runtime.database, user_id=caller.user_id, month=month)
    as_csv = csv.wants_csv(request)
    return StreamingResponse(
        (statement_csv if as_csv else _json)(runtime.database, statement),
        media_type=csv.MEDIA_TYPE if as_csv else "application/json",
        headers={"Vary": "Accept", "Cache-Control": "no-store"},
    )


async def statement_csv(database: Database, statement: Statement) -> AsyncIterator[str]:
    yield csv.csv_line(_COLUMNS)
    yield csv.csv_line(_balance_line("opening_balance", statement.opening_balance))
    async for item in read_movements(database, statement):
        movement = transaction_answer(item)
        cells = [getattr(movement, name) for name in _COLUMNS[1:]]
        yield csv.csv_line([movement.created_at.isoformat(), *cells])
    yield csv.csv_line(_balance_line("closing_balance", statement.closing_balance))


def _balance_line(name: str, balance: int) -> list[object]:
    """No amount, so that the column of amounts adds up to the difference of the two balances."""
    return [None, name, None, format_credits(balance), None, None, None, None]


async def _json(database: Database, statement: Statement) -> AsyncIterator[str]:
    yield f'{{"month":"{statement.month}","opening_balance":"{format_credits(statement.opening_balance)}","movements":['
    separator = ""
    async for item in read_movements(database, statement):
        yield separator + transaction_answer(item).model_dump_json()
        separator = ","
    yield f'],"closing_balance":"{format_credits(statement.closing_balance)}"}}'
