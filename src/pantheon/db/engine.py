"""Connections and transactions. One use case is one `transaction()`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError

Tx = AsyncConnection
"""A connection inside a transaction. Whoever is handed one joins that transaction and never ends it."""

BUSY = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TooManyConnections,
)


def sqlalchemy_url(url: str) -> str:
    scheme, rest = url.split("://", 1)
    if scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("must be a postgresql:// address")
    return f"postgresql+psycopg://{rest}"


def libpq_url(url: str) -> str:
    return "postgresql://" + url.split("://", 1)[1]


class Database:
    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = libpq_url(url)
        self.engine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_use_lifo=True,
            # What a statement was given, such as a hash or a note, has no place in the message of an error.
            hide_parameters=True,
            # Prepared statements are off: they do not survive a pooler in transaction mode.
            connect_args={"prepare_threshold": None, "connect_timeout": 5, "application_name": "pantheon"},
        )
        # The same connections.
        self._each_by_itself = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Commits at the end of the block, rolls back if it raises.

        Raises DatabaseBusyError or DatabaseUnavailableError, both of which mean that nothing was changed, unless the
        connection broke while it committed: then a repeat with the same key finds out.
        """
        with _our_errors():
            async with self.engine.begin() as tx:
                yield tx

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """For one statement that only reads. It needs nothing around it, which would be two round trips more."""
        with _our_errors():
            async with self._each_by_itself.connect() as tx:
                yield tx

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseBusyError(retry_after=2) from error
    except DBAPIError as error:
        if isinstance(error.orig, BUSY):
            raise DatabaseBusyError(retry_after=1) from error
        if error.connection_invalidated or is_connection_failure(error.orig):
            raise DatabaseUnavailableError(retry_after=5) from error
        raise


def is_connection_failure(error: BaseException | None) -> bool:
    if not isinstance(error, psycopg.OperationalError):
        return False
    # Without a state the server never answered; class 08 is a broken connection, 57P0x a server that is shutting down.
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
