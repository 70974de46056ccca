"""A file that people gave to the agents of a room, and the text that was read out of it."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, exists, func, select

from pantheon.db.engine import Tx
from pantheon.db.tables import files, rooms
from pantheon.errors import ConflictError, NotFoundError, RoomFullError, UnsupportedFileError
from pantheon.workspace import retention
from pantheon.workspace import rooms as all_rooms
from pantheon.workspace.file_types import CONTENT_TYPES, FileType

ParseStatus = Literal["pending", "parsing", "parsed", "failed"]

MEGABYTE = 1024 * 1024
MAX_FILE_BYTES = 10 * MEGABYTE
MAX_ROOM_BYTES = 100 * MEGABYTE
MAX_FILES = 1000
"""That one room may have."""
MAX_NAME_LENGTH = 255


@dataclass(frozen=True)
class File:
    id: UUID
    user_id: UUID
    room_id: UUID
    filename: str
    """For people and agents to name it by; in storage nothing is found by it."""
    file_type: FileType
    file_size: int
    parse_status: ParseStatus
    error_message: str | None
    """Why no text could be read out of it."""
    text_size: int | None
    """Bytes of its text in UTF-8, once it is parsed."""
    created_at: datetime

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.file_type]


COLUMNS = [files.c[name] for name in File.__dataclass_fields__]


def file_of(row: RowMapping) -> File:
    return File(**row)


def living(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """A file lives from when all of it is stored, and no longer than its room."""
    return files.c.deleted_at.is_(None), *_of(user_id)


def restorable(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return retention.restorable(files), *_of(user_id)


def _of(user_id: UUID) -> tuple[ColumnElement[bool], ...]:
    in_room = exists().where(rooms.c.id == files.c.room_id, *all_rooms.living(user_id))
    return files.c.user_id == user_id, files.c.stored_at.is_not(None), in_room


async def get_file(tx: Tx, file_id: UUID, *, user_id: UUID) -> File:
    """Raises NotFoundError, also for another user's and for a deleted one."""
    row = (await tx.execute(select(*COLUMNS).where(files.c.id == file_id, *living(user_id)))).mappings().one_or_none()
    if row is None:
        raise NotFoundError("File not found.")
    return file_of(row)


async def require_space(tx: Tx, room_id: UUID, size: int) -> None:
    """The room has to be locked, so that two at once cannot share the last space. What is on its way counts as well.

    Raises RoomFullError, or ConflictError where there are too many files.
    """
    number, taken = await _used(tx, files.c.room_id == room_id, files.c.deleted_at.is_(None))
    if number >= MAX_FILES:
        raise ConflictError(f"There are {MAX_FILES} files in this room already. Delete one that is not needed.")
    if taken + size > MAX_ROOM_BYTES:
        raise RoomFullError


async def require_an_end(tx: Tx, room_id: UUID, size: int) -> None:
    """What was deleted is kept for some days, so sending and deleting in turn would fill the storage without an end.

    The room has to be locked. Raises RoomFullError.
    """
    number, taken = await _used(tx, files.c.room_id == room_id, files.c.stored_at.is_not(None))
    if number >= 2 * MAX_FILES or taken + size > 2 * MAX_ROOM_BYTES:
        raise RoomFullError(
            f"Too much was deleted in this room within the last {retention.KEPT.days} days, for which it is kept."
        )


async def _used(tx: Tx, *where: ColumnElement[bool]) -> tuple[int, int]:
    """Number and bytes."""
    used = select(func.count(), func.coalesce(func.sum(files.c.file_size), 0)).where(*where)
    number, taken = (await tx.execute(used)).one()
    return number, taken


def clean_name(sent: str) -> str:
    """The name without the folders that some programs send with it, and without what cannot be shown."""
    last = unicodedata.normalize("NFC", sent).replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in last if character.isprintable()).strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise UnsupportedFileError(f"The file needs a name of 1 to {MAX_NAME_LENGTH} characters.")
    return name
