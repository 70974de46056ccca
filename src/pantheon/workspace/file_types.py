"""What kinds of files are taken. The name and the content have to say the same."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Literal, get_args

from pantheon.errors import UnsupportedFileError

FileType = Literal["pdf", "docx", "txt", "md", "csv"]
FILE_TYPES: tuple[FileType, ...] = get_args(FileType)

CONTENT_TYPES: dict[FileType, str] = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
}

_PDF, _ZIP, _DOCX = b"%PDF-", b"PK\x03\x04", b"word/document.xml"
_PDF_BEGINS_WITHIN = 1024
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT = bytes({*range(32, 256), *b"\t\n\v\f\r\x1b"})
_CHUNK_BYTES = 256 * 1024


def recognise(filename: str, content: IO[bytes]) -> FileType:
    """Reads all of it in pieces, and rewinds it. Raises UnsupportedFileError."""
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    if suffix not in FILE_TYPES:
        raise UnsupportedFileError(f"Only files of these types are taken: {', '.join(FILE_TYPES)}.")
    content.seek(0)
    head = content.read(_PDF_BEGINS_WITHIN)
    if not head:
        raise UnsupportedFileError("The file is empty.")
    if not _is(suffix, head, content):
        raise UnsupportedFileError(f"The content of this file is not what its name says: {suffix}.")
    content.seek(0)
    return suffix


def _is(file_type: FileType, head: bytes, content: IO[bytes]) -> bool:
    if file_type == "pdf":
        return _PDF in head
    if file_type == "docx":
        # A zip archive keeps the names of what is in it as they are. Unpacking is for a process with limits.
        return head.startswith(_ZIP) and _contains(content, _DOCX)
    if head.startswith((_PDF, _ZIP)):
        return False
    return head.startswith(_UTF_16) or not any(piece.translate(None, _TEXT) for piece in _pieces(content))


def _contains(content: IO[bytes], wanted: bytes) -> bool:
    before = b""
    for piece in _pieces(content):
        if wanted in before + piece:
            return True
        before = piece[-len(wanted) :]
    return False


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    return iter(lambda: content.read(_CHUNK_BYTES), b"")
