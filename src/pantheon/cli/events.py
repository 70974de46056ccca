"""`pantheon events`: what Stripe told us, what became of it, and once more."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pantheon.cli.connect import connect
from pantheon.cli.ledger import find_explanation
from pantheon.cli.output import AsJson, show, show_explanation, table

if TYPE_CHECKING:
    from pantheon.payments.list_events import EventView

app = typer.Typer(no_args_is_help=True)

_NOTHING_TO_DO = {
    "received": "The event is about to be handled anyway.",
    "done": "The event is done. Handling it again would change nothing.",
    "ignored": "The event is ignored: it is none of this installation's.",
}

EventName = Annotated[str, typer.Argument(metavar="ID", help="Our id of the event, or Stripe's (evt_…).")]


@app.command("list")
def list_(
    state: Annotated[
        Literal["received", "failed", "done", "ignored", "parked", "dead", "stuck"] | None,
        typer.Option(help="`failed` waits for another attempt; `stuck` is failed, parked or dead. Default: all."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List Stripe's events, newest first.

    Example: pantheon events list --state stuck
    """
    from pantheon.payments.list_events import list_events

    async def found() -> "tuple[list[EventView], int]":
        async with connect() as (_, database):
            return await list_events(database, state=state, limit=limit)

    events, total = asyncio.run(found())
    rows = [
        [f"{event.received_at:%Y-%m-%d %H:%M:%S}", event.state, event.type, event.event_id, event.outcome, event.id]
        for event in events
    ]
    text = table(["received", "state", "type", "event", "outcome", "id"], rows) + f"\n{len(rows)} of {total} events"
    show(text, {"events": [_fields(event) for event in events], "total": total}, as_json=as_json)


@app.command("show")
def show_(event: EventName, as_json: AsJson = False) -> None:
    """Show an event and why it is in its state: the same as `pantheon ledger explain`.

    Example: pantheon events show evt_1Q2w3e4r
    """
    show_explanation(asyncio.run(find_explanation(event, "event")), as_json=as_json)


@app.command()
def replay(event: EventName, as_json: AsJson = False) -> None:
    """Let an event that failed, or that was given up, be handled once more. One that is done stays as it is.

    Example: pantheon events replay evt_1Q2w3e4r
    """
    state, replayed = asyncio.run(_replay(event))
    sentence = f"The event was {state}; the worker handles it now." if replayed else _NOTHING_TO_DO[state]
    show(sentence, {"state_before": state, "replayed": replayed}, as_json=as_json)


async def _replay(event: str) -> tuple[str, bool]:
    from pantheon.audit import Actor
    from pantheon.payments.list_events import find_event
    from pantheon.payments.replay_event import replay_event

    async with connect() as (_, database):
        inbox_event_id = await find_event(database, event)
        return await replay_event(database, Actor(None, "cli"), inbox_event_id=inbox_event_id)


def _fields(event: "EventView") -> dict[str, Any]:
    return {
        "id": event.id,
        "event_id": event.event_id,
        "type": event.type,
        "state": event.state,
        "outcome": event.outcome,
        "attempts": event.attempts,
        "received_at": event.received_at.isoformat(),
        "next_attempt_at": event.next_attempt_at.isoformat(),
    }
