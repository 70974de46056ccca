import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table
from pantheon.users.rights import Role

if TYPE_CHECKING:
    from pantheon.users.user import User

app = typer.Typer(no_args_is_help=True)

Email = Annotated[str, typer.Argument(help="E-mail address of the user.")]


@app.command()
def add(
    email: Email,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.USER,
    owner: Annotated[bool, typer.Option("--owner", help="The same as --role owner.")] = False,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read a password, one line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create an account with its wallet. Without a password, a link to sign in is printed; it works once, for an hour.

    Example: pantheon users add ada@example.com --owner
    """
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    user, link = asyncio.run(_add(email, Role.OWNER if owner else role, password))
    sentence = f"Created {user.email} as {user.role}, id {user.id}."
    if link is not None:
        sentence += f"\nSign in within an hour: {link}"
    show(sentence, {**_fields(user), "sign_in_link": link}, as_json=as_json)


async def _add(email: str, role: Role, password: str | None) -> "tuple[User, str | None]":
    from pantheon.audit import Actor
    from pantheon.users.create_user import create_user
    from pantheon.users.make_link import make_link
    from pantheon.users.one_time_links import Purpose, url_of

    async with connect() as (settings, database):
        user = await create_user(database, email=email, role=role, password=password, actor=Actor(None, "cli"))
        if password is not None:
            return user, None
        token = await make_link(database, Purpose.SIGN_IN, user_id=user.id, actor=Actor(None, "cli"))
        return user, url_of(settings, Purpose.SIGN_IN, token)


@app.command("list")
def list_(
    search: Annotated[str, typer.Option(help="A part of the e-mail, or an id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List users, newest first.

    Example: pantheon users list --search example.com
    """
    from pantheon.users.list_users import UserList, list_users

    async def found() -> UserList:
        async with connect() as (_, database):
            return await list_users(database, search=search, limit=limit)

    result = asyncio.run(found())
    rows = [[f"{user.created_at:%Y-%m-%d}", user.role, user.state, user.email, user.id] for user in result.users]
    text = table(["since", "role", "state", "e-mail", "id"], rows) + f"\n{len(rows)} of {result.total} users"
    fields = {"users": [_fields(user) for user in result.users], "total": result.total}
    show(text, fields, as_json=as_json)


@app.command()
def role(
    email: Email,
    new_role: Annotated[Role, typer.Argument(metavar="ROLE", help="The new role.")],
    as_json: AsJson = False,
) -> None:
    """Change what a user may do.

    Example: pantheon users role ada@example.com analyst
    """
    from pantheon.audit import Actor
    from pantheon.users.find_user import find_user
    from pantheon.users.set_role import set_role

    async def changed() -> "User":
        async with connect() as (_, database):
            user = await find_user(database, email)
            await set_role(database, user_id=user.id, role=new_role, actor=Actor(None, "cli"))
            return user

    user = asyncio.run(changed())
    show(f"{user.email} was {user.role} and is {new_role} now.", {**_fields(user), "role": new_role}, as_json=as_json)


@app.command()
def reset_link(email: Email, as_json: AsJson = False) -> None:
    """Print a link with which a user chooses a new password. It works once, for an hour.

    Example: pantheon users reset-link ada@example.com
    """
    from pantheon.audit import Actor
    from pantheon.users.find_user import find_user
    from pantheon.users.make_link import make_link
    from pantheon.users.one_time_links import Purpose, url_of

    async def made() -> str:
        async with connect() as (settings, database):
            user = await find_user(database, email)
            token = await make_link(database, Purpose.PASSWORD_RESET, user_id=user.id, actor=Actor(None, "cli"))
            return url_of(settings, Purpose.PASSWORD_RESET, token)

    link = asyncio.run(made())
    show(link, {"reset_link": link}, as_json=as_json)


@app.command()
def invite(
    email: Annotated[str | None, typer.Argument(help="The one address that may use it. Default: anybody.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a link with which somebody creates an account. It works once, for seven days.

    Example: pantheon users invite ada@example.com
    """
    from pantheon.audit import Actor
    from pantheon.errors import RegistrationClosedError
    from pantheon.users.invite import invite as make_invitation
    from pantheon.users.one_time_links import Purpose, url_of

    async def made() -> str:
        async with connect() as (settings, database):
            if settings.registration == "closed":
                raise RegistrationClosedError("REGISTRATION is closed: an invitation works with `invite` or `open`.")
            token = await make_invitation(database, email=email, actor=Actor(None, "cli"))
            return url_of(settings, Purpose.INVITATION, token)

    link = asyncio.run(made())
    show(link, {"invitation_link": link}, as_json=as_json)


@app.command()
def disable(email: Email, as_json: AsJson = False) -> None:
    """Lock a user out at once: sessions and links end, API keys are refused. Nothing is deleted.

    Example: pantheon users disable ada@example.com
    """
    from pantheon.audit import Actor
    from pantheon.users.disable_user import disable_user
    from pantheon.users.find_user import find_user

    async def disabled() -> "User":
        async with connect() as (_, database):
            user = await find_user(database, email)
            await disable_user(database, user_id=user.id, actor=Actor(None, "cli"))
            return user

    user = asyncio.run(disabled())
    show(f"{user.email} is disabled.", {**_fields(user), "state": "disabled"}, as_json=as_json)


@app.command()
def enable(email: Email, as_json: AsJson = False) -> None:
    """Let a disabled user in again.

    Example: pantheon users enable ada@example.com
    """
    from pantheon.audit import Actor
    from pantheon.users.enable_user import enable_user
    from pantheon.users.find_user import find_user

    async def enabled() -> "User":
        async with connect() as (_, database):
            user = await find_user(database, email)
            await enable_user(database, user_id=user.id, actor=Actor(None, "cli"))
            return user

    user = asyncio.run(enabled())
    show(f"{user.email} is active again.", {**_fields(user), "state": "active"}, as_json=as_json)


@app.command()
def erase(
    email: Annotated[str, typer.Argument(metavar="EMAIL|ID", help="E-mail address or id of the user.")],
    forfeit: Annotated[bool, typer.Option("--forfeit", help="Credits that are left are given up.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person for good: who they were, and all they had in rooms. The books stay; docs/privacy.md says why.

    Example: pantheon users erase ada@example.com
    """
    from pantheon.audit import Actor
    from pantheon.money.amounts import format_credits
    from pantheon.users.erase_user import erase_user
    from pantheon.users.find_user import find_user

    async def erased() -> "tuple[User, int]":
        async with connect() as (_, database):
            user = await find_user(database, email)
            if not yes:
                typer.confirm(f"Erase {user.email or user.id} for good?", abort=True, err=True)
            return user, await erase_user(database, user_id=user.id, actor=Actor(None, "cli"), forfeit=forfeit)

    user, forfeited = asyncio.run(erased())
    sentence = f"The user {user.id} is erased, {format_credits(forfeited)} credits were forfeited."
    sentence += " A worker purges rooms and files."
    show(sentence, {"id": user.id, "state": "deleted", "forfeited": format_credits(forfeited)}, as_json=as_json)


def _fields(user: "User") -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "role": user.role,
        "state": user.state,
        "created_at": user.created_at.isoformat(),
    }
