"""`pantheon`: the operators' tool. Modules with heavy imports are loaded by the command that needs them."""

import typer

from pantheon.cli import (
    backup,
    chat,
    db,
    docs,
    doctor,
    events,
    jobs,
    keys,
    ledger,
    limits,
    rates,
    receipts,
    sandbox,
    serve,
    top_ups,
    users,
    wallet,
    worker,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run and look after a Pantheon installation.\n\nSettings come from the environment or .env: "
    "see docs/env_contract.md.",
)

app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("chat")(chat.chat)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(db.app, name="db", help="The database's schema.")
app.add_typer(users.app, name="users", help="People and their roles.")
app.command("grant")(wallet.grant)
app.add_typer(wallet.app, name="wallet", help="Users' credits.")
app.add_typer(receipts.app, name="receipts", help="What calls cost.")
app.add_typer(top_ups.app, name="top-ups", help="Payments of users, and those that need a decision.")
app.add_typer(events.app, name="events", help="What Stripe told us, and what became of it.")
app.add_typer(jobs.app, name="jobs", help="Work that was given up, and once more.")
app.add_typer(keys.app, name="keys", help="API keys.")
app.add_typer(limits.app, name="limits", help="The most that a user may spend in a day or a month.")
app.add_typer(rates.app, name="rates", help="What models cost, and what other prices would change.")
app.add_typer(ledger.app, name="ledger", help="Proof that the books are right, and why they say what they say.")
app.add_typer(sandbox.app, name="sandbox", help="Play the payer's and Stripe's part in a local installation.")
app.add_typer(docs.app, name="docs", help="The generated documents of this repository.")
