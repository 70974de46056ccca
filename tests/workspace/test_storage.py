"""Files in a bucket, from the upload to the purge, and what a process that was killed leaves in a folder."""

import io
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pantheon import settings as all_settings
from pantheon.workspace.purge import purge
from pantheon.workspace.storage import Storage
from tests.installation import Installation
from tests.workspace.bucket import NAME, Bucket, bucket
from tests.workspace.conftest import Desk
from tests.workspace.test_parsing import parse, read

Install = Callable[..., AbstractAsyncContextManager[Installation]]

MEGABYTE = 1024 * 1024


@asynccontextmanager
async def desk_with_bucket(
    install: Install, monkeypatch: pytest.MonkeyPatch, **environment: str
) -> AsyncIterator[tuple[Desk, Bucket]]:
    with bucket() as kept:
        for name, value in (kept.environment() | environment).items():
            monkeypatch.setenv(name, value)
        async with install(worker=False, storage_url=f"s3://{NAME}/some/prefix") as it:
            yield Desk(it, await it.person()), kept


async def test_a_bucket_keeps_files_from_their_upload_to_their_purge(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Large enough for the library to send it in parts, if it may.
    content = b"Notes. " * (6 * MEGABYTE // 7)
    async with desk_with_bucket(install, monkeypatch) as (ada, kept):
        file = await ada.file(await ada.room(), "notes.txt", content)
        assert (await parse(ada, file))["parse_status"] == "parsed"

        stored = [f"some/prefix/{kind}/{file['id']}" for kind in ("files", "texts")]
        assert kept.objects == dict.fromkeys(stored, content)
        assert (await ada.call("GET", f"/files/{file['id']}/content")).content == content
        assert (await read(ada, file, offset=MEGABYTE, limit=5)).text == content[MEGABYTE:][:5].decode()
        with zipfile.ZipFile(io.BytesIO((await ada.call("GET", "/users/me/export")).content)) as archive:
            assert archive.read(f"files/{file['id']}.txt") == content

        await ada.call("DELETE", "/users/me", json={})
        await purge(ada.it.runtime.database, ada.it.runtime.storage)
        assert kept.objects == {}


@pytest.mark.parametrize("trouble", ["is_down", "wrong_secret"])
async def test_a_bucket_that_refuses_is_a_storage_that_cannot_be_used(
    install: Install, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "another one"} if trouble == "wrong_secret" else {}
    async with desk_with_bucket(install, monkeypatch, **secret) as (ada, kept):
        kept.is_down = trouble == "is_down"
        room = await ada.room()

        answer = await ada.upload(room, "notes.txt", b"Notes.")

        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert kept.asked != [] and kept.objects == {}
        assert (await ada.get(f"/rooms/{room['id']}/files"))["total"] == 0


async def test_a_bucket_that_breaks_off_is_no_fault_of_the_file(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_with_bucket(install, monkeypatch) as (ada, kept):
        file = await ada.file(await ada.room())
        kept.breaks_off = True
        assert (await parse(ada, file))["parse_status"] == "pending"

        kept.breaks_off = False
        assert (await parse(ada, file))["parse_status"] == "parsed"
        assert ada.it.rows("SELECT parse_attempts FROM files") == [{"parse_attempts": 1}]


KILLED_WHILE_IT_WRITES = """
import asyncio, io, resource, signal, sys
from obstore.store import LocalStore
from pantheon.workspace.storage import Storage

# What kills a process that writes more than it may, at the very moment. Python would rather have an error.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
asyncio.run(Storage(LocalStore(sys.argv[1])).put("files/1", io.BytesIO(bytes(2000))))
"""


async def test_what_a_killed_process_had_written_goes_with_the_file(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    storage = Storage.of(all_settings.load(_env_file=None, app_env="test", storage_url=str(tmp_path)))
    assert storage is not None
    await storage.put("files/10", io.BytesIO(b"Another."))
    assert len(list((tmp_path / "files").iterdir())) == 2

    await storage.delete("files/1")

    assert [path.name for path in (tmp_path / "files").iterdir()] == ["10"]
    storage.close()
