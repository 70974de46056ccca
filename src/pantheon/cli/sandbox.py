"""`pantheon sandbox`: play the payer, the bank and Stripe's bad days against the sandbox of a running installation."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pantheon.payments.stripe.sandbox.address import Address

app = typer.Typer(
    name="sandbox",
    help="Play the payer, the bank and Stripe's bad days in the payment sandbox of a running installation.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Reference = Annotated[str, typer.Argument(metavar="TOP_UP_OR_PI", help="Id of a top-up or of a payment (pi_…).")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="DATA_DIR", help="Data folder of the installation. Default: that of this checkout."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Method = Annotated[
    str | None,
    typer.Option("--method", help="A test payment method such as pm_card_visa, or the number of a test card."),
]

NOT_RUNNING = (
    "No sandbox is running here. `make run` starts one when no Stripe key is set; run this command in the same "
    "folder, or name the installation's data folder with --home."
)


@app.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Show what runs, what is under way and which faults are set.

    \b
    Examples:
      pantheon sandbox status
      pantheon sandbox status --json
    """
    found = _call(home, "GET", "status")
    _print(found, as_json, lambda: _lines(_status_lines(found)))


@app.command()
def payments(home: Home = None, as_json: AsJson = False) -> None:
    """List the newest payments.

    \b
    Examples:
      pantheon sandbox payments
    """
    found = _call(home, "GET", "payments")
    _print(found["payments"], as_json, lambda: _lines(map(_payment_line, found["payments"]), "No payments yet."))


@app.command()
def pay(reference: Reference, method: Method = None, home: Home = None, as_json: AsJson = False) -> None:
    """Pay, pass the bank's challenge, or settle a debit: whatever the payment waits for.

    \b
    Examples:
      pantheon sandbox pay pi_3PaN…
      pantheon sandbox pay pi_3PaN… --method "4000 0025 0000 3155"
      pantheon sandbox pay pi_3PaN… --method pm_usBankAccount_success
    """
    _play(reference, "pay", method, home, as_json)


@app.command()
def decline(reference: Reference, method: Method = None, home: Home = None, as_json: AsJson = False) -> None:
    """Let the bank refuse: the card, the challenge, or a debit under way.

    \b
    Examples:
      pantheon sandbox decline pi_3PaN…
      pantheon sandbox decline pi_3PaN… --method pm_card_chargeDeclinedInsufficientFunds
    """
    _play(reference, "decline", method, home, as_json)


@app.command()
def settle(reference: Reference, home: Home = None, as_json: AsJson = False) -> None:
    """Let a debit from a bank account arrive.

    \b
    Examples:
      pantheon sandbox settle pi_3PaN…
    """
    _play(reference, "settle", None, home, as_json)


@app.command()
def cancel(reference: Reference, home: Home = None, as_json: AsJson = False) -> None:
    """Cancel a payment, as from Stripe's dashboard.

    \b
    Examples:
      pantheon sandbox cancel pi_3PaN…
    """
    _play(reference, "cancel", None, home, as_json)


@app.command()
def events(home: Home = None, as_json: AsJson = False) -> None:
    """List the newest events, each with what became of its webhooks.

    \b
    Examples:
      pantheon sandbox events
    """
    found = _call(home, "GET", "events")
    _print(found["events"], as_json, lambda: _lines(map(_event_line, found["events"]), "No events yet."))


@app.command()
def resend(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Id of an event (evt_…).")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Deliver an event once more.

    \b
    Examples:
      pantheon sandbox resend evt_1PaN…
    """
    found = _call(home, "POST", f"events/{event}/resend")
    _print(found, as_json, lambda: _lines(map(_delivery_text, found["deliveries"]), "There is no webhook endpoint."))


@app.command()
def release(
    order: Annotated[str, typer.Option("--order", help="same, reverse or random.")] = "same",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Deliver the webhooks that hold_webhook keeps back.

    \b
    Examples:
      pantheon sandbox release --order reverse
    """
    found = _call(home, "POST", "deliveries/release", {"order": order})
    _print(found, as_json, lambda: _lines(map(_delivery_text, found["deliveries"]), "Nothing is held back."))


@app.command()
def switch(
    name: Annotated[str | None, typer.Argument(help="The fault. Without it, the faults are listed.")] = None,
    times: Annotated[int, typer.Option(help="How many requests or webhooks it meets; 0 for all.")] = 1,
    on: Annotated[str, typer.Option(help='Only these, such as "POST *" or "payment_intent.*".')] = "*",
    ms: Annotated[int, typer.Option(help="Milliseconds, for hang, delay_webhook and webhook_first.")] = 0,
    copies: Annotated[int, typer.Option(help="For duplicate_webhook.")] = 1,
    work: Annotated[bool, typer.Option("--work", help="fail: do the work before.")] = False,
    unsaved: Annotated[bool, typer.Option("--unsaved", help="fail: do not keep the 500 for the key.")] = False,
    lock_timeout: Annotated[bool, typer.Option("--lock-timeout", help="rate_limit: a lock time-out.")] = False,
    pay: Annotated[str | None, typer.Option(help="webhook_first: pay with this method before answering.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take all faults back.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set a fault for the next requests or webhooks, list what is set, or take all back.

    \b
    Examples:
      pantheon sandbox switch
      pantheon sandbox switch lose_answer --on "POST /v1/payment_intents"
      pantheon sandbox switch hang --ms 60000
      pantheon sandbox switch duplicate_webhook --copies 3 --on "*.succeeded"
      pantheon sandbox switch hold_webhook --times 0
      pantheon sandbox switch --clear
    """
    if clear:
        found = _call(home, "DELETE", "switches")
    elif name is None:
        found = _call(home, "GET", "switches")
    else:
        body = {
            "name": name,
            "times": times or None,
            "on": on,
            "ms": ms,
            "copies": copies,
            "work": work,
            "saved": not unsaved,
            "code": "lock_timeout" if lock_timeout else None,
            "pay": pay,
        }
        found = _call(home, "POST", "switches", body)
    _print(found, as_json, lambda: _lines(_switch_lines(found["switches"], explain=name is None and not clear)))


def _play(reference: str, play: str, method: str | None, home: Path | None, as_json: bool) -> None:
    payment = _call(home, "POST", f"payments/{reference}/play", {"play": play, "method": method})
    _print(payment, as_json, lambda: _lines([_payment_line(payment), *_hints(payment)]))


def _call(home: Path | None, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    import httpx2

    address = _address(home)
    headers = {"Authorization": f"Bearer {address.secret_key}"}
    try:
        with httpx2.Client(timeout=30, trust_env=False, headers=headers) as client:
            response = client.request(method, f"{address.url}/_sandbox/{path}", json=body)
            answer = response.json()
    except (httpx2.HTTPError, ValueError):
        _fail(NOT_RUNNING)
    if response.is_error:
        _fail(answer["error"]["message"])
    return answer


def _address(home: Path | None) -> "Address":
    from pantheon.db.embedded import default_home
    from pantheon.payments.stripe.sandbox.address import read_address

    try:
        address = read_address(home or default_home(Path.cwd()))
    except OSError as error:
        _fail(f"The sandbox's address cannot be read: {error}")
    return address or _fail(NOT_RUNNING)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _print(found: Any, as_json: bool, show: Any) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show()


def _lines(lines: Any, nothing: str = "") -> None:
    typer.echo("\n".join(lines) or nothing)


def _status_lines(found: dict[str, Any]) -> list[str]:
    webhooks = ", ".join(f"{count} {state}" for state, count in found["deliveries"].items() if count)
    return [
        f"address    {found['url']} ({found['account']}, API {found['api_version']})",
        f"webhooks   to {', '.join(found['webhook_endpoints']) or 'nobody'}: {webhooks or 'none yet'}",
        f"payments   {found['payments']}",
        f"events     {found['events']}",
        f"faults     {', '.join(map(_switch_text, found['switches'])) or 'none'}",
    ]


def _payment_line(payment: dict[str, Any]) -> str:
    from pantheon.payments.stripe.sandbox.objects import shown_amount

    known_as = " ".join(f"{name}={value}" for name, value in payment["metadata"].items())
    return f"{payment['id']}  {shown_amount(payment):>14}  {payment['status']:<24} {known_as}".rstrip()


def _hints(payment: dict[str, Any]) -> list[str]:
    if payment["last_payment_error"]:
        error = payment["last_payment_error"]
        return [f"{error['message']} ({error.get('decline_code') or error['code']})"]
    if payment["next_action"]:
        return [
            f"The bank asks the payer to authenticate: {payment['next_action']['redirect_to_url']['url']}",
            "Open it in a browser, or repeat `pay` or `decline` without --method.",
        ]
    if payment["status"] == "processing":
        return ["The debit is on its way: `settle` lets it arrive, `decline` returns it."]
    return []


def _event_line(event: dict[str, Any]) -> str:
    outcomes = "; ".join(map(_delivery_text, event["deliveries"])) or "no webhook"
    return f"{event['id']}  {event['type']:<32} {event['data']['object'].get('id', '')}  {outcomes}"


def _delivery_text(delivery: dict[str, Any]) -> str:
    attempts = ", ".join(str(attempt.get("status") or attempt["error"]) for attempt in delivery["attempts"])
    return f"{delivery['state']} ({attempts})" if attempts else str(delivery["state"])


def _switch_text(active: dict[str, Any]) -> str:
    times = "always" if active["times"] is None else f"{active['times']}x"
    return f"{active['name']} {times}" + ("" if active["on"] == "*" else f" on {active['on']}")


def _switch_lines(active: list[dict[str, Any]], *, explain: bool) -> list[str]:
    lines = [f"Set: {', '.join(map(_switch_text, active)) or 'none'}"]
    if explain:
        from pantheon.payments.stripe.sandbox.switches import DESCRIPTIONS

        lines += [f"  {name:<18} {description}" for name, description in DESCRIPTIONS.items()]
    return lines
