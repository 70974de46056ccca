"""Counts what a provider sends and what of it is handed on, without reading more into it than there is."""

import re
from dataclasses import dataclass
from typing import Any

from pantheon.models.provider import Json
from pantheon.models.usage import Reported, normalise, usage_of
from pantheon.money.rate_card import Usage

_LONGEST_TOKEN = 8
"""Bytes. Text whose tokens are longer than this on average is no text."""

_LETTERS = re.compile(r"[A-Za-z]+")


@dataclass
class Tally:
    received_bytes: int = 0
    received_letters: int = 0
    received_pieces: int = 0
    delivered_bytes: int = 0
    reported: Reported | None = None

    def receive(self, chunk: Json) -> int:
        """Counts a chunk, or a whole answer; answers how many bytes of output are in it."""
        told = usage_of(chunk)
        if told is not None:
            self.reported = normalise(told)
        choices = chunk.get("choices")
        text = "".join(_output(choice) for choice in (choices if isinstance(choices, list) else ()))
        size = len(text.encode(errors="surrogatepass"))
        self.received_bytes += size
        self.received_letters += sum(map(len, _LETTERS.findall(text)))
        self.received_pieces += size > 0
        return size

    def deliver(self, size: int) -> None:
        self.delivered_bytes += size

    @property
    def at_least(self) -> int:
        """Tokens that were received at the very least. Most providers send one at a time, some a sentence at once.

        Some take words apart: then three letters are one token. A digit or a sign may be a token of its own.
        """
        most = _tokens(self.received_letters) + self.received_bytes - self.received_letters
        return max(min(most, self.received_pieces), self.received_bytes // _LONGEST_TOKEN)

    @property
    def delivered_tokens(self) -> int:
        return _tokens(self.delivered_bytes)

    @property
    def all_delivered(self) -> bool:
        return self.delivered_bytes == self.received_bytes

    def believed(self) -> Usage | None:
        """What the provider says was used, unless it says that nothing came where something came."""
        usage = self.reported.usage if self.reported else None
        return None if usage is not None and usage.output == 0 and self.received_bytes > 0 else usage

    @property
    def provider_cost(self) -> int | None:
        return self.reported.cost if self.reported else None


def delivered_part(usage: Usage, tally: Tally) -> Usage:
    """The usage without the part of the visible output that nobody was given. Reasoning came before what was given."""
    if tally.delivered_bytes == 0:
        return Usage(input=usage.input, cached_input=usage.cached_input, cache_write=usage.cache_write)
    visible = usage.output - usage.reasoning
    part = -(-visible * tally.delivered_bytes // tally.received_bytes)
    return Usage(
        input=usage.input,
        cached_input=usage.cached_input,
        cache_write=usage.cache_write,
        output=usage.reasoning + part,
        reasoning=usage.reasoning,
        tool_calls=usage.tool_calls,
    )


def _output(choice: Any) -> str:
    """Text, refusals, reasoning that is shown, and the names and arguments of tools."""
    part = (choice.get("delta") or choice.get("message")) if isinstance(choice, dict) else None
    if not isinstance(part, dict):
        return ""
    # Some tell what was thought under both names.
    texts = [part.get("content"), part.get("refusal"), part.get("reasoning_content") or part.get("reasoning")]
    calls = part.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            texts += [function.get("name"), function.get("arguments")]
    return "".join(text for text in texts if isinstance(text, str))


def _tokens(size: int) -> int:
    return -(-size // 3)
