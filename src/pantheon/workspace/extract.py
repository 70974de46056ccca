"""Reads the text out of one file, in a process of its own with limits, because files come from anybody.

    python -I -m pantheon.workspace.extract TYPE SOURCE TARGET

writes the text to TARGET, or says on its output why there is none and exits with UNREADABLE. It imports nothing of the
application, is given no settings, and whatever else becomes of it is the file's fault.
"""

import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_TEXT_BYTES = 20 * 1024 * 1024
UNREADABLE = 3

_MEMORY_BYTES = 512 * 1024 * 1024
_CPU_SECONDS = 50
_MAX_UNZIPPED_BYTES = 50 * 1024 * 1024
_MAX_ZIPPED_FILES = 2000
_XML_NO_MEMORY = 2
"""How the parser of XML says it."""


class UnreadableError(Exception):
    """The message is for the person who sent the file."""


def main(file_type: str, source: Path, target: Path) -> None:
    limit()
    try:
        target.write_bytes(text_of(file_type, source))
    except UnreadableError as error:
        print(error)  # noqa: T201 - this is how it answers
        sys.exit(UNREADABLE)


def limit() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, MAX_TEXT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def text_of(file_type: str, source: Path) -> bytes:
    """In UTF-8. Raises UnreadableError."""
    try:
        text = _READERS[file_type](source)
    except UnreadableError:
        raise
    except MemoryError:
        raise UnreadableError("This file needs too much memory to be read. Send it in parts.") from None
    except Exception:
        # The libraries raise whatever their authors did not think of.
        raise UnreadableError("This file is damaged, or is not what its name says.") from None
    if not text.strip():
        raise UnreadableError("This file holds no text.")
    # Models have no use for NUL, and half a surrogate pair is no character.
    encoded = text.replace("\0", "").encode(errors="replace")
    if len(encoded) > MAX_TEXT_BYTES:
        raise UnreadableError("This file holds more than 20 MB of text. Send it in parts.")
    return encoded


def _pdf(source: Path) -> str:
    from pypdf import PdfReader
    from pypdf.errors import LimitReachedError

    reader = PdfReader(source)
    # Many files are locked with an empty password, so that everybody can read but nobody change them.
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("This PDF is protected by a password. Remove the protection and send it again.")
    try:
        text = "\n\n".join(page.extract_text() for page in reader.pages)
    except LimitReachedError:
        raise UnreadableError("This PDF unpacks to more than can be read here. Send it in parts.") from None
    if not text.strip():
        raise UnreadableError("This PDF holds no text, perhaps only images. Run text recognition and send it again.")
    return text


def _docx(source: Path) -> str:
    with zipfile.ZipFile(source) as archive:
        parts = archive.infolist()
    # No more than that is ever unpacked, whatever is in there: reading stops at the size that a part says it has.
    if len(parts) > _MAX_ZIPPED_FILES or sum(part.file_size for part in parts) > _MAX_UNZIPPED_BYTES:
        raise UnreadableError("This document unpacks to more than 50 MB. Remove large pictures and send it again.")
    import docx
    from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]

    try:
        return "\n".join(_blocks(docx.Document(str(source)).iter_inner_content()))
    except XMLSyntaxError as error:
        if error.code == _XML_NO_MEMORY:
            raise MemoryError from None
        raise


def _blocks(blocks: Iterator[object]) -> Iterator[str]:
    """Paragraphs, and tables with a line for each row, in the order in which they are read."""
    from docx.table import Table

    for block in blocks:
        if isinstance(block, Table):
            for row in block.rows:
                # A cell that spans several columns is there several times.
                cells = {cell._tc: " ".join(cell.text.split()) for cell in row.cells}
                yield " | ".join(cells.values())
        else:
            yield block.text  # type: ignore[attr-defined]


def _text(source: Path) -> str:
    content = source.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What older programs write. Any bytes are some text in it.
        return content.decode("cp1252", errors="replace")


_READERS: dict[str, Callable[[Path], str]] = {"pdf": _pdf, "docx": _docx, "txt": _text, "md": _text, "csv": _text}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
