import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantheon.money.amounts import (
    MAX_NANOCREDITS,
    NANOCREDITS,
    format_credits,
    format_decimal,
    parse_credits,
    parse_decimal,
)


@pytest.mark.parametrize(
    ("text", "decimals", "value"),
    [
        ("0", 2, 0),
        ("-0", 2, 0),
        ("0.00", 2, 0),
        ("1", 2, 100),
        ("1.5", 2, 150),
        ("1.50", 2, 150),
        ("-1.05", 2, -105),
        ("-0.01", 2, -1),
        ("500", 2, 50_000),
        ("12", 0, 12),
        ("333.33", 9, 333_330_000_000),
        ("0.000000001", 9, 1),
        ("999999999999999999", 0, 10**18 - 1),
    ],
)
def test_a_plain_decimal_is_its_integer_of_the_smallest_unit(text: str, decimals: int, value: int) -> None:
    assert parse_decimal(text, decimals=decimals) == value


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "-", ".", "+1", "--1", "1-", "01", "00", "-01", "1.", ".5", "-.5", "1..2", "1.2.3"],
        *[
            "1e3",
            "1E3",
            "1e-2",
            "0x10",
            "1_000",
            "1,000",
            "1,5",
            "1 000",
            " 1",
            "1 ",
            "1\n",
            "\t1",
            "1\x00",
            "$1",
            "1%",
        ],
        *["NaN", "nan", "sNaN", "Infinity", "inf", "-inf", "None", "true", "1/3"],
        # Digits of other scripts, a full-width dot, a minus that is not a hyphen, an invisible space.
        *["١٢", "１２", "1．5", "²", "−1", "1\u200b", "৪", "\ud800"],
        *["1" * 19, "9" * 400, "1." + "0" * 19],
    ],
)
def test_anything_else_is_refused_with_a_reason_that_can_be_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must be a plain decimal number"):
        parse_decimal(text, decimals=9)


@pytest.mark.parametrize(("text", "decimals"), [("1.005", 2), ("1.000", 2), ("0.1", 0), ("0.0000000001", 9)])
def test_more_decimals_than_the_unit_has_are_refused_even_where_they_are_zeros(text: str, decimals: int) -> None:
    with pytest.raises(ValueError, match=f"must have at most {decimals} decimals"):
        parse_decimal(text, decimals=decimals)


@pytest.mark.parametrize(
    ("value", "decimals", "least", "text"),
    [
        (0, 9, 0, "0"),
        (333_330_000_000, 9, 0, "333.33"),
        (1, 9, 0, "0.000000001"),
        (-1, 9, 0, "-0.000000001"),
        (NANOCREDITS, 9, 0, "1"),
        (10 * NANOCREDITS, 9, 0, "10"),
        (MAX_NANOCREDITS, 9, 0, "1000000000"),
        (100, 2, 2, "1.00"),
        (105, 2, 2, "1.05"),
        (150, 2, 2, "1.50"),
        (-5, 2, 2, "-0.05"),
        (0, 2, 2, "0.00"),
        (1_000, 0, 0, "1000"),
        (1_500_000_000, 9, 2, "1.50"),
    ],
)
def test_an_amount_is_written_without_exponent_and_without_needless_zeros(
    value: int, decimals: int, least: int, text: str
) -> None:
    assert format_decimal(value, decimals=decimals, least=least) == text


@given(st.integers(-(10**26), 10**26), st.integers(0, 9))
def test_what_was_written_is_read_back_exactly(value: int, decimals: int) -> None:
    if abs(value) < 10**18 * 10**decimals:
        assert parse_decimal(format_decimal(value, decimals=decimals), decimals=decimals) == value


@given(st.integers(-(10**18), 10**18))
def test_credits_are_written_with_up_to_nine_decimals(nanocredits: int) -> None:
    text = format_credits(nanocredits)

    assert parse_credits(text) == nanocredits
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith("0"))
