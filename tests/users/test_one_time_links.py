"""Links that work once, for a while, for one purpose."""

import asyncio

import pytest
from sqlalchemy import func, select, text

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import one_time_links, sessions
from pantheon.errors import ConflictError, EmailTakenError, LinkInvalidError
from pantheon.settings import load
from pantheon.users.create_user import create_user
from pantheon.users.disable_user import disable_user
from pantheon.users.invite import invite
from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose, find_link, url_of
from pantheon.users.sessions import Device
from pantheon.users.sign_in_with_link import sign_in_with_link
from pantheon.users.user import User

CLI = Actor(None, "cli")


@pytest.fixture
async def ada(database: Database) -> User:
    return await create_user(database, email="ada@example.com", actor=CLI)


async def test_of_several_at_once_one_signs_in(database: Database, ada: User) -> None:
    token = await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)
    results = await asyncio.gather(
        *(sign_in_with_link(database, token=token, device=Device()) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["LinkInvalidError"] * 4 + ["NewSession"]
    async with database.transaction() as tx:
        assert await tx.scalar(select(func.count()).select_from(sessions)) == 1


async def test_looking_at_a_link_does_not_use_it_up(database: Database, ada: User) -> None:
    token = await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)
    for _ in range(2):
        async with database.transaction() as tx:
            assert (await find_link(tx, Purpose.SIGN_IN, token)).user_id == ada.id
    assert (await sign_in_with_link(database, token=token, device=Device())).user_id == ada.id


@pytest.mark.parametrize("purpose", [Purpose.PASSWORD_RESET, Purpose.INVITATION])
async def test_a_link_for_something_else_does_not_sign_in(database: Database, ada: User, purpose: Purpose) -> None:
    if purpose is Purpose.INVITATION:
        token = await invite(database, email=None, actor=CLI)
    else:
        token = await make_link(database, purpose, user_id=ada.id, actor=CLI)
    with pytest.raises(LinkInvalidError):
        await sign_in_with_link(database, token=token, device=Device())


async def test_a_link_works_until_its_time_is_over(database: Database, ada: User) -> None:
    token = await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)
    await make_link(database, Purpose.PASSWORD_RESET, user_id=ada.id, actor=CLI)
    await invite(database, email="eve@example.com", actor=CLI)
    async with database.transaction() as tx:
        lifetimes = text("SELECT purpose, extract(epoch FROM expires_at - created_at) / 3600 FROM one_time_links")
        found = {purpose: int(hours) for purpose, hours in await tx.execute(lifetimes)}
        assert found == {"sign_in": 1, "password_reset": 1, "invitation": 7 * 24}
        await tx.execute(text("UPDATE one_time_links SET expires_at = now()"))
    with pytest.raises(LinkInvalidError):
        await sign_in_with_link(database, token=token, device=Device())


async def test_a_disabled_user_has_no_links(database: Database, ada: User) -> None:
    token = await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)
    await disable_user(database, user_id=ada.id, actor=CLI)
    with pytest.raises(LinkInvalidError):
        await sign_in_with_link(database, token=token, device=Device())
    with pytest.raises(ConflictError):
        await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)


async def test_nobody_is_invited_who_has_an_account(database: Database, ada: User) -> None:
    with pytest.raises(EmailTakenError):
        await invite(database, email="ADA@example.com", actor=CLI)


async def test_made_up_tokens_are_no_links(database: Database) -> None:
    for token in ("", "x", "\0", "é", "' OR true --", "x" * 100_000):
        with pytest.raises(LinkInvalidError):
            await sign_in_with_link(database, token=token, device=Device())


async def test_only_the_hash_of_a_token_is_stored(database: Database, ada: User) -> None:
    token = await make_link(database, Purpose.SIGN_IN, user_id=ada.id, actor=CLI)
    async with database.transaction() as tx:
        assert token not in str((await tx.execute(select(one_time_links))).one())


def test_links_lead_to_the_public_address(app_url: str) -> None:
    settings = load(_env_file=None, app_env="test", database_url=app_url, public_url="https://p.example/")
    assert url_of(settings, Purpose.SIGN_IN, "t") == "https://p.example/sign-in/link/t"
    assert url_of(settings, Purpose.PASSWORD_RESET, "t") == "https://p.example/password-reset/t"
    assert url_of(settings, Purpose.INVITATION, "t") == "https://p.example/sign-up/t"
