"""A user's wallet and its movements."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.money.amounts import format_credits, format_decimal
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.wallets.list_transactions import PublicKind, Transaction, list_transactions
from pantheon.wallets.view_wallet import WalletView, view_wallet

router = strict_router("wallet")

Reader = Annotated[Caller, Depends(caller_with(Scope.WALLET_READ))]


class GrantAnswer(BaseModel):
    id: UUID
    source: str
    category: str
    amount: str
    remaining: str
    expires_at: datetime | None


class NoticeAnswer(BaseModel):
    level: Annotated[int, Field(description="Percent of the last top-up: 25, 10, or 0 when less than one is left.")]
    since: datetime


class WalletAnswer(BaseModel):
    user_id: UUID
    balance: str
    available: str
    held: str
    debt: str
    low_balance: bool
    notice: NoticeAnswer | None
    currency_value: str
    currency: str
    grants: list[GrantAnswer]


class TransactionAnswer(BaseModel):
    id: UUID
    kind: str
    amount: str
    balance_after: str
    initiated_by: str
    note: str | None
    reference_id: str
    receipt_id: UUID | None
    created_at: datetime


class TransactionsAnswer(BaseModel):
    transactions: list[TransactionAnswer]
    total: int


@router.get("/users/me/wallet")
async def get_wallet(runtime: WithRuntime, caller: Reader) -> WalletAnswer:
    """Balance and grants. `balance` = available + held − debt; `currency_value` is what it cost at today's rate."""
    wallet = await view_wallet(runtime.database, user_id=caller.user_id)
    settings = runtime.settings
    return WalletAnswer(
        user_id=wallet.user_id,
        balance=format_credits(wallet.balance),
        available=format_credits(wallet.available),
        held=format_credits(wallet.held),
        debt=format_credits(wallet.debt),
        low_balance=wallet.available < settings.low_balance_nanocredits,
        notice=None if wallet.notice is None else NoticeAnswer(**vars(wallet.notice)),
        currency_value=format_decimal(settings.worth_of(wallet.balance), decimals=settings.money.decimals),
        currency=settings.currency,
        grants=_grants(wallet),
    )


def _grants(wallet: WalletView) -> list[GrantAnswer]:
    return [
        GrantAnswer(
            id=grant.id,
            source=grant.source,
            category=grant.category,
            amount=format_credits(grant.amount),
            remaining=format_credits(grant.remaining),
            expires_at=grant.expires_at,
        )
        for grant in wallet.grants
    ]


@router.get("/users/me/transactions")
async def get_transactions(
    runtime: WithRuntime, caller: Reader, page: WithPage, kind: Annotated[PublicKind | None, Query()] = None
) -> TransactionsAnswer:
    """Movements, newest first."""
    listed, total = await list_transactions(
        runtime.database, user_id=caller.user_id, kind=kind, limit=page.limit, offset=page.offset
    )
    return TransactionsAnswer(transactions=[transaction_answer(item) for item in listed], total=total)


def transaction_answer(item: Transaction) -> TransactionAnswer:
    return TransactionAnswer(
        id=item.id,
        kind=item.kind,
        amount=format_credits(item.amount),
        balance_after=format_credits(item.balance_after),
        initiated_by=str(item.actor) if item.actor else "system",
        note=item.note,
        reference_id=item.reference_id,
        receipt_id=item.receipt_id,
        created_at=item.created_at,
    )
