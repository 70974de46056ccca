"""Passwords: argon2id, always computed in a thread because a hash takes a fifth of a second by design."""

import asyncio
import unicodedata
from functools import cache

from pwdlib import PasswordHash

from pantheon.errors import InvalidInputError

MIN_LENGTH = 10
MAX_LENGTH = 1000

_hasher = PasswordHash.recommended()


async def hash_password(password: str) -> str:
    """Raises InvalidInputError unless it has 10 to 1000 characters: length is all that is demanded."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInputError(f"password must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    return await asyncio.to_thread(_hasher.hash, _bytes(password))


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether it is the one. Takes as long where there is no hash, so that time does not tell who has an account."""
    return await asyncio.to_thread(_verify, password, password_hash)


def _verify(password: str, password_hash: str | None) -> bool:
    # Made before it is known whether it is needed, so that the first call of a process tells nothing either.
    dummy = _dummy_hash()
    matches = _hasher.verify(_bytes(password), password_hash or dummy)
    return matches and password_hash is not None


@cache
def _dummy_hash() -> str:
    return _hasher.hash("nobody has this password")


def _bytes(password: str) -> bytes:
    # Keyboards differ in how they compose the same letter.
    return unicodedata.normalize("NFC", password).encode(errors="replace")
