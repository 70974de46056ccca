from pantheon.db.engine import Database
from pantheon.errors import LinkInvalidError, RegistrationClosedError
from pantheon.settings import Settings
from pantheon.users import attempts
from pantheon.users.create_user import insert_user
from pantheon.users.email import normalise_email
from pantheon.users.one_time_links import Link, Purpose, find_link, use_link
from pantheon.users.passwords import hash_password
from pantheon.users.sessions import Device, NewSession, open_session


async def sign_up(
    database: Database, settings: Settings, *, email: str, password: str, invitation: str | None, device: Device
) -> NewSession:
    """Creates an account for oneself, as far as REGISTRATION allows, and signs in."""
    if settings.registration == "closed":
        raise RegistrationClosedError
    if settings.registration == "invite" and invitation is None:
        raise RegistrationClosedError("An invitation is needed to create an account here.")
    address = normalise_email(email)
    async with database.transaction() as tx:
        # Not forgiven when it succeeds: one address may not fill the installation with accounts.
        limit = settings.rate_limit_sign_ins_per_hour
        await attempts.count(tx, attempts.address_bucket(device.ip), limit=limit)
        if invitation is not None:
            _require_meant_for(address, await find_link(tx, Purpose.INVITATION, invitation))
    password_hash = await hash_password(password)
    async with database.transaction() as tx:
        if invitation is not None:
            await use_link(tx, Purpose.INVITATION, invitation)
        user = await insert_user(tx, email=address, password_hash=password_hash)
        return await open_session(tx, user.id, device)


def _require_meant_for(address: str, link: Link) -> None:
    if link.email not in (None, address):
        raise LinkInvalidError("This invitation is for another e-mail address.")
