from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from pantheon.db.engine import Database
from pantheon.db.tables import api_keys
from pantheon.users.api_key import COLUMNS, ApiKey, api_key_of


@dataclass(frozen=True)
class ApiKeyList:
    api_keys: list[ApiKey]
    total: int


async def list_api_keys(database: Database, *, user_id: UUID, limit: int = 50, offset: int = 0) -> ApiKeyList:
    """The user's keys that work, newest first."""
    mine = (api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    async with database.transaction() as tx:
        total = await tx.scalar(select(func.count()).select_from(api_keys).where(*mine))
        page = select(*COLUMNS).where(*mine).order_by(api_keys.c.id.desc())
        rows = await tx.execute(page.limit(limit).offset(offset))
        return ApiKeyList([api_key_of(row) for row in rows], total or 0)
