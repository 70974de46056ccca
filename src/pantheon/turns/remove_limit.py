from uuid import UUID

from pantheon import audit
from pantheon.db.engine import Database
from pantheon.errors import NotFoundError
from pantheon.ledger import post
from pantheon.ledger.post import SetBy
from pantheon.money.periods import Period
from pantheon.turns.limits import Scope, ledger_id
from pantheon.wallets.changes import wallet_of


async def remove_limit(
    database: Database,
    actor: audit.Actor,
    *,
    user_id: UUID,
    set_by: SetBy,
    scope: Scope,
    scope_id: str | None,
    period: Period,
) -> None:
    """Raises NotFoundError where `set_by` has set no such limit, whatever the other one has."""
    id_ = ledger_id(scope, scope_id)
    async with database.transaction() as tx:
        wallet_id = await wallet_of(tx, user_id)
        posting = await post.end_spend_limit(
            tx, wallet_id=wallet_id, scope=scope, scope_id=id_, period=period, set_by=set_by
        )
        if posting.expect("ok", "unchanged").code == "unchanged":
            raise NotFoundError("There is no such limit.")
        if set_by == "owner":
            limit = {"scope": scope, "scope_id": id_ or None, "period": period}
            await audit.record(tx, actor, "limit.removed", subject=f"user:{user_id}", **limit)
