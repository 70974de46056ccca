"""`pantheon jobs`: work that was given up, and once more."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pantheon.cli.connect import connect
from pantheon.cli.output import AsJson, show, table

if TYPE_CHECKING:
    from pantheon.workspace.list_dead_jobs import DeadJob, JobKind

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    kind: Annotated[
        Literal["job", "event", "file", "turn"] | None,
        typer.Option(
            help="Jobs of the queue, events of Stripe, files that were not read, turns cut off. Default: all."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was given up, newest first; turns that were cut off for a week.

    Example: pantheon jobs list --kind file
    """
    from pantheon.workspace.list_dead_jobs import list_dead_jobs

    async def found() -> "tuple[list[DeadJob], int]":
        async with connect() as (_, database):
            return await list_dead_jobs(database, kind=kind, limit=limit)

    jobs, total = asyncio.run(found())
    rows = [[f"{job.since:%Y-%m-%d %H:%M:%S}", job.kind, job.what, job.attempts, job.reason, job.id] for job in jobs]
    text = table(["since", "kind", "what", "attempts", "reason", "id"], rows) + f"\n{len(rows)} of {total} given up"
    show(text, {"jobs": [asdict(job) for job in jobs], "total": total}, as_json=as_json)


@app.command()
def retry(
    job: Annotated[str, typer.Argument(metavar="ID", help="As `pantheon jobs list` shows it.")], as_json: AsJson = False
) -> None:
    """Let it be done once more. Turns cannot be: only their users may send them again.

    Example: pantheon jobs retry 1712
    """
    from pantheon.audit import Actor
    from pantheon.workspace.retry_job import retry_job

    async def retried() -> "tuple[JobKind, bool]":
        async with connect() as (_, database):
            return await retry_job(database, Actor(None, "cli"), job_id=job)

    kind, done = asyncio.run(retried())
    sentence = f"The worker does this {kind} now." if done else f"Nothing to do: this {kind} has not failed."
    show(sentence, {"kind": kind, "retried": done}, as_json=as_json)
