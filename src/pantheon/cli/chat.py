"""`pantheon chat`: a conversation with agents in the terminal, over the API, as any other client would have it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pantheon.cli.follow import RefusedError, checked, follow, note, plain, send

if TYPE_CHECKING:
    import httpx2

_LONGEST_ESTIMATED = 20_000
_MOST_SHOWN = 200
_PARSED_SECONDS = 60
_HELP = """\
/room          who is here, how they work together, and the files there are
/mode MODE     manual (only those you tag with @), roundtable or orchestrator, from your next message on
/upload FILE   give the room a file that its agents may read: pdf, docx, txt, md or csv
/quit          end, as Ctrl+D does
Anything else is said to the agents. Ctrl+C stops an answer; what was written is paid for."""


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

    Without --room, --agent and --session it lists the rooms and agents that there are. A connection that is lost is
    made again, and nothing of the answer is missing. Within a conversation /help tells what else there is.

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
        timeout=httpx2.Timeout(30, read=60),
    ) as client:
        try:
            if (room or agent or session) is None:
                _list(client)
                return
            conversation = session or _begin(client, room, agent)
            if message is None:
                _talk(client, conversation)
            elif not _say(client, conversation, message):
                raise typer.Exit(1)
        except RefusedError as refused:
            _fail(str(refused))
        except httpx2.TransportError as error:
            _fail(f"{url} cannot be reached ({type(error).__name__}). Is it running?")


def _list(client: "httpx2.Client") -> None:
    rooms = _get(client, "/rooms", limit=_MOST_SHOWN)["rooms"]
    agents = _get(client, "/agents", limit=_MOST_SHOWN)["agents"]
    for each in rooms:
        typer.echo(f"room   {each['id']}  {plain(each['name'])}  ({each['current_mode']})")
    for each in agents:
        typer.echo(f"agent  {each['id']}  @{each['agent_key']}  {plain(each['name'])}, {each['model_alias']}")
    if not rooms and not agents:
        typer.echo(
            "There are no rooms and no agents yet. Make an agent with POST /api/v1/agents: see docs/workspace.md."
        )


def _begin(client: "httpx2.Client", room: str | None, agent: str | None) -> str:
    path = f"/rooms/{room}/sessions" if room else f"/agents/{agent}/sessions"
    return str(checked(client.post(path))["id"])


def _talk(client: "httpx2.Client", session: str) -> None:
    """What is refused is told, and the conversation goes on."""
    room = _get(client, f"/sessions/{session}")["room_id"]
    note(f"Conversation {session}. /help tells what you can do here, Ctrl+D ends.")
    _follow_what_runs(client, session)
    while True:
        try:
            message = input("\nyou › ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if message == "/quit":
            return
        try:
            if message.startswith("/"):
                _obey(client, room, *message.split(maxsplit=1))
            elif message:
                _say(client, session, message)
        except RefusedError as refused:
            typer.secho(str(refused), fg=typer.colors.RED, err=True)


def _say(client: "httpx2.Client", session: str, message: str) -> bool:
    if len(message) <= _LONGEST_ESTIMATED:
        told = checked(client.get(f"/sessions/{session}/estimate", params={"message": message}))
        who = ", ".join(f"@{key}" for key in told["agents"])
        note(
            f"{told['mode']}: {who}; {told['most']} credits if each answers once at full length, "
            f"{told['turn_cap']} at the very most; {told['available']} available"
        )
    return send(client, session, message)


def _follow_what_runs(client: "httpx2.Client", session: str) -> None:
    path = f"/sessions/{session}/turns"
    last = max(0, _get(client, path, limit=1)["total"] - 1)
    for turn in _get(client, path, limit=1, offset=last)["turns"]:
        if turn["status"] in ("queued", "running"):
            note(f"This is being answered: {plain(turn['user_input'])[:200]}")
            follow(client, session, turn["id"])


def _obey(client: "httpx2.Client", room: str | None, command: str, argument: str = "") -> None:
    if command == "/help":
        typer.echo(_HELP)
    elif command not in ("/room", "/mode", "/upload"):
        typer.echo(f"There is no command {plain(command)}. /help lists those that there are.")
    elif room is None:
        typer.echo("This is a conversation with one agent, in no room.")
    elif command == "/room":
        _show(client, room)
    elif command == "/mode":
        changed = checked(client.patch(f"/rooms/{room}/mode", json={"mode": argument}))
        typer.echo(f"{changed['pending_mode'] or changed['current_mode']}, from your next message on.")
    else:
        _upload(client, room, Path(argument).expanduser())


def _show(client: "httpx2.Client", room: str) -> None:
    shown = _get(client, f"/rooms/{room}")
    mode = shown["pending_mode"] or shown["current_mode"]
    typer.echo(f"{plain(shown['name'])} ({mode})" + (f": {plain(shown['goal'])}" if shown["goal"] else ""))
    for each in _get(client, f"/rooms/{room}/agents", limit=_MOST_SHOWN)["agents"]:
        agent = each["agent"]
        may = f", may use {', '.join(agent['tool_permissions'])}" if agent["tool_permissions"] else ""
        typer.echo(f"  @{agent['agent_key']}  {plain(agent['name'])}, {agent['model_alias']}{may}")
    for file in _get(client, f"/rooms/{room}/files", limit=_MOST_SHOWN)["files"]:
        typer.echo(f"  {_status_of(file)}")


def _upload(client: "httpx2.Client", room: str, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        typer.echo(f"{plain(str(path))} cannot be read: {error.strerror}.")
        return
    file = checked(client.post(f"/rooms/{room}/files", files={"file": (path.name, content)}))
    until = time.monotonic() + _PARSED_SECONDS
    while file["parse_status"] in ("pending", "parsing") and time.monotonic() < until:
        time.sleep(0.5)
        file = _get(client, f"/files/{file['id']}")
    typer.echo(_status_of(file))


def _status_of(file: dict[str, Any]) -> str:
    why = f": {plain(file['error_message'])}" if file["error_message"] else ""
    return f"{plain(file['filename'])}, {file['file_size']} bytes, {file['parse_status']}{why}"


def _get(client: "httpx2.Client", path: str, **query: int) -> dict[str, Any]:
    return checked(client.get(path, params=query))


def _fail(reason: str) -> NoReturn:
    typer.secho(f"pantheon: {reason}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
