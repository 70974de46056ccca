"""Fields of forms. Whatever is missing or was sent as a file counts as left empty."""

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import FormData

from pantheon.errors import InvalidInputError, PantheonError, TooManyRequestsError


@dataclass(frozen=True)
class Form:
    data: FormData = field(default_factory=FormData)

    def secret(self, name: str) -> str:
        """Exactly what was sent, as a password may hold any character. Never to be shown again."""
        value = self.data.get(name)
        return value if isinstance(value, str) else ""

    def text(self, name: str, *, longest: int = 320) -> str:
        """Without spaces around it. Raises InvalidInputError for what no person would type into a field."""
        value = unicodedata.normalize("NFC", self.secret(name).strip())
        if len(value) > longest:
            raise InvalidInputError(f"{name} must have at most {longest} characters")
        if not value.isprintable():
            raise InvalidInputError(f"{name} must not contain control or invisible characters")
        return value

    def texts(self, name: str) -> list[str]:
        return [value for value in self.data.getlist(name) if isinstance(value, str)]

    def shown(self, name: str) -> str:
        """What the field holds when the form is shown again."""
        value = self.secret(name)
        return value if value.isprintable() and len(value) <= 320 else ""


async def close_form(request: Request) -> AsyncIterator[None]:
    """A dependency of every page: what was sent as a file is put aside on disk until somebody closes it."""
    try:
        yield
    finally:
        await request.close()


async def read_form(request: Request) -> Form:
    return Form(await request.form())


def sentence(error: PantheonError) -> str:
    """The error as people are told it: errors that name a field of the API become a sentence about the form."""
    name, _, rest = error.message.partition(" ")
    if not isinstance(error, InvalidInputError) or not name.islower():
        return error.message if error.message.endswith(".") else f"{error.message}."
    return f"{name.replace('_', ' ').capitalize()} {rest}."


def wait_text(error: TooManyRequestsError) -> str:
    """How long to wait, in the unit in which people would count it."""
    minutes = -(-(error.retry_after or 60) // 60)
    return "Try again in a minute." if minutes == 1 else f"Try again in {minutes} minutes."
