"""The text of each kind of file, and what is told where there is none. (In a process of its own: `test_parsing.py`.)"""

import io
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from pantheon.workspace.extract import UnreadableError, text_of
from tests.workspace.documents import docx, paragraph, pdf, table


def locked(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("Secret plan"))))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file_type", "content", "text"),
    [
        ("pdf", pdf("First page", "", "Third page"), "First page\n\n\n\nThird page"),
        ("pdf", locked(""), "Secret plan"),
        (
            "docx",
            docx(paragraph("Plan") + table(("Who", "What"), ("Ada", "Größe")) + paragraph("End")),
            "Plan\nWho | What\nAda | Größe\nEnd",
        ),
        ("txt", "Größe\r\n".encode(), "Größe\r\n"),
        ("txt", "\ufeffGröße".encode(), "Größe"),
        ("md", "# Größe".encode("cp1252"), "# Größe"),
        ("csv", "a;Größe".encode("utf-16"), "a;Größe"),
    ],
)
def test_a_file_has_a_text(tmp_path: Path, file_type: str, content: bytes, text: str) -> None:
    (tmp_path / "file").write_bytes(content)

    assert text_of(file_type, tmp_path / "file") == text.encode()


DAMAGED = "This file is damaged, or is not what its name says."
NO_TEXT = "This PDF holds no text, perhaps only images. Run text recognition and send it again."
TOO_LARGE = "This document unpacks to more than 50 MB. Remove large pictures and send it again."


@pytest.mark.parametrize(
    ("file_type", "content", "message"),
    [
        ("pdf", b"%PDF-1.7 and then garbage", DAMAGED),
        ("pdf", pdf("Plan")[:200], DAMAGED),
        ("pdf", pdf(), NO_TEXT),
        ("pdf", pdf("", ""), NO_TEXT),
        ("pdf", locked("hunter2"), "This PDF is protected by a password. Remove the protection and send it again."),
        ("docx", b"PK\x03\x04 word/document.xml", DAMAGED),
        ("docx", docx("<w:p>"), DAMAGED),
        ("docx", docx(paragraph("")), "This file holds no text."),
        ("docx", docx("", extra={"word/media/1.bmp": bytes(51 * 1024 * 1024)}), TOO_LARGE),
        ("docx", docx("", extra={f"word/{number}": b"" for number in range(2000)}), TOO_LARGE),
        ("txt", b" \n\t", "This file holds no text."),
        ("txt", b"\x80" * 7 * 1024 * 1024, "This file holds more than 20 MB of text. Send it in parts."),
    ],
)
def test_or_it_says_why_it_has_none(tmp_path: Path, file_type: str, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(UnreadableError) as refused:
        text_of(file_type, tmp_path / "file")

    assert str(refused.value) == message
