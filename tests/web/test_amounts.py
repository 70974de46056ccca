from pantheon.money.amounts import NANOCREDITS
from pantheon.money.currencies import CURRENCIES
from pantheon.web.amounts import credits_text, money_text, worth_text

USD = CURRENCIES["usd"]


def test_credits_have_two_decimals_and_groups_of_thousands() -> None:
    assert credits_text(0) == "0.00"
    assert credits_text(333_330_000_000) == "333.33"
    assert credits_text(1_234_567 * NANOCREDITS) == "1,234,567.00"
    assert credits_text(-5 * NANOCREDITS) == "−5.00"
    assert credits_text(5 * NANOCREDITS, signed=True) == "+5.00"


def test_credits_are_cut_off_and_never_rounded_up() -> None:
    assert credits_text(5_999_999_999) == "5.99"
    assert credits_text(-5_999_999_999) == "−5.99"


def test_very_few_credits_are_not_shown_as_none() -> None:
    assert credits_text(1) == "<0.01"
    assert credits_text(-1) == "−<0.01"


def test_money_has_its_currencys_sign_and_decimals() -> None:
    assert money_text(1_000, USD) == "$10.00"
    assert money_text(-123_456, USD) == "−$1,234.56"
    assert money_text(1_000, CURRENCIES["jpy"]) == "¥1,000"
    assert money_text(5, CURRENCIES["chf"]) == "CHF 0.05"


def test_what_is_worth_less_than_a_cent_is_not_worth_nothing() -> None:
    assert worth_text(1, 0, USD) == "<$0.01"
    assert worth_text(0, 0, USD) == "$0.00"
