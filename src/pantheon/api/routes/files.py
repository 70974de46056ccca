"""Files in rooms of the caller. They are sent as a form with one field, `file`."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from pantheon.api.callers import caller_with
from pantheon.api.dependencies import Deleted, WithPage, WithRuntime
from pantheon.api.strict_json import strict_router
from pantheon.errors import InvalidInputError, StorageUnavailableError
from pantheon.users.caller import Caller
from pantheon.users.rights import Scope
from pantheon.workspace.add_file import add_file
from pantheon.workspace.delete import delete_file
from pantheon.workspace.files import MAX_FILE_BYTES, File, ParseStatus
from pantheon.workspace.restore import restore_file
from pantheon.workspace.view_files import list_files, open_file, view_file
from pantheon.workspace.view_rooms import view_room

router = strict_router("files")

Worker = Annotated[Caller, Depends(caller_with(Scope.WORKSPACE))]

UPLOAD_PATH = re.compile(r"/api/v1/rooms/[^/]+/files")
MAX_BODY_BYTES = MAX_FILE_BYTES + 64 * 1024
"""A file of the largest size, and the form around it."""
MAX_BODY_SECONDS = 300

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class FileAnswer(BaseModel):
    id: UUID
    user_id: UUID
    room_id: UUID
    filename: str
    content_type: str
    file_size: int
    parse_status: ParseStatus = Field(description="Agents can read the file once it is parsed.")
    error_message: str | None = Field(description="Why no text could be read out of it.")
    created_at: datetime


class FilesAnswer(BaseModel):
    files: list[FileAnswer]
    total: int


@router.post("/rooms/{room_id}/files", status_code=201, openapi_extra=_UPLOAD)
async def post_file(room_id: UUID, request: Request, runtime: WithRuntime, caller: Worker) -> FileAnswer:
    """pdf, docx, txt, md or csv; at most 10 MB, and 100 MB in a room."""
    # Before the body is read, which only happens for people who may send it.
    await view_room(runtime.database, user_id=caller.user_id, room_id=room_id)
    async with _sent_file(request) as sent:
        file = await add_file(
            runtime.database,
            runtime.storage,
            user_id=caller.user_id,
            room_id=room_id,
            filename=sent.filename or "",
            content=sent.file,
            size=sent.size or 0,
        )
    return _file(file)


@router.get("/rooms/{room_id}/files")
async def get_files(
    room_id: UUID, runtime: WithRuntime, caller: Worker, page: WithPage, deleted: Deleted = False
) -> FilesAnswer:
    """Newest first."""
    listed, total = await list_files(
        runtime.database, user_id=caller.user_id, room_id=room_id, deleted=deleted, limit=page.limit, offset=page.offset
    )
    return FilesAnswer(files=[_file(file) for file in listed], total=total)


@router.get("/files/{file_id}")
async def get_file(file_id: UUID, runtime: WithRuntime, caller: Worker) -> FileAnswer:
    return _file(await view_file(runtime.database, user_id=caller.user_id, file_id=file_id))


@router.get("/files/{file_id}/content", response_class=Response, responses={200: {"content": {"*/*": {}}}})
async def get_content(file_id: UUID, runtime: WithRuntime, caller: Worker) -> StreamingResponse:
    """The file as it was sent, to be saved and never shown by the browser."""
    file, pieces = await open_file(runtime.database, runtime.storage, user_id=caller.user_id, file_id=file_id)
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "Content-Length": str(file.file_size),
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(pieces, headers=headers)


@router.delete("/files/{file_id}", status_code=204)
async def remove_file(file_id: UUID, runtime: WithRuntime, caller: Worker) -> None:
    await delete_file(runtime.database, user_id=caller.user_id, file_id=file_id)


@router.post("/files/{file_id}/restore")
async def post_restore_file(file_id: UUID, runtime: WithRuntime, caller: Worker) -> FileAnswer:
    """Within 7 days of its deletion."""
    return _file(await restore_file(runtime.database, user_id=caller.user_id, file_id=file_id))


@asynccontextmanager
async def _sent_file(request: Request) -> AsyncIterator[UploadFile]:
    """The one field of the form. What is larger than a megabyte waits on the disk and not in memory."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidInputError("Send a form (multipart/form-data) with one field, file.")
    try:
        form = await request.form(max_files=1, max_fields=0)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise InvalidInputError("The form cannot be read. It must have one field, file.") from None
    except ClientDisconnect:
        raise InvalidInputError("The file broke off before its end.") from None
    except OSError as error:
        raise StorageUnavailableError(retry_after=60) from error
    try:
        sent = form.get("file")
        if not isinstance(sent, UploadFile):
            raise InvalidInputError("The form must have one field, file, with a file in it.")
        yield sent
    finally:
        await form.close()


def _file(file: File) -> FileAnswer:
    return FileAnswer(**vars(file), content_type=file.content_type)
