"""Puts a whole installation together and keeps it running until it is told to stop."""

import asyncio
import secrets
import signal
import socket
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog
import typer
from sqlalchemy import func, select

from pantheon import logs, metrics
from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.cli.connect import home_of
from pantheon.db import embedded
from pantheon.db.migrate import current, difference, head, is_newer, migrate
from pantheon.db.tables import inbox_events
from pantheon.errors import SettingsError
from pantheon.payments.stripe.sandbox import Sandbox, create_sandbox_app
from pantheon.payments.stripe.sandbox.address import Address, read_address, write_address
from pantheon.runtime import Runtime, open_runtime
from pantheon.settings import Settings
from pantheon.tracing import reporting
from pantheon.users.make_first_owner import link_for_local_owner
from pantheon.web.app import create_app
from pantheon.worker.run import working

_logger = structlog.get_logger(__name__)


async def run_worker() -> None:
    """Returns after SIGINT or SIGTERM, when running jobs have finished."""
    settings = all_settings.load()
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL is not set. A local installation runs its jobs within `pantheon serve`.")
    logs.configure(settings.log_form)
    stop = _stopped_by_signal()
    async with AsyncExitStack() as stack:
        stack.enter_context(reporting(settings))
        stack.enter_context(metrics.served(settings.worker_metrics_address))
        await _refuse_older_schema(settings.database_url.get_secret_value())
        settings = _with_storage(settings)
        runtime = await stack.enter_async_context(open_runtime(settings))
        if not settings.is_local:
            await _refuse_unverified_events(runtime)
        await stack.enter_async_context(working(runtime))
        typer.echo("The worker runs. Stop it with Ctrl-C.")
        await stop.wait()
        typer.echo("Stopping: running jobs finish first.")


async def run(*, host: str, port: int, worker: bool) -> None:
    """Returns after SIGINT or SIGTERM, when running requests and jobs have finished."""
    settings = all_settings.load()
    logs.configure(settings.log_form)
    stop = _stopped_by_signal()
    async with AsyncExitStack() as stack:
        stack.enter_context(reporting(settings))
        # The port first: a second start says so at once, and whoever asks early is answered once we are ready.
        listener = _listen(stack, host, port)
        if settings.is_local and "public_url" not in settings.model_fields_set:
            settings = all_settings.load(public_url=f"http://{host}:{port}")
        settings = _with_storage(await _with_database(stack, settings))
        needs_sandbox = settings.is_local and settings.stripe_secret_key is None
        if needs_sandbox:
            settings = await _with_sandbox(stack, settings, port=port)
        runtime = await stack.enter_async_context(open_runtime(settings, sandbox=needs_sandbox))
        if not settings.is_local:
            await _refuse_unverified_events(runtime)
        # What is entered last ends first: nothing new is accepted while jobs finish.
        if worker:
            await stack.enter_async_context(working(runtime))
        await stack.enter_async_context(
            serving(create_app(runtime), listener, proxies=settings.forwarded_allow_ips, interrupt=runtime.interrupt)
        )
        await _announce(runtime)
        # Now, and not while somebody waits for the first turn.
        await runtime.turns.preload()
        await stop.wait()
        typer.echo("Stopping: running requests and jobs finish first.")


def _listen(stack: AsyncExitStack, host: str, port: int) -> socket.socket:
    try:
        listener = bind(host, port)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Stop what uses it, or choose another with --port."
        ) from None
    stack.callback(listener.close)
    return listener


async def _with_database(stack: AsyncExitStack, settings: Settings) -> Settings:
    """Settings that name a database which has the schema that this code expects."""
    if settings.database_url is None:
        typer.echo("Starting the private PostgreSQL …")
        server = await asyncio.to_thread(embedded.start, home_of(settings))
        stack.callback(server.stop)
        settings = all_settings.load(
            **_given(settings), database_url=server.app_url, database_migration_url=server.owner_url
        )
    assert settings.database_url is not None
    assert settings.migration_url is not None
    url, owner_url = settings.database_url.get_secret_value(), settings.migration_url.get_secret_value()
    if settings.is_local:
        await asyncio.to_thread(migrate, owner_url, app_url=url)
    await _refuse_older_schema(url)
    return settings


def _with_storage(settings: Settings) -> Settings:
    """Settings that name a place for files, which when local is beside the private database."""
    if settings.storage_url is not None or not settings.is_local:
        return settings
    return all_settings.load(**_given(settings), storage_url=str(home_of(settings).resolve() / "files"))


async def _refuse_older_schema(url: str) -> None:
    found = await asyncio.to_thread(current, url)
    if is_newer(found):
        # Whoever goes back to the version before, or is restarted amid an upgrade, serves all the same.
        _logger.warning("schema_is_newer", found=found, expected=head())
    elif found != head():
        raise SettingsError(difference(found))


async def _refuse_unverified_events(runtime: Runtime) -> None:
    """Credits that the local shortcut made, without anybody's signature, must never be real ones."""
    async with runtime.database.transaction() as tx:
        found = await tx.scalar(select(func.count()).select_from(inbox_events).where(~inbox_events.c.verified))
    if found:
        raise SettingsError(
            f"DATABASE_URL names a database with {found} payment events that nobody signed: it was used with"
            " APP_ENV=local and no STRIPE_WEBHOOK_SECRET. Its credits may be forged; use another database."
        )


async def _with_sandbox(stack: AsyncExitStack, settings: Settings, *, port: int) -> Settings:
    """Settings that lead to a stand-in for Stripe, which is started. It keeps its address and keys between starts."""
    home = home_of(settings)
    known = read_address(home)
    listener = _listen_again(known)
    stack.callback(listener.close)
    address = Address(
        url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        secret_key=known.secret_key if known else f"sk_test_sandbox_{secrets.token_hex(12)}",
        publishable_key=known.publishable_key if known else f"pk_test_sandbox_{secrets.token_hex(12)}",
        webhook_secret=known.webhook_secret if known else f"whsec_{secrets.token_hex(16)}",
    )
    write_address(home, address)
    sandbox = await stack.enter_async_context(
        Sandbox(
            database=home / "sandbox.db",
            base_url=address.url,
            webhook_url=f"http://127.0.0.1:{port}/webhooks/stripe",
            webhook_secrets=[address.webhook_secret],
            secret_key=address.secret_key,
            publishable_key=address.publishable_key,
        )
    )
    await stack.enter_async_context(serving(create_sandbox_app(sandbox), listener))
    return all_settings.load(
        **_given(settings),
        stripe_secret_key=address.secret_key,
        stripe_publishable_key=address.publishable_key,
        stripe_webhook_secret=address.webhook_secret,
        stripe_api_base=address.url,
        stripe_account_id=sandbox.account_id,
    )


def _listen_again(known: Address | None) -> socket.socket:
    if known is not None:
        with suppress(OSError, ValueError):
            return bind("127.0.0.1", int(known.url.rpartition(":")[2]))
    return bind("127.0.0.1", 0)


def _given(settings: Settings) -> dict[str, Any]:
    """What was set so far, to load it again with more."""
    return {name: getattr(settings, name) for name in settings.model_fields_set}


def _stopped_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _announce(runtime: Runtime) -> None:
    url = runtime.settings.public_url
    typer.secho(f"\n  Pantheon runs at {url}", bold=True)
    if runtime.settings.is_local:
        token = await link_for_local_owner(runtime.database)
        typer.echo(f"  Sign in:  {url}/sign-in/link/{token}   (works once, within an hour)")
    if runtime.sandbox:
        typer.echo("  Payments: sandbox, no real money moves. Test card: 4242 4242 4242 4242")
    elif runtime.stripe is None:
        typer.echo("  Payments: off. Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET to take them.")
    typer.echo("  Stop with Ctrl-C.\n")
