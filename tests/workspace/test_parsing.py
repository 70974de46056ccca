"""The text of a file: read out by a process with limits, kept beside the file, given to tools in parts."""

import asyncio
import resource
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pantheon.errors import ConflictError, NotFoundError
from pantheon.worker.run import working
from pantheon.workspace.parse_file import MAX_ATTEMPTS, parse_file
from pantheon.workspace.read_file_text import TextPart, read_file_text
from tests.crash.processes import service
from tests.installation import Installation, eventually
from tests.workspace.conftest import SHARED, Desk
from tests.workspace.documents import docx, pdf

Install = Callable[..., AbstractAsyncContextManager[Installation]]


async def parse(desk: Desk, file: Any) -> Any:
    """The file once the job has run."""
    assert desk.it.runtime.storage is not None
    await parse_file(desk.it.runtime.database, desk.it.runtime.storage, UUID(file["id"]))
    return await desk.get(f"/files/{file['id']}")


async def read(desk: Desk, file: Any, *, offset: int = 0, limit: int = 100_000, room: Any = None) -> TextPart:
    return await read_file_text(
        desk.it.runtime.database,
        desk.it.runtime.storage,
        user_id=desk.person.id,
        room_id=UUID(room["id"] if room else file["room_id"]),
        file_id=UUID(file["id"]),
        offset=offset,
        limit=limit,
    )


@SHARED
async def test_a_file_is_parsed_into_its_text(ada: Desk) -> None:
    file = await ada.file(await ada.room(), "a.pdf", pdf("First page", "", "Third page"))

    parsed = await parse(ada, file)

    assert (parsed["parse_status"], parsed["error_message"]) == ("parsed", None)
    text = "First page\n\n\n\nThird page"
    assert await read(ada, file) == TextPart("a.pdf", text, len(text), None)


@SHARED
async def test_what_cannot_be_read_says_why(ada: Desk) -> None:
    file = await ada.file(await ada.room(), "a.docx", docx("<w:p>"))

    failed = await parse(ada, file)

    told = "This file is damaged, or is not what its name says."
    assert (failed["parse_status"], failed["error_message"]) == ("failed", told)
    with pytest.raises(ConflictError, match=told):
        await read(ada, file)


def bomb() -> bytes:
    """A page that unpacks to 300 MB."""
    packed = zlib.compress(bytes(300 * 1024 * 1024))
    plain = pdf("Plan")
    length, end = plain.index(b"<</Length"), plain.index(b"\nendstream")
    head = b"<</Filter/FlateDecode/Length %d>>\n" % len(packed)
    return plain[:length] + head + b"stream\n" + packed + plain[end:]


@pytest.mark.prove
@SHARED
@pytest.mark.parametrize(
    ("filename", "content", "told"),
    [
        ("a.pdf", bomb, "This PDF unpacks to more than can be read here. Send it in parts."),
        (
            "a.docx",
            lambda: docx("<w:p/>" * 7_000_000),
            "This file needs too much memory to be read. Send it in parts.",
        ),
    ],
)
async def test_a_bomb_hurts_nobody_else(ada: Desk, filename: str, content: Callable[[], bytes], told: str) -> None:
    file = await ada.file(await ada.room(), filename, content())

    failed = await parse(ada, file)

    assert (failed["parse_status"], failed["error_message"]) == ("failed", told)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 700 * 1024


@SHARED
async def test_a_text_is_read_in_whole_characters_and_only_in_its_room(ada: Desk, bob: Desk) -> None:
    text = "aß€😀" * 50
    room, other = await ada.room(), await ada.room()
    file = await ada.file(room, "a.txt", text.encode())
    with pytest.raises(ConflictError, match="still being read"):
        await read(ada, file)
    await parse(ada, file)

    parts, offset = [], 0
    while offset is not None:
        part = await read(ada, file, offset=offset, limit=7)
        assert len(part.text.encode()) <= 7
        parts.append(part.text)
        offset = part.next_offset

    assert "".join(parts) == text
    assert part.size == len(text.encode())
    assert await read(ada, file, offset=10**9) == TextPart("a.txt", "", part.size, None)
    for desk, where in ((ada, other), (ada, {"id": str(uuid4())}), (bob, room)):
        with pytest.raises(NotFoundError):
            await read(desk, file, room=where)
    await ada.delete(f"/files/{file['id']}")
    with pytest.raises(NotFoundError):
        await read(ada, file)


@SHARED
async def test_of_many_workers_at_once_one_parses(ada: Desk) -> None:
    file = await ada.file(await ada.room())

    await asyncio.gather(*(parse(ada, file) for _ in range(4)))

    [row] = ada.it.rows("SELECT parse_status, parse_attempts FROM files WHERE id = %s", file["id"])
    assert row == {"parse_status": "parsed", "parse_attempts": 1}


DIED = "UPDATE files SET parse_status = 'parsing', parse_attempts = %s, parse_leased_until = now() + %s WHERE id = %s"


@SHARED
async def test_after_a_worker_died_another_tries_but_not_for_ever(ada: Desk) -> None:
    first, second, third = [await ada.file(await ada.room()) for _ in range(3)]
    for file, attempts, lease in ((first, 2, "-1 second"), (second, MAX_ATTEMPTS, "-1 second"), (third, 1, "1 minute")):
        ada.it.execute(DIED.replace("now() + %s", f"now() + interval '{lease}'"), attempts, file["id"])

    statuses = [(await parse(ada, file))["parse_status"] for file in (first, second, third)]

    assert statuses == ["parsed", "failed", "parsing"]
    told = (await ada.get(f"/files/{second['id']}"))["error_message"]
    assert told == "This file could not be read, although it was tried 3 times."


@SHARED
async def test_a_storage_that_is_away_costs_no_attempt(ada: Desk) -> None:
    file = await ada.file(await ada.room())
    content = Path(ada.it.runtime.settings.storage_url or "") / "files" / file["id"]
    aside = content.rename(content.with_suffix(".aside"))

    assert (await parse(ada, file))["parse_status"] == "pending"
    aside.rename(content)

    assert (await parse(ada, file))["parse_status"] == "parsed"
    assert ada.it.rows("SELECT parse_attempts FROM files WHERE id = %s", file["id"]) == [{"parse_attempts": 1}]


async def _is_parsed(desk: Desk, file: Any) -> bool:
    return bool((await desk.get(f"/files/{file['id']}"))["parse_status"] == "parsed")


async def test_the_worker_parses_what_is_sent_and_what_fell_through(install: Install) -> None:
    async with install(worker=False) as it:
        ada = Desk(it, await it.person())
        room = await ada.room()
        lost = await ada.file(room)
        it.execute("DELETE FROM procrastinate_jobs")

        async with working(it.runtime):
            await eventually(lambda: _is_parsed(ada, lost))
            sent = await ada.file(room)
            await eventually(lambda: _is_parsed(ada, sent))


async def test_the_many_files_of_one_do_not_keep_the_first_of_another_waiting(install: Install) -> None:
    async with install(worker=False) as it:
        ada, bob = Desk(it, await it.person()), None
        # In the same row, as every second person is.
        while bob is None or bob.person.id.int % 2 != ada.person.id.int % 2:
            bob = Desk(it, await it.person(email=f"{uuid4()}@example.com"))
        room = await ada.room()
        first, second, third = [await ada.file(room) for _ in range(3)]
        his = await bob.file(await bob.room())
        [worker] = it.rows("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")

        taken = []
        for _ in range(4):
            [job] = it.rows("SELECT id, args FROM procrastinate_fetch_job_v2(NULL, %s)", worker["id"])
            taken.append(job["args"]["file_id"])
            it.execute("DELETE FROM procrastinate_jobs WHERE id = %s", job["id"])

        assert taken == [each["id"] for each in (first, his, second, third)]


@pytest.mark.prove
async def test_a_worker_that_is_killed_each_time_gives_up_after_three(
    app_url: str, owner_url: str, tmp_path: Path
) -> None:
    failpoints = ["file.claimed"] * MAX_ATTEMPTS
    async with service(app_url, owner_url, failpoints=failpoints, storage_url=str(tmp_path / "files")) as (process, it):
        ada = Desk(it, await it.person())
        room = await ada.room()
        process.start()
        sent = await process.post(
            f"/api/v1/rooms/{room['id']}/files", files={"file": ("a.txt", b"Notes.")}, headers=ada.person.headers
        )
        assert sent is not None
        file = sent.json()

        async def failed() -> bool:
            if process.process.exitcode is not None:
                # As if the time had passed after which the dead are believed to be dead.
                it.execute("UPDATE files SET parse_leased_until = now() - interval '1 second'")
                it.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            process.rise()
            return bool((await ada.get(f"/files/{file['id']}"))["parse_status"] == "failed")

        await eventually(failed, seconds=90)

        assert process.deaths == ["file.claimed"] * MAX_ATTEMPTS
