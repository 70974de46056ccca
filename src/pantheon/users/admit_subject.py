from sqlalchemy import insert, select

from pantheon.db import locks
from pantheon.db.engine import Database, Tx
from pantheon.db.locks import Lock
from pantheon.db.tables import identities, users
from pantheon.errors import EmailTakenError, InvalidInputError
from pantheon.users.create_user import insert_user
from pantheon.users.email import normalise_email
from pantheon.users.tokens import Claims
from pantheon.users.user import COLUMNS, User, user_of


async def admit_subject(database: Database, claims: Claims) -> User:
    """The user whom an issuer's valid token names. The first call of a subject creates the user, with a wallet."""
    async with database.transaction() as tx:
        user = await _find(tx, claims)
        if user is not None:
            return user
        # First calls of the same subject take turns, so that one of them creates and the others find.
        await locks.take(tx, Lock.SUBJECT, f"{claims.issuer} {claims.subject}")
        return await _find(tx, claims) or await _create(tx, claims)


async def _find(tx: Tx, claims: Claims) -> User | None:
    query = (
        select(*COLUMNS)
        .join(identities, identities.c.user_id == users.c.id)
        .where(identities.c.issuer == claims.issuer, identities.c.subject == claims.subject)
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else user_of(row)


async def _create(tx: Tx, claims: Claims) -> User:
    try:
        user = await insert_user(tx, email=_usable_email(claims))
    except EmailTakenError:
        # Never joined to the account that has the address: the issuer's word about an e-mail is no proof to us.
        user = await insert_user(tx, email=None)
    await tx.execute(
        insert(identities).values(
            issuer=claims.issuer, subject=claims.subject, user_id=user.id, created_at=user.created_at
        )
    )
    return user


def _usable_email(claims: Claims) -> str | None:
    try:
        return None if claims.email is None else normalise_email(claims.email)
    except InvalidInputError:
        return None
