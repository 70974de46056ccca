from datetime import timedelta

from sqlalchemy import select

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import sessions, users
from pantheon.errors import ConflictError, InvalidInputError
from pantheon.settings import Settings
from pantheon.users import attempts
from pantheon.users.caller import Caller
from pantheon.users.erase_user import erase_user
from pantheon.users.passwords import verify_password

_FRESH = timedelta(minutes=15)


async def erase_own_account(
    database: Database, settings: Settings, *, caller: Caller, current_password: str | None, forfeit: bool
) -> int:
    """As `erase_user`, for those who prove anew that it is them: by their password, or where there is none by a session
    that was just opened. A token of an outside issuer is such a proof, because it lives for minutes."""
    async with database.transaction() as tx:
        bucket = attempts.user_bucket(caller.user_id)
        await attempts.count(tx, bucket, limit=settings.rate_limit_sign_ins_per_hour)
        password_hash = await tx.scalar(select(users.c.password_hash).where(users.c.id == caller.user_id))
        opened_at = await tx.scalar(select(sessions.c.created_at).where(sessions.c.id == caller.session_id))
    if password_hash is not None:
        if not await verify_password(current_password or "", password_hash):
            raise InvalidInputError("current_password is wrong")
    elif opened_at is not None and opened_at < clock.now() - _FRESH:
        raise ConflictError("Sign in again, and repeat this within 15 minutes.")
    return await erase_user(database, user_id=caller.user_id, actor=caller.actor, forfeit=forfeit)
