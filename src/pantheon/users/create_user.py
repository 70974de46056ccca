from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from pantheon import clock, ids
from pantheon.audit import Actor
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import users
from pantheon.errors import EmailTakenError
from pantheon.ledger import post
from pantheon.users.email import normalise_email
from pantheon.users.passwords import hash_password
from pantheon.users.rights import Role
from pantheon.users.user import User, record_act


async def create_user(
    database: Database, *, email: str, actor: Actor, role: Role = Role.USER, password: str | None = None
) -> User:
    """An account with its wallet. Without a password its owner needs a one-time link to sign in."""
    address = normalise_email(email)
    password_hash = None if password is None else await hash_password(password)
    async with database.transaction() as tx:
        user = await insert_user(tx, email=address, role=role, password_hash=password_hash)
        await record_act(tx, actor, "user.created", user.id, role=role)
    return user


async def insert_user(tx: Tx, *, email: str | None, role: Role = Role.USER, password_hash: str | None = None) -> User:
    """Joins `tx`, which is whole again after an EmailTakenError: the address was looked at and nothing written."""
    user = User(ids.uuid7(), email, role, "active", clock.now())
    row = {"id": user.id, "email": email, "role": role, "password_hash": password_hash, "created_at": user.created_at}
    inserted: UUID | None = await tx.scalar(
        insert(users).values(row).on_conflict_do_nothing(index_elements=["email"]).returning(users.c.id)
    )
    if inserted is None:
        raise EmailTakenError
    (await post.open_wallet(tx, wallet_id=ids.uuid7(), user_id=user.id)).expect("ok")
    return user
