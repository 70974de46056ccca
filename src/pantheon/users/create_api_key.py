from collections.abc import Collection
from uuid import UUID

from sqlalchemy import func, insert, select

from pantheon import clock, ids
from pantheon.audit import Actor
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import api_keys, wallets
from pantheon.errors import ConflictError, ForbiddenError, InvalidInputError
from pantheon.ledger import post
from pantheon.money.amounts import MAX_NANOCREDITS
from pantheon.settings import Settings
from pantheon.users.api_key import PREFIX, START_LENGTH, ApiKey
from pantheon.users.rights import Role, Scope
from pantheon.users.user import effective_role, lock_user, record_act

MAX_KEYS = 50
MAX_NAME_LENGTH = 100


async def create_api_key(
    database: Database,
    settings: Settings,
    *,
    user_id: UUID,
    name: str,
    scopes: Collection[Scope],
    monthly_limit_nanocredits: int | None = None,
    actor: Actor,
) -> tuple[ApiKey, str]:
    """The key's row, and the key itself, which cannot be read again."""
    if not name.isprintable() or not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidInputError(f"name must have 1 to {MAX_NAME_LENGTH} characters on one line")
    if not scopes:
        raise InvalidInputError("scopes must name at least one scope")
    if monthly_limit_nanocredits is not None and not 0 < monthly_limit_nanocredits <= MAX_NANOCREDITS:
        raise InvalidInputError("monthly_limit must be greater than 0 and at most 1000000000")
    key = PREFIX + ids.token()
    made = ApiKey(
        id=ids.uuid7(),
        name=name,
        scopes=frozenset(scopes),
        monthly_limit_nanocredits=monthly_limit_nanocredits,
        spent_this_month_nanocredits=None if monthly_limit_nanocredits is None else 0,
        key_start=key[:START_LENGTH],
        created_at=clock.now(),
        last_used_at=None,
    )
    async with database.transaction() as tx:
        user = await lock_user(tx, user_id)
        if Scope.ADMIN in made.scopes and effective_role(user.id, user.role, settings) is Role.USER:
            raise ForbiddenError
        mine = (api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        if (await tx.scalar(select(func.count()).select_from(api_keys).where(*mine)) or 0) >= MAX_KEYS:
            raise ConflictError(f"There are {MAX_KEYS} API keys already. Revoke one that is not used.")
        await tx.execute(
            insert(api_keys).values(
                id=made.id,
                user_id=user_id,
                name=name,
                scopes=sorted(made.scopes),
                key_hash=ids.token_hash(key),
                key_start=made.key_start,
                created_at=made.created_at,
            )
        )
        if monthly_limit_nanocredits is not None:
            await _limit(tx, user_id, made.id, monthly_limit_nanocredits, actor)
        await record_act(tx, actor, "api_key.created", user_id, api_key_id=str(made.id), scopes=sorted(made.scopes))
    return made, key


async def _limit(tx: Tx, user_id: UUID, api_key_id: UUID, nanocredits: int, actor: Actor) -> None:
    wallet_id = (await tx.scalars(select(wallets.c.id).where(wallets.c.user_id == user_id))).one()
    posting = await post.set_spend_limit(
        tx,
        wallet_id=wallet_id,
        limit_id=api_key_id,
        scope="api_key",
        scope_id=str(api_key_id),
        period="month",
        amount=nanocredits,
        # What an operator gave the key, its user cannot raise.
        set_by="user" if actor.user_id == user_id else "owner",
    )
    posting.expect("ok")
