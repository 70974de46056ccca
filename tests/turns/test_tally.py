"""Our own count of what comes: a provider that does not stop is noticed soon, and no other one is taken for it."""

import pytest

from pantheon.models.tokens import text_tokens
from pantheon.money.rate_card import Usage
from pantheon.turns.tally import Tally, delivered_part


def at_least(*pieces: str) -> int:
    tally = Tally()
    for piece in pieces:
        tally.receive({"choices": [{"delta": {"content": piece}}]})
    return tally.at_least


@pytest.mark.parametrize("token", ["7", "x ", "t9", "abc", " word", " antidisestablishmentarianism", "\u6f22", "};\n"])
def test_tokens_that_come_one_at_a_time_are_counted_whatever_their_size(token: str) -> None:
    assert at_least(*[token] * 1000) >= 1000


@pytest.mark.parametrize("size", [1, 2, 4, 20, 1000, 10**6])
def test_language_that_comes_in_other_pieces_is_not_counted_for_much_more_than_it_is(size: int) -> None:
    text = "The quick brown fox jumps over the lazy dog and then sleeps under the old tree. " * 20
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    assert text_tokens(text) // 3 <= at_least(*pieces) < 1.5 * text_tokens(text)


def test_what_was_thought_is_counted_once_where_it_is_told_under_two_names() -> None:
    tally = Tally()
    tally.receive({"choices": [{"delta": {"reasoning": "thinking", "reasoning_content": "thinking"}}]})

    assert tally.received_bytes == len("thinking")


@pytest.mark.parametrize(
    ("given", "paid"),
    [(0, Usage(input=9, cached_input=4)), (1, Usage(input=9, cached_input=4, output=21, reasoning=20))],
)
def test_who_was_given_nothing_pays_for_no_reasoning_either(given: int, paid: Usage) -> None:
    told = Usage(input=9, cached_input=4, output=30, reasoning=20)

    assert delivered_part(told, Tally(received_bytes=40, delivered_bytes=given)) == paid
