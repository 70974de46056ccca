"""Files: sent, checked, kept under ids, given back."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from pantheon import settings as all_settings
from pantheon.errors import SettingsError
from pantheon.workspace.purge import purge
from tests.installation import Installation, eventually
from tests.workspace.conftest import SHARED, Desk
from tests.workspace.documents import docx, paragraph, pdf

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MEGABYTE = 1024 * 1024


def folder(desk: Desk) -> Path:
    url = desk.it.runtime.settings.storage_url
    assert url is not None
    return Path(url)


@SHARED
@pytest.mark.parametrize(
    ("filename", "content", "content_type"),
    [
        ("plan.pdf", pdf("Plan"), "application/pdf"),
        ("Plan.DOCX", docx(paragraph("Plan")), WORD),
        # What tells it apart lies across two of the pieces that are looked at.
        ("plan.docx", (b"PK\x03\x04" + bytes(256 * 1024))[: 256 * 1024 - 5] + b"word/document.xml", WORD),
        ("plan.txt", "Größe\t1\r\n".encode(), "text/plain"),
        ("plan.txt", "Größe".encode("cp1252"), "text/plain"),
        ("plan.txt", "Größe".encode("utf-16"), "text/plain"),
        ("plan.md", b"# Plan\n", "text/markdown"),
        ("plan.csv", b"a;b\n1;2\n", "text/csv"),
    ],
)
async def test_a_file_comes_back_as_it_was_sent(ada: Desk, filename: str, content: bytes, content_type: str) -> None:
    room = await ada.room()

    made = await ada.file(room, filename, content)

    assert (made["filename"], made["content_type"], made["file_size"]) == (filename, content_type, len(content))
    assert (made["room_id"], made["user_id"]) == (room["id"], str(ada.person.id))
    assert (made["parse_status"], made["error_message"]) == ("pending", None)
    assert await ada.get(f"/files/{made['id']}") == made
    assert await ada.get(f"/rooms/{room['id']}/files") == {"files": [made], "total": 1}
    answer = await ada.call("GET", f"/files/{made['id']}/content")
    assert answer.content == content
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{filename}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"


@SHARED
@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("plan.exe", b"MZ"),
        ("plan", b"Plan"),
        ("plan.html", b"<p>Plan"),
        ("plan.xlsx", b"PK\x03\x04 xl/workbook.xml"),
        ("plan.pdf", b"Plan"),
        ("plan.pdf", b" " * 2000 + b"%PDF-1.4"),
        ("plan.docx", pdf("Plan")),
        ("plan.docx", b"PK\x03\x04 xl/workbook.xml"),
        ("plan.docx", b"word/document.xml"),
        ("plan.txt", pdf("Plan")),
        ("plan.txt", docx("")),
        ("plan.csv", b"a,b\0"),
        ("plan.md", b"x" * MEGABYTE + b"\x01"),
        ("plan.txt", b""),
        (".txt", b"Plan"),
        ("a" * 252 + ".txt", b"Plan"),
    ],
)
async def test_content_and_name_must_agree(ada: Desk, filename: str, content: bytes) -> None:
    room = await ada.room()

    answer = await ada.upload(room, filename, content)

    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_file")
    assert (await ada.get(f"/rooms/{room['id']}/files"))["total"] == 0


@SHARED
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\ada\\plan.txt", "plan.txt"),
        ("Größe 👩‍💻 “1”.txt", "Größe 👩💻 “1”.txt"),
        ("a\u202etxt.exe.txt", "atxt.exe.txt"),
    ],
)
async def test_a_name_is_only_shown_and_storage_knows_ids(ada: Desk, sent: str, shown: str) -> None:
    made = await ada.file(await ada.room(), sent)

    assert made["filename"] == shown
    kept = {str(path.relative_to(folder(ada))) for path in folder(ada).rglob("*") if path.is_file()}
    assert f"files/{made['id']}" in kept
    assert not any("txt" in name for name in kept)
    assert folder(ada).stat().st_mode & 0o077 == 0


@SHARED
async def test_a_file_has_at_most_ten_megabytes(ada: Desk) -> None:
    room = await ada.room()

    most = await ada.upload(room, "most.txt", b"x" * 10 * MEGABYTE)
    more = await ada.upload(room, "more.txt", b"x" * (10 * MEGABYTE + 1))
    much_more = await ada.upload(room, "much.txt", b"x" * 11 * MEGABYTE)

    assert most.status_code == 201
    assert (more.status_code, more.json()["code"]) == (413, "file_too_large")
    assert much_more.status_code == 413
    content = await ada.call("GET", f"/files/{most.json()['id']}/content")
    assert content.content == b"x" * 10 * MEGABYTE


@SHARED
async def test_the_files_of_a_room_share_a_hundred_megabytes(ada: Desk) -> None:
    room, other = await ada.room(), await ada.room()
    big = await ada.file(room)
    ada.it.execute("UPDATE files SET file_size = %s WHERE id = %s", 100 * MEGABYTE - 10, big["id"])

    at_once = await asyncio.gather(*(ada.upload(room, "a.txt", b"0123456789") for _ in range(4)))

    assert sorted(answer.status_code for answer in at_once) == [201, 413, 413, 413]
    assert (await ada.upload(room, "a.txt", b"0")).json()["code"] == "room_full"
    await ada.file(other)
    await ada.delete(f"/files/{big['id']}")
    await ada.file(room)


@SHARED
async def test_sending_and_deleting_in_turn_comes_to_an_end_until_what_was_deleted_is_purged(ada: Desk) -> None:
    room = await ada.room()
    big = [await ada.file(room) for _ in range(2)]
    for file in big:
        await ada.delete(f"/files/{file['id']}")
        ada.it.execute("UPDATE files SET file_size = %s WHERE id = %s", 100 * MEGABYTE - 5, file["id"])

    last = await ada.upload(room, "a.txt", b"0123456789")
    refused = await ada.upload(room, "a.txt", b"0")

    assert last.status_code == 201
    assert (refused.status_code, refused.json()["code"]) == (413, "room_full")
    assert "deleted in this room within the last 7 days" in refused.json()["detail"]
    assert (await ada.call("POST", f"/files/{big[0]['id']}/restore")).status_code == 413
    await ada.delete(f"/files/{last.json()['id']}")
    assert (await ada.call("POST", f"/files/{big[0]['id']}/restore")).status_code == 200
    ada.it.execute("UPDATE files SET deleted_at = now() - interval '8 days' WHERE id = %s", big[1]["id"])
    await purge(ada.it.runtime.database, ada.it.runtime.storage)
    await ada.delete(f"/files/{big[0]['id']}")
    await ada.file(room)


@SHARED
@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"file": "x"}},
        {"content": b"file=x", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"files": {"other": ("a.txt", b"x")}},
        {"files": [("file", ("a.txt", b"x")), ("file", ("b.txt", b"x"))]},
        {"files": {"file": ("a.txt", b"x")}, "data": {"more": "x"}},
        {"data": {"file": "x"}, "files": {}},
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data"}},
    ],
)
async def test_a_form_that_is_not_one_file_is_refused(ada: Desk, request_: dict[str, Any]) -> None:
    room = await ada.room()
    headers = ada.person.headers | request_.pop("headers", {})

    answer = await ada.it.client.post(f"/api/v1/rooms/{room['id']}/files", headers=headers, **request_)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@SHARED
async def test_an_upload_that_breaks_off_leaves_nothing_and_is_no_error_of_ours(ada: Desk) -> None:
    room, address = await ada.room(), urlsplit(ada.it.url)
    head = (
        f"POST /api/v1/rooms/{room['id']}/files HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: {ada.person.headers['Authorization']}\r\nContent-Length: 5000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    )
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head.encode() + b"x" * 2 * MEGABYTE)
        await writer.drain()
        writer.close()

        async def over() -> bool:
            return any(line["event"] == "request" for line in logs)

        await eventually(over)

    assert [line for line in logs if line["log_level"] in ("warning", "error")] == []
    assert ada.it.rows("SELECT FROM files WHERE room_id = %s", room["id"]) == []


@SHARED
async def test_a_deleted_file_is_gone_at_once_and_so_is_one_in_a_deleted_room(ada: Desk) -> None:
    room = await ada.room()
    first, second = await ada.file(room, "first.txt"), await ada.file(room, "second.txt")

    await ada.delete(f"/files/{first['id']}")
    assert await ada.get(f"/rooms/{room['id']}/files") == {"files": [second], "total": 1}
    await ada.delete(f"/rooms/{room['id']}")

    for file in (first, second):
        for method, ending in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert await ada.refusal(method, f"/files/{file['id']}{ending}") == (404, "File not found.")
    assert (await ada.upload(room, "a.txt", b"x")).status_code == 404


@SHARED
async def test_what_the_storage_does_not_take_is_nowhere(ada: Desk) -> None:
    room = await ada.room()
    made = await ada.file(room)
    place = folder(ada)
    aside = place.rename(f"{place}-aside")
    place.touch()
    try:
        sent = await ada.upload(room, "a.txt", b"x")
        read = await ada.call("GET", f"/files/{made['id']}/content")
    finally:
        place.unlink()
        aside.rename(place)

    assert (sent.status_code, sent.json()["code"]) == (503, "storage_unavailable")
    assert (read.status_code, read.json()["code"]) == (503, "storage_unavailable")
    assert (await ada.get(f"/rooms/{room['id']}/files"))["files"] == [made]
    # Nor does it take the space of who tries again, and again.
    lost = "UPDATE files SET file_size = %s WHERE room_id = %s AND stored_at IS NULL"
    ada.it.execute(lost, 200 * MEGABYTE, room["id"])
    await ada.file(room)


@SHARED
async def test_a_content_that_the_storage_lost_is_not_worth_another_try(ada: Desk) -> None:
    made = await ada.file(await ada.room())
    (folder(ada) / "files" / made["id"]).unlink()

    told = "The content of this file is not in the storage. Please tell the operator."
    assert await ada.refusal("GET", f"/files/{made['id']}/content") == (503, told)


async def test_without_a_storage_no_files_are_taken(
    install: Callable[..., AbstractAsyncContextManager[Installation]],
) -> None:
    async with install(worker=False, storage_url=None) as installation:
        ada = Desk(installation, await installation.person())

        answer = await ada.upload(await ada.room(), "a.txt", b"x")

        assert (answer.status_code, answer.json()["code"]) == (503, "storage_not_configured")


@pytest.mark.parametrize("url", ["files", "./files", "http://bucket", "s3://", "s3:///x"])
def test_a_storage_is_a_full_path_or_a_bucket(url: str) -> None:
    with pytest.raises(SettingsError, match="STORAGE_URL: must be a folder"):
        all_settings.load(_env_file=None, app_env="test", storage_url=url)
