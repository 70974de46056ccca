from pantheon.db.engine import Database
from pantheon.users.one_time_links import Purpose, find_link, use_link
from pantheon.users.passwords import hash_password
from pantheon.users.set_password import set_password
from pantheon.users.user import lock_user


async def reset_password(database: Database, *, token: str, password: str) -> None:
    """Sets the password of whoever the link was made for, and ends all their sessions. Raises LinkInvalidError."""
    async with database.transaction() as tx:
        # Looked at first: nobody can make us compute hashes with made-up tokens.
        link = await find_link(tx, Purpose.PASSWORD_RESET, token)
    assert link.user_id is not None
    password_hash = await hash_password(password)
    async with database.transaction() as tx:
        await lock_user(tx, link.user_id)
        await use_link(tx, Purpose.PASSWORD_RESET, token)
        await set_password(tx, link.user_id, password_hash)
