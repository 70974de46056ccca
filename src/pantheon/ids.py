"""The one source of identifiers and secrets."""

import hashlib
import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """A UUIDv7: it starts with the time, so that rows with neighbouring keys lie in neighbouring index pages."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def token() -> str:
    """A secret of 256 bits for a session, a link or a key. Only its `token_hash` is ever stored."""
    return secrets.token_urlsafe(32)


def token_hash(value: str) -> bytes:
    # A plain hash is enough: the value has 256 random bits, so nobody can guess it from its hash.
    return hashlib.sha256(value.encode()).digest()
