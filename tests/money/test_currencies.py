from pantheon.money.amounts import MAX_NANOCREDITS
from pantheon.money.currencies import CURRENCIES, MAX_MINOR


def test_a_currency_is_found_under_its_own_lower_case_code() -> None:
    assert all(code == currency.code == code.lower() and len(code) == 3 for code, currency in CURRENCIES.items())


def test_only_currencies_that_stripe_counts_in_whole_units_have_no_decimals() -> None:
    assert {code for code, currency in CURRENCIES.items() if currency.decimals == 0} == {"jpy"}
    assert {currency.decimals for currency in CURRENCIES.values()} == {0, 2}


def test_every_smallest_amount_is_one_that_can_be_paid() -> None:
    assert all(0 < currency.min_minor < MAX_MINOR for currency in CURRENCIES.values())


def test_the_most_that_one_posting_moves_leaves_room_for_eight_more_in_a_bigint() -> None:
    assert 9 * MAX_NANOCREDITS < 2**63
