from pantheon import audit
from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.errors import EmailTakenError
from pantheon.users.email import normalise_email
from pantheon.users.find_user import find_by_email
from pantheon.users.one_time_links import Purpose, insert_link


async def invite(database: Database, *, email: str | None, actor: Actor) -> str:
    """The token of an invitation, for anybody or for the one address that it names."""
    address = None if email is None else normalise_email(email)
    async with database.transaction() as tx:
        if address is not None and await find_by_email(tx, address) is not None:
            raise EmailTakenError
        token = await insert_link(tx, Purpose.INVITATION, email=address)
        # The address stays out of the audit log, which can never be redacted.
        await audit.record(tx, actor, "invitation.made", subject="installation", for_one_address=address is not None)
    return token
