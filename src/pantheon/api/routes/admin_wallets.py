"""What operators see and do with users' wallets."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, Field

from pantheon.api.callers import AdminOwner, AdminReader
from pantheon.api.dependencies import WithIdempotencyKey, WithRuntime
from pantheon.api.routes.wallet import TransactionAnswer, transaction_answer
from pantheon.api.strict_json import Decimal, PlainText, RequestModel, strict_router
from pantheon.money.amounts import format_credits
from pantheon.wallets.adjust_credits import adjust_credits
from pantheon.wallets.changes import Change
from pantheon.wallets.grant_credits import Category, grant_credits
from pantheon.wallets.list_transactions import list_transactions
from pantheon.wallets.view_wallet import view_wallet

router: APIRouter = strict_router("admin")

_RECENT = 10

Note = Annotated[PlainText, Field(min_length=1, max_length=256)]


class GrantRequest(RequestModel):
    amount: Decimal = Field(description="Credits, greater than 0 and at most 10000.")
    note: Note
    category: Category = "promotional"
    expires_at: AwareDatetime | None = None


class AdjustRequest(RequestModel):
    amount: Decimal = Field(description="Credits, signed.")
    note: Note


class ChangeAnswer(BaseModel):
    user_id: UUID
    new_balance: str
    transaction_id: UUID
    status: str


class GrantAnswer(ChangeAnswer):
    credits_granted: str


class AdjustAnswer(ChangeAnswer):
    credits_adjusted: str


class AdminWalletAnswer(BaseModel):
    user_id: UUID
    balance: str
    available: str
    held: str
    debt: str
    recent_transactions: list[TransactionAnswer]


@router.post("/admin/users/{user_id}/wallet/grant")
@router.post("/admin/wallets/{user_id}/grant")
async def post_grant(
    user_id: UUID,
    body: GrantRequest,
    runtime: WithRuntime,
    caller: AdminOwner,
    key: WithIdempotencyKey,
    response: Response,
) -> GrantAnswer:
    """Gives credits to a user."""
    change = await grant_credits(
        runtime.database,
        caller.actor,
        user_id=user_id,
        amount=body.amount,
        note=body.note,
        category=body.category,
        expires_at=body.expires_at,
        idempotency_key=key,
    )
    return GrantAnswer(**_fields(change, response), status="granted", credits_granted=format_credits(change.amount))


@router.post("/admin/users/{user_id}/wallet/adjust")
async def post_adjust(
    user_id: UUID,
    body: AdjustRequest,
    runtime: WithRuntime,
    caller: AdminOwner,
    key: WithIdempotencyKey,
    response: Response,
) -> AdjustAnswer:
    """Corrects a balance in either direction; 409 when that much is not available."""
    change = await adjust_credits(
        runtime.database, caller.actor, user_id=user_id, amount=body.amount, note=body.note, idempotency_key=key
    )
    return AdjustAnswer(**_fields(change, response), status="adjusted", credits_adjusted=format_credits(change.amount))


def _fields(change: Change, response: Response) -> dict[str, Any]:
    if change.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return {
        "user_id": change.user_id,
        "new_balance": format_credits(change.balance),
        "transaction_id": change.transfer_id,
    }


@router.get("/admin/wallets/{user_id}")
async def get_wallet(user_id: UUID, runtime: WithRuntime, caller: AdminReader) -> AdminWalletAnswer:
    """A user's wallet and its last ten movements."""
    wallet = await view_wallet(runtime.database, user_id=user_id)
    recent, _ = await list_transactions(runtime.database, user_id=user_id, limit=_RECENT)
    return AdminWalletAnswer(
        user_id=user_id,
        balance=format_credits(wallet.balance),
        available=format_credits(wallet.available),
        held=format_credits(wallet.held),
        debt=format_credits(wallet.debt),
        recent_transactions=[transaction_answer(item) for item in recent],
    )
