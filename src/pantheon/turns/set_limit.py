from uuid import UUID

from sqlalchemy import func, select

from pantheon import audit, ids
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import spend_limits
from pantheon.errors import ConflictError, InvalidInputError
from pantheon.ledger import post
from pantheon.ledger.post import SetBy
from pantheon.money.amounts import MAX_NANOCREDITS, format_credits
from pantheon.money.periods import Period
from pantheon.turns.limits import MAX_LIMITS, Limit, Scope, check_is_theirs, ledger_id, read_limits
from pantheon.wallets.changes import credits_of, wallet_of


async def set_limit(
    database: Database,
    actor: audit.Actor,
    *,
    user_id: UUID,
    set_by: SetBy,
    scope: Scope,
    scope_id: str | None,
    period: Period,
    amount: str,
) -> Limit:
    """Sets the most credits that a period may cost, or changes what was set; 0 stops it altogether.

    It counts from the beginning of the present period. Raises NotFoundError, InvalidInputError and ConflictError.
    """
    nanocredits = credits_of(amount)
    if not 0 <= nanocredits <= MAX_NANOCREDITS:
        raise InvalidInputError(f"amount must not be negative, and at most {format_credits(MAX_NANOCREDITS)}")
    id_ = ledger_id(scope, scope_id)
    async with database.transaction() as tx:
        wallet_id = await wallet_of(tx, user_id)
        await check_is_theirs(tx, user_id=user_id, scope=scope, id=id_)
        posting = await post.set_spend_limit(
            tx,
            wallet_id=wallet_id,
            limit_id=ids.uuid7(),
            scope=scope,
            scope_id=id_,
            period=period,
            amount=nanocredits,
            set_by=set_by,
        )
        posting.expect("ok", "unchanged")
        await _refuse_too_many(tx, wallet_id, set_by)
        if set_by == "owner":
            limit = {"scope": scope, "scope_id": id_ or None, "period": period, "amount": format_credits(nanocredits)}
            await audit.record(tx, actor, "limit.set", subject=f"user:{user_id}", **limit)
        this = (
            spend_limits.c.scope == scope,
            spend_limits.c.scope_id == id_,
            spend_limits.c.period == period,
            spend_limits.c.set_by == set_by,
        )
        [limit_set] = await read_limits(tx, wallet_id, *this)
        return limit_set


async def _refuse_too_many(tx: Tx, wallet_id: UUID, set_by: SetBy) -> None:
    # The ledger has locked the wallet, so nobody adds another meanwhile.
    theirs = (spend_limits.c.wallet_id == wallet_id, spend_limits.c.set_by == set_by, spend_limits.c.ended_at.is_(None))
    if int(await tx.scalar(select(func.count()).select_from(spend_limits).where(*theirs)) or 0) > MAX_LIMITS:
        raise ConflictError(f"There are {MAX_LIMITS} limits already. Remove one that is not needed.")
