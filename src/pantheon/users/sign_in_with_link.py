from pantheon.db.engine import Database
from pantheon.errors import LinkInvalidError
from pantheon.users.one_time_links import Purpose, find_link, use_link
from pantheon.users.sessions import Device, NewSession, open_session
from pantheon.users.user import lock_user


async def sign_in_with_link(database: Database, *, token: str, device: Device) -> NewSession:
    """Raises LinkInvalidError. Not for a GET: whoever previews a link in an e-mail must not use it up."""
    async with database.transaction() as tx:
        link = await find_link(tx, Purpose.SIGN_IN, token)
        assert link.user_id is not None
        # The user before the link, as everywhere: two who lock them in another order would wait for each other.
        user = await lock_user(tx, link.user_id)
        if user.state != "active":
            raise LinkInvalidError
        await use_link(tx, Purpose.SIGN_IN, token)
        return await open_session(tx, user.id, device)
