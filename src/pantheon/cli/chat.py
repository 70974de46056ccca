"""`pantheon chat`: a conversation with agents in the terminal, over the API, as any other client would have it."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    import httpx2

_COLORS = (typer.colors.CYAN, typer.colors.MAGENTA, typer.colors.YELLOW, typer.colors.GREEN, typer.colors.BLUE)


def chat(
    room: Annotated[str | None, typer.Option(metavar="ID", help="Talk in this room.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Talk with this agent alone.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this conversation.")] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Send this one message and end, as scripts do.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="PANTHEON_URL", help="Where the installation is.")
    ] = "http://127.0.0.1:8000",
    key: Annotated[
        str | None, typer.Option(envvar="PANTHEON_API_KEY", help="An API key with the scope workspace.")
    ] = None,
) -> None:
    """Talk with the agents of a room, or with one agent. Ctrl+C stops an answer; what was written is paid for.

    Without --room, --agent and --session it lists the rooms and agents that there are.

    \b
    Examples:
      pantheon keys create ada@example.com chat --scope workspace
      PANTHEON_API_KEY=… pantheon chat
      PANTHEON_API_KEY=… pantheon chat --room 0197… -m "@writer Draft a welcome mail."
    """
    import httpx2

    if key is None:
        _fail(
            "set PANTHEON_API_KEY to an API key with the scope workspace. An operator makes one: pantheon keys create"
        )
    with httpx2.Client(
        base_url=f"{url.rstrip('/')}/api/v1",
        headers={"Authorization": f"Bearer {key}"},
        timeout=httpx2.Timeout(30, read=None),
    ) as client:
        try:
            if (room or agent or session) is None:
                _list(client)
                return
            session = session or _begin(client, room, agent)
            if message is not None:
                _send(client, session, message)
                return
            _talk(client, session)
        except httpx2.TransportError as error:
            _fail(f"{url} cannot be reached ({type(error).__name__}). Is it running?")


def _list(client: "httpx2.Client") -> None:
    rooms = _get(client, "/rooms")["rooms"]
    agents = _get(client, "/agents")["agents"]
    for each in rooms:
        typer.echo(f"room   {each['id']}  {each['name']}  ({each['current_mode']})")
    for each in agents:
        typer.echo(f"agent  {each['id']}  @{each['agent_key']}  {each['name']}, {each['model_alias']}")
    if not rooms and not agents:
        typer.echo(
            "There are no rooms and no agents yet. Make an agent with POST /api/v1/agents: see docs/workspace.md."
        )


def _begin(client: "httpx2.Client", room: str | None, agent: str | None) -> str:
    path = f"/rooms/{room}/sessions" if room else f"/agents/{agent}/sessions"
    return str(_checked(client.post(path))["id"])


def _talk(client: "httpx2.Client", session: str) -> None:
    typer.secho(f"Conversation {session}. Ctrl+C stops an answer, Ctrl+D ends.", dim=True)
    while True:
        try:
            message = input("\nyou › ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if message:
            _send(client, session, message)


def _send(client: "httpx2.Client", session: str, message: str) -> None:
    path = f"/sessions/{session}/turns/stream"
    with client.stream("POST", path, json={"message": message}) as answer:
        if answer.status_code != 200:
            answer.read()
            _checked(answer)
        turn_id = ""
        with _stopping(client, lambda: turn_id):
            for event, data in _events(answer.iter_lines()):
                turn_id = data.get("turn_id", turn_id)
                _tell(event, data)


@contextmanager
def _stopping(client: "httpx2.Client", turn_id: Any) -> Iterator[None]:
    """Ctrl+C stops the turn, whose end is then told; a second one ends the program."""
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        typer.secho("\n[stopping …]", dim=True)
        client.post(f"/turns/{turn_id()}/stop", json={})

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def _tell(event: str, data: dict[str, Any]) -> None:
    if event == "step_started":
        color = _COLORS[sum(data["name"].encode()) % len(_COLORS)]
        typer.secho(f"\n{data['name']} › ", fg=color, bold=True, nl=False)
    elif event == "step_delta":
        typer.echo(_plain(data["text"]), nl=False)
    elif event == "tool_called":
        typer.secho(f"\n[{data['tool']} {_plain(data['arguments'])}]", dim=True)
    elif event == "step_completed":
        typer.secho(f"\n[{data['credits']} credits]", dim=True)
    elif event == "turn_failed":
        typer.secho(f"\n{data['detail']}", fg=typer.colors.RED, err=True)
    elif event == "turn_completed":
        low = ", which is low" if data["low_balance"] else ""
        typer.secho(f"[{data['credits']} credits in all; {data['balance_after']} available{low}]", dim=True)


def _plain(text: str) -> str:
    """Nothing that a model wrote may move the cursor or change colours."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _get(client: "httpx2.Client", path: str) -> dict[str, Any]:
    return _checked(client.get(path, params={"limit": 200}))


def _checked(answer: "httpx2.Response") -> dict[str, Any]:
    if answer.is_success:
        return dict(answer.json())
    try:
        _fail(answer.json()["detail"])
    except (ValueError, KeyError):
        _fail(f"the answer was {answer.status_code}")


def _fail(reason: str) -> NoReturn:
    typer.secho(f"pantheon: {reason}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
