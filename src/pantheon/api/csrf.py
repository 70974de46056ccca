"""Proof that a request made with the session cookie comes from a page of ours, because browsers send the cookie anyway.

Two independent checks: the browser says which site the request comes from, and the page knows a token that is made
from the session. Callers with a bearer token need neither: no browser adds that by itself.
"""

import hmac
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request

from pantheon import ids
from pantheon.errors import CrossSiteRequestError
from pantheon.settings import Settings

HEADER = "X-CSRF-Token"
FIELD = "csrf_token"

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Only local and test run without SECRET_KEYS, as one process: its tokens need not outlive it.
_PROCESS_KEY = ids.token().encode()


def token_for(settings: Settings, session_id: UUID) -> str:
    return _sign(_keys(settings)[0], session_id)


async def check(request: Request, settings: Settings, session_id: UUID) -> None:
    """Raises CrossSiteRequestError unless it has our origin, and the session's token as header or form field."""
    if not check_origin(request, settings):
        raise CrossSiteRequestError
    sent = (await _sent_token(request)).encode(errors="replace")
    if not any(hmac.compare_digest(sent, _sign(key, session_id).encode()) for key in _keys(settings)):
        raise CrossSiteRequestError


def check_origin(request: Request, settings: Settings) -> bool:
    """Whether the request says where it comes from. Raises CrossSiteRequestError where that is another site."""
    claimed = request.headers.get("origin") or request.headers.get("referer")
    if claimed is None:
        return False
    if _origin(claimed) not in _own_origins(request, settings):
        raise CrossSiteRequestError
    return True


async def _sent_token(request: Request) -> str:
    if HEADER in request.headers:
        return request.headers[HEADER]
    # A form with files has to send the header: it is not read here, before anybody knows who may send it.
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        field = (await request.form()).get(FIELD)
        return field if isinstance(field, str) else ""
    return ""


def _own_origins(request: Request, settings: Settings) -> set[str | None]:
    own = {_origin(settings.public_url)}
    if settings.is_local:
        # Locally people use 127.0.0.1 and localhost, tunnels and forwarded ports, without configuring any of them.
        own.add(_origin(f"{request.url.scheme}://{request.headers.get('host', '')}"))
    return own - {None}


def _origin(url: str) -> str | None:
    """Scheme, host and port as browsers write them; None for what has none, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else None


def _keys(settings: Settings) -> list[bytes]:
    return [key.get_secret_value().encode() for key in settings.secret_keys] or [_PROCESS_KEY]


def _sign(key: bytes, session_id: UUID) -> str:
    return hmac.digest(key, b"csrf:" + session_id.bytes, "sha256").hex()
