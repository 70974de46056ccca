"""Our own count: never below what a tokenizer that works on bytes can make of the hard cases."""

import base64
from typing import Any

import pytest

from pantheon.models.tokens import MOST_IMAGE_TOKENS, most_input_tokens, most_text_tokens, text_tokens


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("\u6f22", 1), ("\U0001f600", 2)]
)
def test_a_token_for_three_bytes_rounded_up(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "\u6f22\u5b57",
        "\U0001f9d1\u200d\U0001f680",
        "31415926535",
        "}{][;;--",
        base64.b64encode(bytes(range(256))).decode(),
    ],
)
def test_what_tokenizers_take_apart_is_bounded_by_its_bytes(text: str) -> None:
    size = len(text.encode())

    assert size * 0.95 <= most_text_tokens(text) <= size


def test_plain_language_is_not_held_three_times_over() -> None:
    text = "The quick brown fox jumps over the lazy dog and then sleeps under the old tree. " * 20

    assert text_tokens(text) <= most_text_tokens(text) <= 1.5 * text_tokens(text)


def test_everything_that_a_model_reads_is_counted() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello there"}]}
    parts = [
        {"type": "text", "text": "Hello there"},
        {"type": "image_url", "image_url": {"url": "data:" + "A" * 10**6}},
    ]
    pictured = {"messages": [{"role": "user", "content": parts}]}
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 300}}]

    least = most_input_tokens(body)

    assert least >= text_tokens("Hello there")
    assert least + MOST_IMAGE_TOKENS < most_input_tokens(pictured) < least + MOST_IMAGE_TOKENS + 100
    assert most_input_tokens(body | {"tools": tools}) > least + 500
    assert most_input_tokens(body | {"response_format": {"type": "json_schema"}}) > least


@pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": "x"}, {"messages": [3, None, [{}]]}])
def test_a_body_of_nonsense_is_counted_too(body: dict[str, Any]) -> None:
    assert most_input_tokens(body) > 0
