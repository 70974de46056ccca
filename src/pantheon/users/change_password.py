from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import users
from pantheon.errors import ConflictError, InvalidInputError
from pantheon.settings import Settings
from pantheon.users import attempts
from pantheon.users.passwords import hash_password, verify_password
from pantheon.users.set_password import set_password
from pantheon.users.user import lock_user


async def change_password(
    database: Database,
    settings: Settings,
    *,
    user_id: UUID,
    session_id: UUID,
    current_password: str | None,
    new_password: str,
) -> None:
    """Ends the user's other sessions. `current_password` may be missing only where there is none yet."""
    bucket = attempts.user_bucket(user_id)
    async with database.transaction() as tx:
        await attempts.count(tx, bucket, limit=settings.rate_limit_sign_ins_per_hour)
        current_hash = await _read_hash(tx, user_id)
    if current_hash is not None and not await verify_password(current_password or "", current_hash):
        raise InvalidInputError("current_password is wrong")
    new_hash = await hash_password(new_password)
    async with database.transaction() as tx:
        await lock_user(tx, user_id)
        if await _read_hash(tx, user_id) != current_hash:
            raise ConflictError("The password was changed meanwhile.")
        await set_password(tx, user_id, new_hash, keep_session=session_id)
        await attempts.forgive(tx, bucket)


async def _read_hash(tx: Tx, user_id: UUID) -> str | None:
    stored: str | None = await tx.scalar(select(users.c.password_hash).where(users.c.id == user_id))
    return stored
