"""Is it up, and is it what it should be."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from pantheon import VERSION
from pantheon.api.dependencies import WithRuntime
from pantheon.commit import COMMIT
from pantheon.db.migrate import difference, head, revision
from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError, NotReadyError

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: Literal["ok", "migration_differs", "database_unavailable"]
    version: str
    commit: str
    """`unknown` where neither a checkout nor the build tells it."""
    migration_revision: str | None
    """None where the database cannot be asked, or is empty."""
    migration_head: str
    public_url: str
    """Where it believes that people reach it."""
    payments: Literal["off", "test", "live"]


@router.get("/health")
async def health(runtime: WithRuntime) -> Health:
    """Which code runs, and which schema it finds and expects.

    Always 200: a process that lost its database comes back by itself and need not be restarted.
    """
    status: Literal["ok", "migration_differs", "database_unavailable"] = "ok"
    found = None
    try:
        async with runtime.database.transaction() as tx:
            found = await revision(tx)
        if found != head():
            status = "migration_differs"
    except (DatabaseBusyError, DatabaseUnavailableError):
        status = "database_unavailable"
    return Health(
        status=status,
        version=VERSION,
        commit=runtime.settings.pantheon_commit or COMMIT or "unknown",
        migration_revision=found,
        migration_head=head(),
        public_url=runtime.settings.public_url,
        payments="off" if runtime.stripe is None else "live" if runtime.settings.livemode else "test",
    )


@router.get("/ready")
async def ready(runtime: WithRuntime) -> Response:
    """200 when this process can serve: the database answers and has the schema that this code expects."""
    async with runtime.database.transaction() as tx:
        found = await revision(tx)
    if found != head():
        raise NotReadyError(difference(found))
    return Response(status_code=200)
