from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database, Tx
from pantheon.db.tables import users
from pantheon.errors import WrongCredentialsError
from pantheon.settings import Settings
from pantheon.users import attempts
from pantheon.users.email import normalise_email
from pantheon.users.passwords import verify_password
from pantheon.users.sessions import Device, NewSession, open_session


async def sign_in(database: Database, settings: Settings, *, email: str, password: str, device: Device) -> NewSession:
    """Raises WrongCredentialsError, the same and after the same time whether the account exists, is disabled or not."""
    address = normalise_email(email)
    buckets = (attempts.address_bucket(device.ip), attempts.email_bucket(address))
    async with database.transaction() as tx:
        await attempts.count(tx, *buckets, limit=settings.rate_limit_sign_ins_per_hour)
        account = await _find_account(tx, address)
    if not await verify_password(password, account.password_hash if account else None) or account is None:
        raise WrongCredentialsError
    async with database.transaction() as tx:
        # Between the two transactions the password may have been changed, which ends the sessions there were.
        unchanged = await _is_unchanged(tx, account)
        if not unchanged:
            raise WrongCredentialsError
        await attempts.forgive(tx, *buckets)
        return await open_session(tx, account.id, device)


@dataclass(frozen=True)
class _Account:
    id: UUID
    password_hash: str


async def _find_account(tx: Tx, email: str) -> _Account | None:
    found = (
        await tx.execute(
            select(users.c.id, users.c.password_hash).where(
                users.c.email == email, users.c.state == "active", users.c.password_hash.is_not(None)
            )
        )
    ).one_or_none()
    return None if found is None else _Account(*found)


async def _is_unchanged(tx: Tx, account: _Account) -> bool:
    same = (users.c.id == account.id, users.c.state == "active", users.c.password_hash == account.password_hash)
    # Locked, so that a change of password waits and then ends the session that is about to be opened.
    return await tx.scalar(select(users.c.id).where(*same).with_for_update(read=True)) is not None
