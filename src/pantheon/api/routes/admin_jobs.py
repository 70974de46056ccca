"""Work that was given up, whatever did it: operators see it, and owners let it be done once more."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from pantheon.api.callers import AdminOwner, AdminReader
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.workspace.list_dead_jobs import DeadJob, JobKind, list_dead_jobs
from pantheon.workspace.retry_job import retry_job

router: APIRouter = strict_router("admin")


class JobsAnswer(BaseModel):
    jobs: list[DeadJob]
    total: int


class RetryAnswer(BaseModel):
    kind: JobKind
    retried: bool = Field(description="False where it has not failed, or not any more.")


@router.get("/admin/jobs")
async def get_jobs(
    runtime: WithRuntime, caller: AdminReader, page: WithPage, kind: JobKind | None = None
) -> JobsAnswer:
    """What was given up, newest first: jobs of the queue, events, the parsing of files, and of the last week turns."""
    found, total = await list_dead_jobs(runtime.database, kind=kind, limit=page.limit, offset=page.offset)
    return JobsAnswer(jobs=found, total=total)


@router.post("/admin/jobs/{id}/retry")
async def post_retry(id: str, runtime: WithRuntime, caller: AdminOwner) -> RetryAnswer:
    """Lets it be done once more. A turn is 409: only its user may send it again, because it spends their credits."""
    kind, retried = await retry_job(runtime.database, caller.actor, job_id=id)
    return RetryAnswer(kind=kind, retried=retried)
