"""Is it up, and is it what it should be."""

from typing import Any

from fastapi import APIRouter, Response

from pantheon import VERSION
from pantheon.api.dependencies import WithRuntime
from pantheon.db.migrate import head, revision

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(runtime: WithRuntime) -> dict[str, Any]:
    """Which code runs, and which schema it finds and expects."""
    async with runtime.database.transaction() as tx:
        found = await revision(tx)
    return {"status": "ok", "version": VERSION, "migration_revision": found, "migration_head": head()}


@router.get("/ready")
async def ready(runtime: WithRuntime) -> Response:
    """200 when this process can serve: the database answers and has the schema that this code expects."""
    async with runtime.database.transaction() as tx:
        found = await revision(tx)
    return Response(status_code=200 if found == head() else 503)
