import pytest

from pantheon import settings as all_settings
from pantheon.errors import InvalidInputError
from pantheon.settings import Settings
from pantheon.web.offers import preferred_amount, read_offer, suggested_offers


def settings(**overrides: str) -> Settings:
    return all_settings.load(_env_file=None, app_env="test", **overrides)


def test_suggestions_stay_within_the_bounds() -> None:
    assert [offer.amount for offer in suggested_offers(settings())] == ["5.00", "10.00", "25.00", "50.00"]
    narrow = suggested_offers(settings(top_up_min_usd="20.00", top_up_max_usd="30.00"))
    assert [offer.amount for offer in narrow] == ["25.00"]
    assert preferred_amount(narrow) == "25.00"
    assert suggested_offers(settings(top_up_min_usd="60.00")) == []
    assert preferred_amount([]) is None


def test_suggestions_suit_a_currency_without_cents() -> None:
    yen = settings(currency="jpy", top_up_min_usd="100", top_up_max_usd="50000")
    assert [offer.amount for offer in suggested_offers(yen)] == ["500", "1000", "2500", "5000"]


@pytest.mark.parametrize("written", ["10", "10.00", " 10.0 ", "$10"])
def test_an_amount_is_read_as_people_write_it(written: str) -> None:
    offer = read_offer(settings(), written)
    assert (offer.amount, offer.credits) == ("10.00", 333_330_000_000)


@pytest.mark.parametrize("written", ["", "ten", "1e3", "10.001", "-5", "10,50", "NaN", "١٠", "9" * 400])
def test_what_is_no_amount_is_explained(written: str) -> None:
    with pytest.raises(InvalidInputError, match=r"Write the amount as a number such as 10 or 12\.50|between"):
        read_offer(settings(), written)


@pytest.mark.parametrize("written", ["0.99", "500.01", "0"])
def test_bounds_are_named_with_their_currency(written: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^Choose an amount between \$1\.00 and \$500\.00\.$"):
        read_offer(settings(), written)
