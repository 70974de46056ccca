"""What is deleted can be restored for seven days, and is purged after them with all that belonged to it."""

from pathlib import Path
from typing import Any

import pytest

from pantheon.errors import StorageUnavailableError
from pantheon.workspace.purge import purge
from tests.workspace.conftest import SHARED, Desk
from tests.workspace.test_parsing import parse

pytestmark = SHARED

TABLES = {"agents": "agents", "rooms": "rooms", "sessions": "chat_sessions", "files": "files"}


async def _everything(desk: Desk) -> dict[str, Any]:
    """One of each, and the path that lists it."""
    room, agent = await desk.room(), await desk.agent()
    await desk.make(f"/rooms/{room['id']}/agents", agent_id=agent["id"])
    session = await desk.make(f"/rooms/{room['id']}/sessions")
    return {"agents": agent, "rooms": room, "sessions": session, "files": await desk.file(room)}


def _list_of(kind: str, made: dict[str, Any]) -> str:
    return f"/rooms/{made['rooms']['id']}/{kind}" if kind in ("sessions", "files") else f"/{kind}"


def _path_of(kind: str, made: dict[str, Any]) -> str:
    prefix = f"/rooms/{made['rooms']['id']}" if kind == "sessions" else ""
    return f"{prefix}/{kind}/{made[kind]['id']}"


def _deleted_before(desk: Desk, kind: str, thing: Any, time: str) -> None:
    desk.it.execute(f"UPDATE {TABLES[kind]} SET deleted_at = now() - interval '{time}' WHERE id = %s", thing["id"])


async def _purge(desk: Desk) -> None:
    await purge(desk.it.runtime.database, desk.it.runtime.storage)


def _stored(desk: Desk, file: Any) -> list[Path]:
    folder = Path(desk.it.runtime.settings.storage_url or "")
    return [path for path in folder.rglob("*") if path.name == file["id"]]


def _rows(desk: Desk, kind: str, thing: Any) -> int:
    return len(desk.it.rows(f"SELECT FROM {TABLES[kind]} WHERE id = %s", thing["id"]))


@pytest.mark.parametrize("kind", list(TABLES))
async def test_what_is_deleted_can_be_listed_and_restored_for_seven_days(ada: Desk, bob: Desk, kind: str) -> None:
    made = await _everything(ada)
    thing, listed = made[kind], _list_of(kind, made)
    restore = f"/{kind}/{thing['id']}/restore"
    assert (await ada.refusal("POST", restore))[0] == 404

    await ada.delete(_path_of(kind, made))
    assert await ada.get(listed) == {kind: [], "total": 0}
    assert await ada.get(f"{listed}?deleted=true") == {kind: [thing], "total": 1}
    _deleted_before(ada, kind, thing, "6 days 23 hours")
    await _purge(ada)

    assert (await bob.refusal("POST", restore))[0] == 404
    answer = await ada.call("POST", restore)
    assert (answer.status_code, answer.json()) == (200, thing)
    assert await ada.get(listed) == {kind: [thing], "total": 1}
    assert await ada.get(f"{listed}?deleted=true") == {kind: [], "total": 0}

    await ada.delete(_path_of(kind, made))
    _deleted_before(ada, kind, thing, "7 days")
    assert (await ada.refusal("POST", restore))[0] == 404
    assert await ada.get(f"{listed}?deleted=true") == {kind: [], "total": 0}


async def test_a_restored_room_has_all_that_it_had(ada: Desk) -> None:
    made = await _everything(ada)
    path = f"/rooms/{made['rooms']['id']}"
    before = [await ada.get(f"{path}/{part}") for part in ("agents", "sessions", "files")]

    await ada.delete(path)
    for kind in ("sessions", "files"):
        assert (await ada.refusal("POST", f"/{kind}/{made[kind]['id']}/restore"))[0] == 404
    await ada.call("POST", f"{path}/restore")

    assert [await ada.get(f"{path}/{part}") for part in ("agents", "sessions", "files")] == before
    assert (await ada.call("GET", f"/files/{made['files']['id']}/content")).content == b"Notes."


async def test_a_restored_agent_takes_its_place_again_unless_its_key_is_taken(ada: Desk) -> None:
    made = await _everything(ada)
    path, restore = f"/rooms/{made['rooms']['id']}/agents", f"/agents/{made['agents']['id']}/restore"
    before = await ada.get(path)

    await ada.delete(_path_of("agents", made))
    assert (await ada.get(path))["total"] == 0
    other = await ada.agent(made["agents"]["agent_key"])
    assert await ada.refusal("POST", restore) == (409, "Agent key already exists for this user.")
    await ada.change(f"/agents/{other['id']}", agent_key="other")

    assert (await ada.call("POST", restore)).status_code == 200
    assert await ada.get(path) == before


async def test_a_file_needs_its_space_to_be_restored(ada: Desk) -> None:
    made = await _everything(ada)
    await ada.delete(_path_of("files", made))
    big = await ada.file(made["rooms"])
    ada.it.execute("UPDATE files SET file_size = %s WHERE id = %s", 100 * 1024 * 1024, big["id"])

    refused = await ada.call("POST", f"/files/{made['files']['id']}/restore")

    assert (refused.status_code, refused.json()["code"]) == (413, "room_full")


@pytest.mark.parametrize("kind", list(TABLES))
async def test_after_seven_days_it_is_purged_with_all_that_belonged_to_it(ada: Desk, kind: str) -> None:
    made, other = await _everything(ada), {"files": await ada.file(await ada.room())}
    await ada.delete(_path_of(kind, made))
    _deleted_before(ada, kind, made[kind], "7 days 1 minute")

    await _purge(ada)

    gone = {"rooms", "sessions", "files"} if kind == "rooms" else {kind}
    assert {name for name in TABLES if not _rows(ada, name, made[name])} == gone
    assert bool(_stored(ada, made["files"])) == ("files" not in gone)
    assert len(_stored(ada, other["files"])) == 1


async def test_the_text_goes_with_the_file(ada: Desk) -> None:
    file = await ada.file(await ada.room())
    await parse(ada, file)
    assert {path.parent.name for path in _stored(ada, file)} == {"files", "texts"}

    await ada.delete(f"/files/{file['id']}")
    _deleted_before(ada, "files", file, "8 days")
    await _purge(ada)

    assert _stored(ada, file) == []


async def test_an_upload_that_was_never_finished_is_purged_too(ada: Desk) -> None:
    file = await ada.file(await ada.room())
    ada.it.execute(
        "UPDATE files SET stored_at = NULL, created_at = now() - interval '16 minutes' WHERE id = %s", file["id"]
    )

    await _purge(ada)
    assert (await ada.refusal("POST", f"/files/{file['id']}/restore"))[0] == 404
    _deleted_before(ada, "files", file, "8 days")
    await _purge(ada)

    assert (_rows(ada, "files", file), _stored(ada, file)) == (0, [])


async def test_no_row_goes_before_its_content(ada: Desk) -> None:
    made = await _everything(ada)
    await ada.delete(_path_of("rooms", made))
    _deleted_before(ada, "rooms", made["rooms"], "8 days")
    place = Path(ada.it.runtime.settings.storage_url or "")
    aside = place.rename(f"{place}-aside")
    place.touch()
    try:
        with pytest.raises(StorageUnavailableError):
            await _purge(ada)
    finally:
        place.unlink()
        aside.rename(place)
    # Nor where no storage is configured (any more).
    await purge(ada.it.runtime.database, None)
    assert (_rows(ada, "rooms", made["rooms"]), _rows(ada, "files", made["files"])) == (1, 1)

    await _purge(ada)
    assert (_rows(ada, "rooms", made["rooms"]), _stored(ada, made["files"])) == (0, [])
