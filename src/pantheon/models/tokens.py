"""Our own count of tokens, without anybody's tokenizer: for what to set aside, and for what a provider does not tell.

`text_tokens` is the measure that is charged by: a token for three bytes. Plain language
has fewer with the tokenizers of today, so for it this is also a bound. Digits, rare signs, emoji
and base64 can have more.

`most_text_tokens` is for holds and bounds those as well: a tokenizer that works on bytes, or falls back to them, makes
at most one token of each. Only short words of plain letters are counted at three letters to a token, which holds for
language on the whole and not for letters thrown at random.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pantheon import exact_json

MOST_IMAGE_TOKENS = 50_000
"""gpt-4o-mini counts 48,169 for the largest image; most models count less than 2,000."""
IMAGE_TOKENS = 1_000

_INPUT = ("messages", "tools", "functions", "response_format")
_PER_MESSAGE = 8
_PER_ANSWER = 8
_FOR_TOOLS = 700
"""What providers write around declared tools and answer formats, out of our sight."""

_WORD = re.compile(r" ?(?<![A-Za-z0-9])[A-Za-z][a-z]{0,15}(?![A-Za-z0-9])")


def text_tokens(text: str) -> int:
    return -(-_bytes(text) // 3)


def most_text_tokens(text: str) -> int:
    words = [len(word) for word in _WORD.findall(text)]
    return _bytes(text) - sum(words) + sum(-(-length // 3) for length in words)


def input_tokens(body: Mapping[str, Any]) -> int:
    """The input of a request by the measure that is charged by."""
    asked = [body[name] for name in _INPUT if body.get(name)]
    return max(1, sum(_tokens_of(part, text_tokens, IMAGE_TOKENS) for part in asked))


def most_input_tokens(body: Mapping[str, Any]) -> int:
    """The most tokens that the input of a request can be, but for what `most_text_tokens` excepts."""
    messages = body.get("messages")
    count = _PER_ANSWER + _PER_MESSAGE * (len(messages) if isinstance(messages, list) else 0)
    count += _tokens_of(messages, most_text_tokens, MOST_IMAGE_TOKENS)
    for name in _INPUT[1:]:
        if body.get(name):
            count += _FOR_TOOLS + most_text_tokens(exact_json.dumps(body[name]))
    return count


def _tokens_of(value: Any, count: Callable[[str], int], image: int) -> int:
    if isinstance(value, dict):
        if value.get("type") == "image_url":
            return image
        return sum(count(name) + _tokens_of(item, count, image) + 2 for name, item in value.items())
    if isinstance(value, list):
        return sum(_tokens_of(item, count, image) + 1 for item in value)
    return count(value if isinstance(value, str) else exact_json.dumps(value))


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
