"""What a process needs to do its work, put together once from the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pantheon.db.engine import Database
from pantheon.ledger.lanes import Lanes
from pantheon.models.providers import Providers
from pantheon.payments.inbox import Inbox
from pantheon.payments.stripe.client import Stripe
from pantheon.settings import Settings
from pantheon.turns.meter import Meter
from pantheon.users.tokens import TokenVerifier
from pantheon.workspace.storage import Storage
from pantheon.workspace.turn_runner import TurnRunner


@dataclass(frozen=True)
class Runtime:
    settings: Settings
    database: Database
    """For requests: through the pooler of DATABASE_POOL_URL where one is set, so nothing may outlive a transaction."""
    direct: Database
    """The server itself, for the worker: it listens. The same as `database` where there is no pooler."""
    lanes: Lanes
    """For holds and what is drawn, captured and released of them. They connect when first used."""
    inbox: Inbox
    """Where Stripe's events are stored."""
    meter: Meter
    """The only way to a model."""
    storage: Storage | None
    """Where files are kept; None where no place is configured."""
    turns: TurnRunner
    """The turns that this process works on."""
    stripe: Stripe | None
    """None where payments are not configured."""
    tokens: TokenVerifier | None
    """None where no outside issuer of tokens is configured."""
    sandbox: bool
    """Whether `stripe` is the built-in stand-in, where pages offer test cards and no real money moves."""

    async def interrupt(self) -> None:
        """Ends the turns and calls under way because this process ends: all is settled, and whoever reads is told."""
        await self.turns.interrupt()
        await self.meter.interrupt()


@asynccontextmanager
async def open_runtime(settings: Settings, *, sandbox: bool = False) -> AsyncIterator[Runtime]:
    assert settings.database_url is not None
    async with AsyncExitStack() as stack:
        direct = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
        stack.push_async_callback(direct.close)
        database = direct
        if settings.database_pool_url is not None:
            database = Database(settings.database_pool_url.get_secret_value(), pool_size=settings.database_pool_size)
            stack.push_async_callback(database.close)
        lanes = Lanes(direct.url)
        stack.push_async_callback(lanes.close)
        providers = Providers(settings)
        stack.push_async_callback(providers.close)
        meter = Meter(settings, database, lanes, providers)
        stack.push_async_callback(meter.close)
        storage = Storage.of(settings)
        if storage is not None:
            stack.callback(storage.close)
        turns = TurnRunner(settings, database, meter, storage)
        stack.push_async_callback(turns.close)
        stripe = Stripe.of(settings)
        if stripe is not None:
            stack.push_async_callback(stripe.close)
        tokens = TokenVerifier.of(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.close)
        yield Runtime(
            settings, database, direct, lanes, Inbox(database), meter, storage, turns, stripe, tokens, sandbox
        )
