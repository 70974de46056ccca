"""Payments that need a decision, and events and other work that was given up. Analysts look; owners also decide."""

from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import CallerError, ConflictError, InvalidInputError
from pantheon.money.top_up import State
from pantheon.payments.explain import explain
from pantheon.payments.list_events import list_events
from pantheon.payments.replay_event import replay_event
from pantheon.payments.resolve_top_up import Action, resolve_top_up
from pantheon.payments.view_top_ups import list_all_top_ups
from pantheon.runtime import Runtime
from pantheon.web.forms import read_form, sentence
from pantheon.web.rendering import render
from pantheon.web.visitors import AdminOwner, AdminReader, Visitor
from pantheon.workspace.list_dead_jobs import list_dead_jobs
from pantheon.workspace.retry_job import retry_job

router = APIRouter()

_MOST_SHOWN = 20
_LONGEST_REASON = 256


@router.get("/admin/payments")
async def get_payments(request: Request, visitor: AdminReader, runtime: WithRuntime) -> Response:
    return await _page(request, visitor, runtime)


@router.post("/admin/payments/top-ups/{top_up_id}/resolve")
async def post_resolve(request: Request, top_up_id: UUID, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        top_up, changed = await resolve_top_up(
            runtime.database,
            visitor.caller.actor,
            top_up_id=top_up_id,
            action=_action(form.text("action")),
            reason=form.text("reason", longest=_LONGEST_REASON),
        )
    except CallerError as error:
        return await _page(request, visitor, runtime, problem=sentence(error), status=status_of(error))
    state = top_up.state.replace("_", " ")
    done = f"The top-up is {state} now." if changed else f"The top-up is {state} already, by the same decision."
    return await _page(request, visitor, runtime, done=done)


@router.post("/admin/payments/events/{inbox_event_id}/replay")
async def post_replay(request: Request, inbox_event_id: UUID, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    # Read although nothing is asked for: what belongs to a form is checked with it.
    await read_form(request)
    state, replayed = await replay_event(runtime.database, visitor.caller.actor, inbox_event_id=inbox_event_id)
    done = f"The event was {state}; the worker handles it now." if replayed else f"Nothing to do: the event is {state}."
    return await _page(request, visitor, runtime, done=done)


@router.post("/admin/payments/jobs/{job_id}/retry")
async def post_retry(request: Request, job_id: str, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    await read_form(request)
    try:
        kind, retried = await retry_job(runtime.database, visitor.caller.actor, job_id=job_id)
    except ConflictError as error:
        return await _page(request, visitor, runtime, problem=sentence(error), status=status_of(error))
    done = f"The worker does this {kind} now." if retried else f"Nothing to do: this {kind} has not failed."
    return await _page(request, visitor, runtime, done=done)


@router.get("/admin/explain")
@router.get("/admin/explain/{name}")
async def get_explanation(request: Request, name: str, visitor: AdminReader, runtime: WithRuntime) -> Response:
    explanation = await explain(runtime.database, name.strip())
    return render(request, "admin_explain.html", visitor=visitor, explanation=explanation)


def _action(written: str) -> Action:
    try:
        return Action(written)
    except ValueError:
        raise InvalidInputError("action must be chosen") from None


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    *,
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    top_ups, top_ups_total = await list_all_top_ups(runtime.database, state=State.REVIEW, limit=_MOST_SHOWN)
    events, events_total = await list_events(runtime.database, state="stuck", limit=_MOST_SHOWN)
    jobs, jobs_total = await list_dead_jobs(runtime.database, but="event", limit=_MOST_SHOWN)
    return render(
        request,
        "admin_payments.html",
        visitor=visitor,
        status=status,
        top_ups=top_ups,
        top_ups_total=top_ups_total,
        events=events,
        events_total=events_total,
        jobs=jobs,
        jobs_total=jobs_total,
        done=done,
        problem=problem,
    )
