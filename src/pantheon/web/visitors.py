"""Who looks at a page. Pages know the session cookie alone; API keys and tokens are for the API."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request

from pantheon.api import csrf
from pantheon.api.callers import session_caller
from pantheon.api.dependencies import WithRuntime
from pantheon.errors import CrossSiteRequestError, NotSignedInError
from pantheon.users.caller import Caller
from pantheon.users.rights import Role
from pantheon.wallets.notice_balance import Notice, find_notice

HOME = "/wallet"

_OWN_PATH = re.compile(r"/(wallet|usage|receipts|account|admin)(/[A-Za-z0-9-]+)*(\?[A-Za-z0-9=&_.%+-]*)?")


@dataclass(frozen=True)
class Visitor:
    caller: Caller
    csrf_token: str
    """For the forms of the page."""
    notice: Notice | None
    """What every page says of a balance that goes down."""

    @property
    def reads_admin(self) -> bool:
        return self.caller.role in (Role.ANALYST, Role.OWNER)

    @property
    def changes_admin(self) -> bool:
        return self.caller.role is Role.OWNER


async def find_visitor(request: Request, runtime: WithRuntime) -> Visitor | None:
    """None for somebody who is not signed in. Raises CrossSiteRequestError."""
    caller = await session_caller(request, runtime)
    if caller is None:
        return None
    assert caller.session_id is not None
    async with runtime.database.transaction() as tx:
        notice = await find_notice(tx, caller.user_id)
    return Visitor(caller, csrf.token_for(runtime.settings, caller.session_id), notice)


async def _visitor(visitor: Annotated[Visitor | None, Depends(find_visitor)]) -> Visitor:
    if visitor is None:
        raise NotSignedInError
    return visitor


async def _admin_reader(visitor: Annotated[Visitor, Depends(_visitor)]) -> Visitor:
    visitor.caller.require_admin_read()
    return visitor


async def _admin_owner(visitor: Annotated[Visitor, Depends(_visitor)]) -> Visitor:
    visitor.caller.require_admin_change()
    return visitor


async def _from_own_page(request: Request, runtime: WithRuntime) -> None:
    """For forms of people who have no session yet, and so no token: a browser says where a form was sent from."""
    if not csrf.check_origin(request, runtime.settings):
        raise CrossSiteRequestError


WithVisitor = Annotated[Visitor, Depends(_visitor)]
MaybeVisitor = Annotated[Visitor | None, Depends(find_visitor)]
AdminReader = Annotated[Visitor, Depends(_admin_reader)]
AdminOwner = Annotated[Visitor, Depends(_admin_owner)]
FROM_OWN_PAGE = [Depends(_from_own_page)]


def safe_next(address: str | None) -> str:
    """Where to go after signing in: one of our pages, and nowhere else whatever a link says."""
    return address if address is not None and _OWN_PATH.fullmatch(address) else HOME


def sign_in_address(wanted: str) -> str:
    return "/sign-in" if safe_next(wanted) == HOME else f"/sign-in?next={quote(wanted, safe='/')}"
