"""Reads and compares API keys."""

import base64
import secrets

from starlette.requests import Request


def given_key(request: Request) -> str:
    """The key from Bearer or from Basic, whose user name it is. Empty where there is none."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode("ascii").partition(":")[0]
        except ValueError:
            return ""
    return ""


def same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())
