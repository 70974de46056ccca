"""Leaving: the caller takes along what is theirs, and is erased. In person only: an API key does neither."""

from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from pantheon.api.callers import InPerson, clear_session_cookie, uses_cookie
from pantheon.api.dependencies import WithRuntime
from pantheon.api.routes.auth import Secret
from pantheon.api.strict_json import RequestModel, strict_router
from pantheon.money.amounts import format_credits
from pantheon.users.erase_own_account import erase_own_account
from pantheon.workspace.export_account import begin_export, export_account

router = strict_router("account")

_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}}}


class Erasure(RequestModel):
    current_password: Secret | None = Field(
        default=None, description="Needed where there is one. Else the session must be younger than 15 minutes."
    )
    forfeit: bool = Field(default=False, description="Credits that are left are given up. Without it they are a 409.")


class Erased(BaseModel):
    forfeited: str = Field(description="Credits that were given up.")


@router.get("/users/me/export", response_class=Response, responses=_ZIP)
async def get_export(caller: InPerson, runtime: WithRuntime) -> StreamingResponse:
    """All that is stored about the caller, as a zip archive: JSON lines for each kind, and the files. Three a day."""
    await begin_export(runtime.database, caller=caller)
    headers = {
        "Content-Disposition": 'attachment; filename="pantheon-export.zip"',
        "Cache-Control": "private, no-store",
    }
    archive = export_account(runtime.database, runtime.storage, user_id=caller.user_id)
    return StreamingResponse(archive, media_type="application/zip", headers=headers)


@router.delete("/users/me", status_code=202)
async def delete_account(
    body: Erasure, caller: InPerson, request: Request, response: Response, runtime: WithRuntime
) -> Erased:
    """Erases the caller at once and for good; what is in their rooms and files is gone within the hour.

    409 while a payment or work is under way, or credits are left. What stays and why: docs/privacy.md.
    """
    forfeited = await erase_own_account(
        runtime.database,
        runtime.settings,
        caller=caller,
        current_password=None if body.current_password is None else body.current_password.get_secret_value(),
        forfeit=body.forfeit,
    )
    if uses_cookie(request):
        clear_session_cookie(response, runtime.settings)
    return Erased(forfeited=format_credits(forfeited))
