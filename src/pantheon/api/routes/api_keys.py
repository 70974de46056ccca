"""API keys of the caller. A key cannot manage keys: a stolen one could outlive its revocation."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field

from pantheon.api.callers import InPerson
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.strict_json import Decimal, PlainText, RequestModel, strict_router
from pantheon.money.amounts import format_credits, parse_credits
from pantheon.users.api_key import ApiKey
from pantheon.users.create_api_key import MAX_NAME_LENGTH, create_api_key
from pantheon.users.list_api_keys import list_api_keys
from pantheon.users.revoke_api_key import revoke_api_key
from pantheon.users.rights import Scope

router = strict_router("api keys")


def _credits(text: str) -> str:
    parse_credits(text)
    return text


class NewApiKey(RequestModel):
    name: Annotated[PlainText, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    monthly_limit: Annotated[Decimal, AfterValidator(_credits)] | None = None


class ShownApiKey(BaseModel):
    id: UUID
    name: str
    scopes: list[Scope]
    monthly_limit: str | None
    spent_this_month: str | None = Field(description="Counted for a key with a limit for the month, else null.")
    key_start: str
    created_at: datetime
    last_used_at: datetime | None


class CreatedApiKey(ShownApiKey):
    key: str
    """Shown this once."""


class ApiKeys(BaseModel):
    api_keys: list[ShownApiKey]
    total: int


def _fields(api_key: ApiKey) -> dict[str, Any]:
    limit, spent = api_key.monthly_limit_nanocredits, api_key.spent_this_month_nanocredits
    return {
        "id": api_key.id,
        "name": api_key.name,
        "scopes": sorted(api_key.scopes),
        "monthly_limit": None if limit is None else format_credits(limit),
        "spent_this_month": None if spent is None else format_credits(spent),
        "key_start": api_key.key_start,
        "created_at": api_key.created_at,
        "last_used_at": api_key.last_used_at,
    }


@router.post("/users/me/api-keys", status_code=201)
async def post_api_key(body: NewApiKey, caller: InPerson, response: Response, runtime: WithRuntime) -> CreatedApiKey:
    api_key, key = await create_api_key(
        runtime.database,
        runtime.settings,
        user_id=caller.user_id,
        name=body.name,
        scopes=body.scopes,
        monthly_limit_nanocredits=None if body.monthly_limit is None else parse_credits(body.monthly_limit),
        actor=caller.actor,
    )
    response.headers["Cache-Control"] = "no-store"
    return CreatedApiKey(**_fields(api_key), key=key)


@router.get("/users/me/api-keys")
async def get_api_keys(caller: InPerson, page: WithPage, runtime: WithRuntime) -> ApiKeys:
    found = await list_api_keys(runtime.database, user_id=caller.user_id, limit=page.limit, offset=page.offset)
    return ApiKeys(api_keys=[ShownApiKey(**_fields(api_key)) for api_key in found.api_keys], total=found.total)


@router.delete("/users/me/api-keys/{api_key_id}", status_code=204)
async def delete_api_key(api_key_id: UUID, caller: InPerson, runtime: WithRuntime) -> None:
    await revoke_api_key(runtime.database, user_id=caller.user_id, api_key_id=api_key_id, actor=caller.actor)
