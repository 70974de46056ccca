"""Links that work once: sign in, choose a password, accept an invitation. All of this joins the caller's `tx`."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, insert, select, update

from pantheon import clock, ids
from pantheon.db.engine import Tx
from pantheon.db.tables import one_time_links as links
from pantheon.errors import LinkInvalidError
from pantheon.settings import Settings


class Purpose(StrEnum):
    SIGN_IN = "sign_in"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose, not a password
    INVITATION = "invitation"


LIFETIMES = {
    Purpose.SIGN_IN: timedelta(hours=1),
    Purpose.PASSWORD_RESET: timedelta(hours=1),
    Purpose.INVITATION: timedelta(days=7),
}

_PATHS = {
    Purpose.SIGN_IN: "/sign-in/link/",
    Purpose.PASSWORD_RESET: "/password-reset/",
    Purpose.INVITATION: "/sign-up/",
}


@dataclass(frozen=True)
class Link:
    """What a valid link stands for: a user, or for an invitation perhaps the one e-mail that it is meant for."""

    user_id: UUID | None
    email: str | None


def url_of(settings: Settings, purpose: Purpose, token: str) -> str:
    return settings.public_url + _PATHS[purpose] + token


async def insert_link(tx: Tx, purpose: Purpose, *, user_id: UUID | None = None, email: str | None = None) -> str:
    """Answers the link's token, which cannot be read again."""
    token, now = ids.token(), clock.now()
    await tx.execute(
        insert(links).values(
            id=ids.uuid7(),
            purpose=purpose,
            token_hash=ids.token_hash(token),
            user_id=user_id,
            email=email,
            created_at=now,
            expires_at=now + LIFETIMES[purpose],
        )
    )
    return token


async def find_link(tx: Tx, purpose: Purpose, token: str) -> Link:
    """Looks without using it. Raises LinkInvalidError."""
    found = (await tx.execute(select(links.c.user_id, links.c.email).where(*_usable(purpose, token)))).one_or_none()
    if found is None:
        raise LinkInvalidError
    return Link(*found)


async def use_link(tx: Tx, purpose: Purpose, token: str) -> Link:
    """Of any number of callers at once one gets the link; the others get LinkInvalidError."""
    used = (
        await tx.execute(
            update(links)
            .where(*_usable(purpose, token))
            .values(used_at=clock.now())
            .returning(links.c.user_id, links.c.email)
        )
    ).one_or_none()
    if used is None:
        raise LinkInvalidError
    return Link(*used)


async def void_links(tx: Tx, user_id: UUID) -> None:
    """After a new password, or for a disabled user, links that were sent before must not let anybody in."""
    unused = (links.c.user_id == user_id, links.c.used_at.is_(None))
    await tx.execute(update(links).where(*unused).values(used_at=clock.now()))


def _usable(purpose: Purpose, token: str) -> tuple[ColumnElement[bool], ...]:
    return (
        links.c.token_hash == ids.token_hash(token),
        links.c.purpose == purpose,
        links.c.used_at.is_(None),
        links.c.expires_at > clock.now(),
    )
