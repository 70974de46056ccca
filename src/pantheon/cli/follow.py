"""A message is sent over the API, and its turn shown as it happens: to its end, whatever the connection does."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from pantheon import ids

if TYPE_CHECKING:
    import httpx2

_TRIES = 8
_COLORS = (typer.colors.CYAN, typer.colors.MAGENTA, typer.colors.YELLOW, typer.colors.GREEN, typer.colors.BLUE)


class RefusedError(Exception):
    """What the API says about a request that it does not carry out, for people."""


class _LostError(Exception):
    """The connection, or the process at its end, but not the turn."""


def send(client: "httpx2.Client", session: str, message: str) -> bool:
    """Whether it was answered without a failure. Raises RefusedError, and TransportError where nobody is there."""
    return _Following(client, session, message).to_the_end()


def follow(client: "httpx2.Client", session: str, turn_id: str) -> bool:
    """The same for a turn that runs already, from its beginning."""
    following = _Following(client, session, "")
    following.turn_id = turn_id
    return following.to_the_end()


class _Following:
    """Ctrl+C stops the turn, whose end is shown then; a second one leaves."""

    def __init__(self, client: "httpx2.Client", session: str, message: str) -> None:
        self.turn_id: str | None = None
        self._client = client
        self._session = session
        self._message = message
        # With it the same message can be sent again when nothing was heard of it, and is still answered once.
        self._key = ids.uuid7().hex
        self._seen = 0
        self._end: str | None = None
        self._wish: str | None = None
        self._teller = _Teller()

    def to_the_end(self) -> bool:
        import httpx2

        tries = 0
        while self._end is None:
            seen = self._seen
            try:
                self._stop_if_wished()
                self._hear()
            except KeyboardInterrupt:
                if self._wish is not None:
                    raise
                self._wish = "stop"
                self._teller.aside("stopping …")
            except (httpx2.TransportError, _LostError) as error:
                tries = 1 if self._seen > seen else tries + 1
                never_sent = self.turn_id is None and isinstance(error, httpx2.ConnectError)
                if never_sent or tries > _TRIES:
                    raise
                self._teller.aside("the connection was lost, trying again …")
                time.sleep(min(2 ** (tries - 1) / 2, 8))
        return self._end == "turn_completed"

    def _hear(self) -> None:
        with self._request() as answer:
            if answer.status_code in (502, 503, 504) and self.turn_id is not None:
                raise _LostError
            if answer.status_code != 200:
                answer.read()
                checked(answer)
            for number, event, data in _events(answer.iter_lines()):
                with _undisturbed():
                    self.turn_id = data.get("turn_id", self.turn_id)
                    self._teller.tell(event, data)
                    self._seen = number
                    if event in ("turn_completed", "turn_failed"):
                        self._end = event
                self._stop_if_wished()
        if self._end is None:
            raise _LostError

    def _request(self) -> Any:
        if self.turn_id is None:
            path, headers = f"/sessions/{self._session}/turns/stream", {"Idempotency-Key": self._key}
            return self._client.stream("POST", path, json={"message": self._message}, headers=headers)
        headers = {"Last-Event-ID": str(self._seen)}
        return self._client.stream("GET", f"/turns/{self.turn_id}/events", headers=headers)

    def _stop_if_wished(self) -> None:
        if self._wish == "stop" and self.turn_id is not None:
            self._client.post(f"/turns/{self.turn_id}/stop", json={})
            self._wish = "stopped"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl+C waits for the end of the block, so that nothing is shown twice or not at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _events(lines: Iterator[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    number, name = 0, ""
    for line in lines:
        if line.startswith("id: "):
            number = int(line.removeprefix("id: "))
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield number, name, json.loads(line.removeprefix("data: "))


class _Teller:
    """Shows events on the terminal. Whoever speaks is named, again when somebody else has spoken meanwhile."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._speaks: int | None = None
        self._line_is_empty = True

    def tell(self, event: str, data: dict[str, Any]) -> None:
        if event == "step_started":
            self._names[data["step"]] = plain(data["name"])
            if "task" in data:
                self.aside(f"asks {plain(data['name'])}: {plain(data['task'])}")
            self._name(data["step"])
        elif event == "step_delta":
            text = plain(data["text"])
            if data["step"] != self._speaks:
                self._name(data["step"])
                text = text.lstrip("\n")
            typer.echo(text.lstrip("\n") if self._line_is_empty else text, nl=False)
            self._line_is_empty = text.endswith("\n")
        elif event == "tool_called":
            self.aside(f"{plain(data['tool'])} {plain(data['arguments'])}")
        elif event == "step_completed":
            how = "" if data["state"] == "completed" else f"{data['state']}, "
            self.aside(f"{self._names[data['step']]}: {how}{data['credits']} credits")
            self._speaks = None
        elif event == "context_summarised":
            self.aside(f"what was said at first is summarised from here on: {data['credits']} credits")
        elif event in ("turn_completed", "turn_failed"):
            self._over(data)

    def _name(self, step: int) -> None:
        self._next_line()
        name = self._names.get(step, "")
        typer.secho(f"\n{name} › ", fg=_COLORS[sum(name.encode()) % len(_COLORS)], bold=True, nl=False)
        self._speaks, self._line_is_empty = step, False

    def aside(self, text: str) -> None:
        self._next_line()
        note(text)

    def _next_line(self) -> None:
        if not self._line_is_empty:
            typer.echo()
        self._line_is_empty = True

    def _over(self, data: dict[str, Any]) -> None:
        self._next_line()
        if "code" in data:
            typer.secho(problem(data), fg=typer.colors.RED, err=True)
        if "credits" in data:
            how = "stopped; " if data["status"] == "stopped" else ""
            low = ", which is low" if data["low_balance"] else ""
            note(f"{how}{data['credits']} credits in all; {data['balance_after']} available{low}")


def note(text: str) -> None:
    typer.secho(f"[{text}]", dim=True)


def plain(text: str) -> str:
    """Nothing that a model wrote may move the cursor or change colours."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def checked(answer: "httpx2.Response") -> dict[str, Any]:
    """What was answered. Raises RefusedError."""
    if answer.is_success:
        return dict(answer.json()) if answer.content else {}
    try:
        raise RefusedError(problem(answer.json(), answer.headers.get("Retry-After")))
    except (ValueError, KeyError):
        raise RefusedError(f"the answer was {answer.status_code}") from None


def problem(fields: dict[str, Any], retry_after: str | None = None) -> str:
    told = plain(fields["detail"])
    if "required" in fields:
        told += f" Needed: {fields['required']} credits, available: {fields['available']}."
    if "top_up_url" in fields:
        told += f" {plain(fields['top_up_url'])}"
    return f"{told} Try again in {retry_after} seconds." if retry_after else told
