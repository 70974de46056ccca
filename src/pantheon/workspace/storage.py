"""Where the contents of files are kept: a folder, or a bucket that speaks S3. Names are made of ids, never by people.

The library's own asynchronous calls can abort a process that ends right after one, so its blocking ones run in threads
of their own: other work never waits behind a slow storage.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
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

_PIECE_BYTES = 1024 * 1024
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
    def __init__(self, store: LocalStore | S3Store, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
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
        return cls(LocalStore(folder), folder)

    async def put(self, name: str, content: IO[bytes]) -> None:
        """All of it or nothing, under its name."""
        # In one request: the parts of one that was cut off would stay in a bucket for ever, where nobody sees them.
        await self._run(lambda: obstore.put(self._store, name, content, use_multipart=False))

    async def open(self, name: str) -> Iterator[bytes]:
        """In pieces. Each is fetched by a blocking call of its own when it is asked for, so that somebody who reads
        slowly keeps no connection waiting. Any of them may raise StorageUnavailableError."""
        size = (await self._run(lambda: obstore.head(self._store, name)))["size"]
        return (
            _done(partial(self._range, name, start, min(_PIECE_BYTES, size - start)))
            for start in range(0, size, _PIECE_BYTES)
        )

    async def read(self, name: str, *, start: int, length: int) -> bytes:
        return await self._run(lambda: self._range(name, start, length))

    def _range(self, name: str, start: int, length: int) -> bytes:
        return bytes(obstore.get_range(self._store, name, start=start, length=length))

    async def delete(self, name: str) -> None:
        """Fine where it is not there (any more)."""

        def delete() -> None:
            with suppress(FileNotFoundError):
                obstore.delete(self._store, name)
            if self._folder is not None:
                _delete_begun(self._folder / name)

        await self._run(delete)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _done, call)

    def close(self) -> None:
        self._threads.shutdown(wait=True)


def _done(call: Callable[[], T]) -> T:
    try:
        return call()
    except (BaseError, OSError) as error:
        _logger.error("storage_failed", exc_info=error)
        # Trying again does not help where a backup was restored without its files.
        lost = "The content of this file is not in the storage. Please tell the operator."
        raise StorageUnavailableError(lost if isinstance(error, FileNotFoundError) else None) from error


def _delete_begun(path: Path) -> None:
    """Until a file is whole, the library adds a number to its name, which it keeps where the process was killed."""
    with suppress(FileNotFoundError):
        for number in count(1):
            path.with_name(f"{path.name}#{number}").unlink()
