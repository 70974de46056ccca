"""Bearer tokens (JWT) of the one outside issuer that is configured, such as Supabase or another OIDC provider.

What a token says about where to find keys is never followed. A key serves only the algorithm that it was made for, so
a token cannot choose how it is checked.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Self

import httpx2
import jwt
import structlog

from pantheon.errors import NotSignedInError, OutsideError
from pantheon.settings import Settings

_logger = structlog.get_logger(__name__)

ALGORITHMS = ("ES256", "RS256")
_LEEWAY_SECONDS = 30
_FETCH_SECONDS = 5
_MAX_KEYS_BYTES = 1024 * 1024
_KEYS_LAST_SECONDS = 600
_REFETCH_SECONDS = 30
_MAX_SUBJECT_LENGTH = 255

_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What hostile text makes of a JSON or JWT parser."""


@dataclass(frozen=True)
class Claims:
    issuer: str
    subject: str
    email: str | None
    """None also where the issuer says that it was not verified."""


class TokenVerifier:
    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where no issuer is configured."""
        if settings.oidc_issuer is None:
            return None
        keys_url = settings.oidc_jwks_url or settings.oidc_issuer.rstrip("/") + "/.well-known/jwks.json"
        return cls(issuer=settings.oidc_issuer, audience=settings.oidc_audience, keys_url=keys_url)

    def __init__(self, *, issuer: str, audience: str, keys_url: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = _KeySet(keys_url)

    async def close(self) -> None:
        await self._keys.close()

    async def verify(self, token: str) -> Claims:
        """Raises NotSignedInError for a bad token, OutsideError when the issuer's keys cannot be had."""
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise NotSignedInError
        try:
            payload = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp", "sub"]},
            )
        except _UNREADABLE:
            raise NotSignedInError from None
        subject, email = payload["sub"], payload.get("email")
        if not 1 <= len(subject) <= _MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise NotSignedInError
        unverified = payload.get("email_verified") is False
        return Claims(self._issuer, subject, email if isinstance(email, str) and not unverified else None)


def _key_id(token: str) -> str:
    try:
        key_id = jwt.get_unverified_header(token)["kid"]
    except (*_UNREADABLE, KeyError):
        raise NotSignedInError from None
    if not isinstance(key_id, str):
        raise NotSignedInError
    return key_id


class _KeySet:
    """The issuer's keys. Old ones are used on for as long as no new ones can be fetched."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx2.AsyncClient(timeout=_FETCH_SECONDS)
        self._lock = asyncio.Lock()
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._fresh_until = 0.0
        self._no_refetch_until = 0.0

    async def close(self) -> None:
        await self._client.aclose()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        if time.monotonic() >= self._fresh_until:
            async with self._lock:
                # Whoever waited for the lock finds what the one before has fetched.
                if time.monotonic() >= self._fresh_until:
                    await self._fetch()
        if key_id not in self._known() and time.monotonic() >= self._no_refetch_until:
            # A new key, or one that somebody made up: the issuer is asked, but not as often as somebody likes.
            async with self._lock:
                if key_id not in self._known() and time.monotonic() >= self._no_refetch_until:
                    self._no_refetch_until = time.monotonic() + _REFETCH_SECONDS
                    await self._fetch()
        return self._known().get(key_id)

    def _known(self) -> dict[str, jwt.PyJWK]:
        if self._keys is None:
            raise OutsideError("The issuer of this token cannot be reached. Please try again.", retry_after=5)
        return self._keys

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = _parse_keys(await self._download())
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, *_UNREADABLE) as error:
            _logger.warning("issuer_keys_unavailable", error=type(error).__name__)
            # Callers do not queue up for an issuer that is down: with old keys they go on, without they are told.
            self._fresh_until = time.monotonic() + (_REFETCH_SECONDS if self._keys else 1)
        else:
            self._fresh_until = time.monotonic() + _KEYS_LAST_SECONDS

    async def _download(self) -> bytes:
        content = bytearray()
        async with self._client.stream("GET", self._url) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_KEYS_BYTES:
                    raise ValueError("the key set is too large")
        return bytes(content)


def _parse_keys(raw: bytes) -> dict[str, jwt.PyJWK]:
    """Keys of other kinds, for encryption or without a name are none of ours and left out."""
    return {item["kid"]: key for item in json.loads(raw)["keys"] if (key := _usable_key(item)) is not None}


def _usable_key(item: Any) -> jwt.PyJWK | None:
    if not isinstance(item, dict) or not isinstance(item.get("kid"), str) or item.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK.from_dict(item)
    except _UNREADABLE:
        return None
    return key if key.algorithm_name in ALGORITHMS else None
