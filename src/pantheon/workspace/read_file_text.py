import codecs
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import files
from pantheon.errors import ConflictError, NotFoundError, StorageNotConfiguredError
from pantheon.workspace.files import COLUMNS, file_of, living
from pantheon.workspace.storage import Storage, text_of


@dataclass(frozen=True)
class TextPart:
    filename: str
    text: str
    size: int
    """Of the whole text. All counts are bytes of UTF-8."""
    next_offset: int | None
    """Where the next part begins; None after the last."""


async def read_file_text(
    database: Database,
    storage: Storage | None,
    *,
    user_id: UUID,
    room_id: UUID,
    file_id: UUID,
    offset: int = 0,
    limit: int,
) -> TextPart:
    """A part of the text that was read out of a file, in whole characters. `limit` is at least 4, the longest of them.

    Raises NotFoundError for whatever is not in this room; ConflictError, which says why, where there is no text (yet).
    """
    assert offset >= 0 and limit >= 4
    query = select(*COLUMNS).where(files.c.id == file_id, files.c.room_id == room_id, *living(user_id))
    async with database.transaction() as tx:
        row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFoundError("There is no such file in this room.")
    file = file_of(row)
    if file.text_size is None:
        raise ConflictError(file.error_message or "This file is still being read. Try again in a moment.")
    if storage is None:
        raise StorageNotConfiguredError
    if offset >= file.text_size:
        return TextPart(file.filename, "", file.text_size, None)
    part = await storage.read(text_of(file.id), start=offset, length=min(limit, file.text_size - offset))
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(part)
    # A character that was cut in two begins the next part.
    end = offset + len(part) - len(decoder.getstate()[0])
    return TextPart(file.filename, text, file.text_size, end if end < file.text_size else None)
