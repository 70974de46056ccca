"""Where the contents of files are kept: a folder, or a bucket that speaks S3. Names are made of ids, never by people.

The library's own asynchronous calls can abort a process that ends right after one, so its blocking ones run in threads
of their own: other work never waits behind a slow storage.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from pantheon.errors import SettingsError, StorageUnavailableError
from pantheon.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

T = TypeVar("T")

_CHUNK_BYTES = 256 * 1024
_PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes."""
_CLIENT: "ClientConfig" = {
    "timeout": timedelta(seconds=30),
    "connect_timeout": timedelta(seconds=5),
    # Only where the operator's own AWS_ENDPOINT_URL says so, as for a service on the same machine.
    "allow_http": True,
}
_RETRY: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}

_logger = structlog.get_logger(__name__)


def content_of(file_id: UUID) -> str:
    return f"files/{file_id}"


def text_of(file_id: UUID) -> str:
    return f"texts/{file_id}"


class Storage:
    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(8, "storage")

    @classmethod
    def of(cls, settings: Settings) -> "Storage | None":
        """None where STORAGE_URL is not set. Raises SettingsError for a folder that cannot be used."""
        url = settings.storage_url
        if url is None:
            return None
        if url.startswith("s3://"):
            return cls(S3Store.from_url(url, client_options=_CLIENT, retry_config=_RETRY))
        folder = Path(url)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"STORAGE_URL: the folder cannot be made: {error.strerror}") from None
        return cls(LocalStore(folder))

    async def put(self, name: str, content: IO[bytes]) -> None:
        """All of it or nothing, under its name."""
        await self._run(lambda: obstore.put(self._store, name, content, chunk_size=_PART_BYTES, max_concurrency=1))

    async def open(self, name: str) -> Iterator[bytes]:
        """In pieces. Each is fetched by a blocking call when it is asked for."""
        found = await self._run(lambda: obstore.get(self._store, name))
        return map(bytes, found.stream(min_chunk_size=_CHUNK_BYTES))

    async def read(self, name: str, *, start: int, length: int) -> bytes:
        return bytes(await self._run(lambda: obstore.get_range(self._store, name, start=start, length=length)))

    async def delete(self, name: str) -> None:
        """Fine where it is not there (any more)."""

        def delete() -> None:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, name)

        await self._run(delete)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (BaseError, OSError) as error:
            _logger.error("storage_failed", exc_info=error)
            raise StorageUnavailableError from error

    def close(self) -> None:
        self._threads.shutdown(wait=True)
