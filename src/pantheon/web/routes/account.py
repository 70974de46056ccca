"""One's own account: who one is, the password, and API keys."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import CallerError, InvalidInputError
from pantheon.money.amounts import parse_credits
from pantheon.runtime import Runtime
from pantheon.users.change_password import change_password
from pantheon.users.create_api_key import create_api_key
from pantheon.users.list_api_keys import list_api_keys
from pantheon.users.revoke_api_key import revoke_api_key
from pantheon.users.rights import Role, Scope
from pantheon.web.forms import Form, read_form, sentence
from pantheon.web.rendering import redirect, render
from pantheon.web.visitors import Visitor, WithVisitor

router = APIRouter()

_MOST_KEYS_SHOWN = 200

SCOPES = {
    Scope.WALLET_READ: "See the wallet and its history",
    Scope.WALLET_TOP_UP: "Open top-ups",
    Scope.USAGE_READ: "See usage",
    Scope.WORKSPACE: "Work with rooms and agents",
    Scope.MODELS_CALL: "Call models, which spends credits",
    Scope.ADMIN: "Do what an admin may do",
}


@router.get("/account")
async def get_account(request: Request, visitor: WithVisitor, runtime: WithRuntime, done: str = "") -> Response:
    return await _page(request, visitor, runtime, password_changed=done == "password", key_revoked=done == "key")


@router.post("/account/password")
async def post_password(request: Request, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    assert visitor.caller.session_id is not None
    try:
        await change_password(
            runtime.database,
            runtime.settings,
            user_id=visitor.caller.user_id,
            session_id=visitor.caller.session_id,
            current_password=form.secret("current_password"),
            new_password=form.secret("new_password"),
        )
    except CallerError as error:
        return await _page(request, visitor, runtime, status=status_of(error), password_problem=sentence(error))
    return redirect("/account?done=password")


@router.post("/account/api-keys")
async def post_api_key(request: Request, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    """Answers with a page and not with a redirect: it is the only one that shows the key."""
    form = await read_form(request)
    try:
        limit = form.text("monthly_limit", longest=40)
        _, key = await create_api_key(
            runtime.database,
            runtime.settings,
            user_id=visitor.caller.user_id,
            name=form.text("name"),
            scopes=[scope for scope in Scope if scope in form.texts("scopes")],
            monthly_limit_nanocredits=_credits(limit) if limit else None,
            actor=visitor.caller.actor,
        )
    except CallerError as error:
        return await _page(
            request, visitor, runtime, status=status_of(error), key_problem=sentence(error), key_form=form
        )
    return await _page(request, visitor, runtime, status=201, new_key=key)


def _credits(written: str) -> int:
    try:
        return parse_credits(written)
    except ValueError as error:
        raise InvalidInputError(f"monthly_limit {error}") from None


@router.post("/account/api-keys/{api_key_id}/revoke")
async def post_revoke(api_key_id: UUID, visitor: WithVisitor, runtime: WithRuntime) -> Response:
    caller = visitor.caller
    await revoke_api_key(runtime.database, user_id=caller.user_id, api_key_id=api_key_id, actor=caller.actor)
    return redirect("/account?done=key#api-keys")


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    *,
    status: int = 200,
    password_changed: bool = False,
    password_problem: str | None = None,
    key_revoked: bool = False,
    key_problem: str | None = None,
    key_form: Form | None = None,
    new_key: str | None = None,
) -> Response:
    listed = await list_api_keys(runtime.database, user_id=visitor.caller.user_id, limit=_MOST_KEYS_SHOWN)
    filled: dict[str, Any] = {"name": "", "monthly_limit": "", "scopes": []}
    if key_form is not None:
        filled = {name: key_form.shown(name) for name in ("name", "monthly_limit")}
        filled["scopes"] = key_form.texts("scopes")
    scopes = {scope: text for scope, text in SCOPES.items() if scope is not Scope.ADMIN or visitor.reads_admin}
    return render(
        request,
        "account.html",
        visitor=visitor,
        status=status,
        api_keys=listed.api_keys,
        scopes=scopes,
        password_changed=password_changed,
        password_problem=password_problem,
        key_revoked=key_revoked,
        key_problem=key_problem,
        key_form=filled,
        new_key=new_key,
        role_text=_ROLES[visitor.caller.role],
    )


_ROLES = {
    Role.USER: "User",
    Role.ANALYST: "Analyst: sees what admins see",
    Role.OWNER: "Owner: sees and changes what admins do",
}
