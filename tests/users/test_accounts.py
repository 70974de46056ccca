"""Accounts: made with a wallet, found again, changed by operators and audited."""

import asyncio
import json
import unicodedata
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from pantheon.audit import Actor
from pantheon.db.engine import Database
from pantheon.db.tables import api_keys, audit_log, sessions, users, wallets
from pantheon.errors import ConflictError, EmailTakenError, InvalidInputError, NotFoundError
from pantheon.settings import Settings, load
from pantheon.users.create_api_key import create_api_key
from pantheon.users.create_user import create_user
from pantheon.users.disable_user import disable_user
from pantheon.users.email import normalise_email
from pantheon.users.enable_user import enable_user
from pantheon.users.find_user import find_user
from pantheon.users.list_users import list_users
from pantheon.users.make_first_owner import link_for_local_owner
from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose
from pantheon.users.passwords import hash_password, verify_password
from pantheon.users.revoke_api_key import revoke_api_key
from pantheon.users.rights import Role, Scope
from pantheon.users.sessions import Device, open_session
from pantheon.users.set_role import set_role
from pantheon.users.sign_in_with_link import sign_in_with_link

CLI = Actor(None, "cli")


@pytest.fixture
def settings(app_url: str) -> Settings:
    return load(_env_file=None, app_env="test", database_url=app_url)


async def test_a_user_and_the_wallet_are_made_together_or_not_at_all(database: Database) -> None:
    results = await asyncio.gather(
        *(create_user(database, email="Ada@Example.com", actor=CLI) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["EmailTakenError"] * 3 + ["User"]
    async with database.transaction() as tx:
        user = (await tx.execute(select(users))).one()
        wallet = (await tx.execute(select(wallets))).one()
    assert (user.email, user.role, user.state, user.password_hash) == ("ada@example.com", "user", "active", None)
    assert (wallet.user_id, wallet.available) == (user.id, 0)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("  ada@example.com\n", "ada@example.com"),
        ("ada+tag@sub.example.com", "ada+tag@sub.example.com"),
        ("ZOE\u0301@example.com", "zo\u00e9@example.com"),
        ("a@b", "a@b"),
        ("x" * 252 + "@b", "x" * 252 + "@b"),
    ],
)
def test_an_email_has_one_spelling(written: str, stored: str) -> None:
    assert normalise_email(written) == stored


@pytest.mark.parametrize(
    "written",
    [
        *("", "ada", "@", "ada@", "@example.com", "a@b@c", "a b@c", "a@b\nc@d", "x" * 253 + "@b"),
        *("a@b\0", "a\u200b@b", "\u202ea@b", "\ud800@b", "a\u00a0b@c"),
    ],
)
def test_what_cannot_be_an_email_is_refused(written: str) -> None:
    with pytest.raises(InvalidInputError):
        normalise_email(written)


async def test_the_database_agrees_that_our_spelling_is_lower_case(database: Database) -> None:
    """Else its constraint would answer with an error that nobody expects."""
    printable = [chr(code) for code in range(0x110000) if chr(code).isprintable() and not chr(code).isspace()]
    spellings = [unicodedata.normalize("NFC", f"{character}@b".lower()) for character in printable]
    async with database.transaction() as tx:
        query = text("SELECT e FROM unnest(CAST(:spellings AS text[])) AS e WHERE e <> lower(e)")
        assert [row.e for row in await tx.execute(query, {"spellings": spellings})] == []


async def test_a_password_is_the_same_however_the_keyboard_composed_it() -> None:
    stored = await hash_password("cafe\u0301 au lait")
    assert await verify_password("caf\u00e9 au lait", stored)
    assert not await verify_password("cafe au lait", stored)


async def test_where_there_is_no_hash_no_password_is_right() -> None:
    assert not await verify_password("nobody has this password", None)


async def test_what_operators_do_to_others_is_audited_without_secrets(database: Database, settings: Settings) -> None:
    owner = await create_user(database, email="owner@example.com", role=Role.OWNER, actor=CLI)
    acting = Actor(owner.id, "session", "203.0.113.9")
    ada = await create_user(database, email="ada@example.com", password="correct horse", actor=acting)
    token = await make_link(database, Purpose.PASSWORD_RESET, user_id=ada.id, actor=acting)
    scopes = [Scope.USAGE_READ]
    made, key = await create_api_key(database, settings, user_id=ada.id, name="n", scopes=scopes, actor=acting)
    await revoke_api_key(database, user_id=ada.id, api_key_id=made.id, actor=acting)
    await set_role(database, user_id=ada.id, role=Role.ANALYST, actor=acting)
    await disable_user(database, user_id=ada.id, actor=acting)
    await enable_user(database, user_id=ada.id, actor=acting)
    async with database.transaction() as tx:
        rows = (await tx.execute(select(audit_log).order_by(audit_log.c.seq))).all()
    assert [row.action for row in rows] == [
        *("user.created", "user.created", "user.link_made", "api_key.created", "api_key.revoked"),
        *("user.role_set", "user.disabled", "user.enabled"),
    ]
    assert {row.subject for row in rows[1:]} == {f"user:{ada.id}"}
    assert {(row.actor, row.actor_name, row.ip) for row in rows[1:]} == {(owner.id, "session", "203.0.113.9")}
    assert rows[5].details == {"before": "user", "after": "analyst"}
    written = json.dumps([[str(value) for value in row] for row in rows])
    assert not any(secret in written for secret in (token, key, "correct horse", "argon2", "ada@example.com"))


async def test_what_people_do_to_themselves_is_not_audited(database: Database, settings: Settings) -> None:
    ada = await create_user(database, email="ada@example.com", actor=CLI)
    own = Actor(ada.id, "session")
    made, _ = await create_api_key(database, settings, user_id=ada.id, name="n", scopes=[Scope.USAGE_READ], actor=own)
    await revoke_api_key(database, user_id=ada.id, api_key_id=made.id, actor=own)
    async with database.transaction() as tx:
        assert await tx.scalar(select(func.count()).select_from(audit_log)) == 1


async def test_an_owner_cannot_demote_or_disable_themselves(database: Database) -> None:
    owner = await create_user(database, email="owner@example.com", role=Role.OWNER, actor=CLI)
    own = Actor(owner.id, "session")
    with pytest.raises(ConflictError):
        await set_role(database, user_id=owner.id, role=Role.USER, actor=own)
    with pytest.raises(ConflictError):
        await disable_user(database, user_id=owner.id, actor=own)
    assert (await find_user(database, "owner@example.com")).role is Role.OWNER


async def test_disabling_ends_the_sessions_and_is_done_once(database: Database) -> None:
    ada = await create_user(database, email="ada@example.com", actor=CLI)
    async with database.transaction() as tx:
        await open_session(tx, ada.id, Device("203.0.113.9", "Browser\x07 with\x00 bells"))
        session = (await tx.execute(select(sessions))).one()
    assert (session.ip, session.user_agent) == ("203.0.113.9", "Browser with bells")
    await disable_user(database, user_id=ada.id, actor=CLI)
    async with database.transaction() as tx:
        assert await tx.scalar(select(func.count()).select_from(sessions)) == 0
    with pytest.raises(ConflictError):
        await disable_user(database, user_id=ada.id, actor=CLI)
    await enable_user(database, user_id=ada.id, actor=CLI)
    with pytest.raises(ConflictError):
        await enable_user(database, user_id=ada.id, actor=CLI)


async def test_nobody_can_be_changed_who_is_not_there(database: Database, settings: Settings) -> None:
    for act in (
        set_role(database, user_id=uuid4(), role=Role.OWNER, actor=CLI),
        disable_user(database, user_id=uuid4(), actor=CLI),
        enable_user(database, user_id=uuid4(), actor=CLI),
        make_link(database, Purpose.SIGN_IN, user_id=uuid4(), actor=CLI),
        create_api_key(database, settings, user_id=uuid4(), name="n", scopes=[Scope.ADMIN], actor=CLI),
        find_user(database, "nobody@example.com"),
    ):
        with pytest.raises(NotFoundError):
            await act


async def test_users_are_found_by_a_part_of_the_email_or_the_id(database: Database) -> None:
    made = [await create_user(database, email=f"user{n}@example.com", actor=CLI) for n in range(3)]
    await create_user(database, email="100%_off@shop.example", actor=CLI)

    async def found(search: str, **page: int) -> tuple[list[str | None], int]:
        result = await list_users(database, search=search, **page)
        return [user.email for user in result.users], result.total

    assert await found("USER") == (["user2@example.com", "user1@example.com", "user0@example.com"], 3)
    assert await found("user", limit=1, offset=1) == (["user1@example.com"], 3)
    assert await found(str(made[0].id).upper()) == (["user0@example.com"], 1)
    assert await found("%") == (["100%_off@shop.example"], 1)
    assert (await found(""))[1] == 4
    for hostile in ("\0", "\ud800", "nobody", str(uuid4()), "'; --"):
        assert await found(hostile) == ([], 0)


async def test_an_email_that_is_taken_leaves_nothing_behind(database: Database) -> None:
    await create_user(database, email="ada@example.com", actor=CLI)
    with pytest.raises(EmailTakenError):
        await create_user(database, email="ADA@example.com", actor=CLI)
    async with database.transaction() as tx:
        counts = [await tx.scalar(select(func.count()).select_from(t)) for t in (users, wallets, audit_log, api_keys)]
    assert counts == [1, 1, 1, 0]


async def test_a_local_installation_has_one_first_owner_and_each_start_makes_a_link(database: Database) -> None:
    for _ in range(2):
        token = await link_for_local_owner(database)
        session = await sign_in_with_link(database, token=token, device=Device())
        assert (await find_user(database, "owner@localhost")).id == session.user_id
    assert (await list_users(database)).total == 1
