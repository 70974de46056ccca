"""Calls to model providers that speak OpenAI's chat completions. Their failures become errors of ours here, once.

No body and no key is ever logged or put into an error: the caller gets attempts, with a status and nothing of the text.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from json import JSONDecodeError
from time import monotonic
from typing import Any, Protocol

import httpx2
from pydantic import SecretStr

from pantheon import exact_json
from pantheon.errors import (
    AnswerTooLargeError,
    PantheonError,
    ProviderKeyRefusedError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimedOutError,
    ProviderUnavailableError,
    StreamCutError,
)
from pantheon.models.events import EventTooLargeError, events

Json = dict[str, Any]

_LONGEST_WAIT = 2
"""Seconds. A provider that asks for more is not waited for: the caller is told instead."""
_LINGER_SECONDS = 0.25
_TIMED_OUT = (408, 504, 524)
_OPERATORS_FAULT = (401, 402, 403)
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_REASON = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")


@dataclass(frozen=True)
class Limits:
    connect_seconds: float = 5
    read_seconds: float = 120
    """The longest silence. A reasoning model thinks for a minute before its first byte."""
    total_seconds: float = 600
    retry_seconds: tuple[float, ...] = (0.25, 0.75)
    """Pauses before the second and the third try, where the provider names none."""
    answer_bytes: int = 32 * 2**20
    chunk_bytes: int = 2**20


@dataclass(frozen=True)
class Attempt:
    seconds: float
    outcome: str
    """`answered`, `closed` by the caller, or the code of the error."""
    status: int | None
    """What the provider answered, where it did."""


@dataclass(frozen=True)
class Answer:
    body: Json


class Provider(Protocol):
    """Whoever answers. `attempts`, where a list is given, gets a line for each try, also for those that failed."""

    name: str

    async def complete(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> Answer: ...

    def stream(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> AsyncGenerator[Json]:
        """OpenAI's chunks as they arrive. Closing it closes the connection to the provider."""
        ...


def shared_client(limits: Limits | None = None) -> httpx2.AsyncClient:
    """The one client of a process: connections to a provider are kept and used again by every call."""
    limits = limits or Limits()
    return httpx2.AsyncClient(
        verify=_trusted_authorities(),
        timeout=httpx2.Timeout(limits.read_seconds, connect=limits.connect_seconds),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60),
        follow_redirects=False,
    )


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Read once in a process, which takes as long as a few calls."""
    return ssl.create_default_context()


class HttpProvider:
    def __init__(
        self,
        name: str,
        base_url: str,
        key: SecretStr | None,
        *,
        client: httpx2.AsyncClient,
        output_limit: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`output_limit` is what it calls the limit of the output, where it takes no other name for it."""
        self.name = name
        self._output_limit = output_limit
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = key
        self._client = client
        self._limits = limits or Limits()

    async def complete(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> Answer:
        wanted = {name: value for name, value in body.items() if name != "stream_options"} | {"stream": False}
        tries = self._tries(wanted, attempts)
        async with aclosing(tries):
            async for answer in tries:
                return Answer(answer)
        raise StreamCutError

    async def stream(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> AsyncGenerator[Json]:
        options = body.get("stream_options")
        options = (options if isinstance(options, dict) else {}) | {"include_usage": True}
        tries = self._tries(dict(body) | {"stream": True, "stream_options": options}, attempts)
        async with aclosing(tries):
            async for chunk in tries:
                yield chunk

    async def _tries(self, body: Json, attempts: list[Attempt] | None) -> AsyncGenerator[Json]:
        """What the first try that answers gives. Once the caller has anything of it, there is no other try."""
        deadline = monotonic() + self._limits.total_seconds
        content = exact_json.dumps(self._in_its_words(body)).encode()
        for pause in (*self._limits.retry_seconds, None):
            handed_on = False
            seen = _Try()
            try:
                pieces = self._once(content, deadline, seen, streams=body["stream"])
                async with aclosing(pieces):
                    async for piece in pieces:
                        handed_on = True
                        yield piece
                seen.outcome = "answered"
                return
            except PantheonError as error:
                seen.outcome = error.code
                wait = _wait_after(error, pause)
                if handed_on or wait is None or monotonic() + wait > deadline:
                    raise
            finally:
                if attempts is not None:
                    attempts.append(seen.attempt())
            await asyncio.sleep(wait)

    def _in_its_words(self, body: Json) -> Json:
        if self._output_limit is None:
            return body
        return {self._output_limit if name in _OUTPUT_LIMITS else name: value for name, value in body.items()}

    async def _once(self, content: bytes, deadline: float, seen: "_Try", *, streams: bool) -> AsyncGenerator[Json]:
        async with self._answer(content, deadline) as response:
            seen.status = response.status_code
            received = _within(response.aiter_raw(), deadline, self._limits.answer_bytes)
            async with aclosing(received):
                if response.status_code != 200:
                    raise _refused(response.status_code, await _reasons(received), response.headers)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise ProviderUnavailableError
                if streams:
                    async with aclosing(_chunks(received, self._limits.chunk_bytes)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                else:
                    answer = _object(b"".join([part async for part in received]))
                    failure = _failure_in(answer)
                    if failure is not None:
                        raise failure
                    yield answer

    @asynccontextmanager
    async def _answer(self, content: bytes, deadline: float) -> AsyncIterator[httpx2.Response]:
        # Compressed answers are not asked for: a small one could unpack into more than is allowed.
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.get_secret_value()}"
        request = self._client.build_request("POST", self._url, content=content, headers=headers)
        with _translated():
            async with _until(deadline):
                response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


class _Try:
    def __init__(self) -> None:
        self._began = monotonic()
        self.status: int | None = None
        self.outcome = "closed"

    def attempt(self) -> Attempt:
        return Attempt(round(monotonic() - self._began, 3), self.outcome, self.status)


class _translated:
    """Turns what the HTTP client raises into errors of ours, without its text: that may name the address."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError | httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
            raise ProviderTimedOutError from None
        if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
            raise ProviderUnavailableError from None


def _until(deadline: float) -> asyncio.Timeout:
    return asyncio.timeout(max(0.0, deadline - monotonic()))


async def _within(parts: AsyncIterator[bytes], deadline: float, most: int) -> AsyncGenerator[bytes]:
    received = 0
    while True:
        with _translated():
            async with _until(deadline):
                part = await anext(parts, None)
        if part is None:
            return
        received += len(part)
        if received > most:
            raise AnswerTooLargeError
        yield part


async def _chunks(received: AsyncGenerator[bytes], most: int) -> AsyncGenerator[Json]:
    begun = finished = False
    failure = None
    try:
        async with aclosing(events(received, most)) as told:
            async for event, data in told:
                if data == b"[DONE]":
                    await _linger(received)
                    return
                chunk = _object(data)
                failure = _failure_in(chunk, named=event == "error")
                if failure is not None:
                    break
                finished = finished or _is_last(chunk)
                begun = True
                yield chunk
    except EventTooLargeError:
        raise AnswerTooLargeError from None
    except ProviderUnavailableError:
        if begun:
            raise StreamCutError from None
        raise
    if failure is not None:
        raise failure
    # Not everybody sends the end mark; a reason to stop says as well that this was all.
    if not finished:
        raise StreamCutError


async def _linger(received: AsyncGenerator[bytes]) -> None:
    """Reads to the end of what is over, since only a connection that was read to its end can be used again."""
    with suppress(TimeoutError, PantheonError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in received:
                pass


def _is_last(chunk: Json) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)


def _object(raw: bytes) -> Json:
    try:
        value = exact_json.loads(raw)
    except JSONDecodeError:
        raise ProviderUnavailableError from None
    if not isinstance(value, dict):
        raise ProviderUnavailableError
    return value


def _failure_in(value: Json, *, named: bool = False) -> PantheonError | None:
    """The failure that an answer with status 200, or a chunk or event of it, tells of."""
    problem = _problem_in(value)
    if problem is None and not named:
        return None
    told = problem if isinstance(problem, dict) else value
    status = told.get("code") if type(told.get("code")) is int else told.get("status")
    return _refused(status if type(status) is int else 500, told, {})


def _problem_in(value: Json) -> Any:
    if value.get("error"):
        return value["error"]
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and (choice.get("error") or choice.get("finish_reason") == "error"):
            return choice.get("error") or {}
    return None


async def _reasons(received: AsyncGenerator[bytes]) -> Json:
    """The machine-readable part of a refusal, where there is one within its first 64 KiB."""
    raw = b""
    with suppress(PantheonError, JSONDecodeError):
        async for part in received:
            raw += part
            if len(raw) > 65_536:
                break
        value = exact_json.loads(raw)
        if isinstance(value, dict) and isinstance(value.get("error"), dict):
            return dict(value["error"])
    return {}


def _refused(status: int, reasons: Json, headers: Mapping[str, str]) -> PantheonError:
    if status == 429:
        return ProviderRateLimitedError(retry_after=_seconds(headers.get("retry-after")))
    if status in _OPERATORS_FAULT:
        return ProviderKeyRefusedError()
    if status in _TIMED_OUT:
        return ProviderTimedOutError()
    if 400 <= status < 500:
        named = [reasons.get(name) for name in ("code", "type", "param")]
        words = [word for word in named if isinstance(word, str) and _REASON.fullmatch(word)]
        said = f" It says: {', '.join(dict.fromkeys(words))}." if words else ""
        return ProviderRejectedError(ProviderRejectedError.detail + said)
    return ProviderUnavailableError(retry_after=_seconds(headers.get("retry-after")))


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,5}", text) else None


def _wait_after(error: PantheonError, pause: float | None) -> float | None:
    """Seconds before another try, or None where one would not help or would come too late for whoever waits."""
    if pause is None or not isinstance(error, ProviderRateLimitedError | ProviderUnavailableError):
        return None
    if error.retry_after is None:
        return pause
    return error.retry_after if error.retry_after <= _LONGEST_WAIT else None
