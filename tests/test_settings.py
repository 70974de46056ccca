"""Which combinations of settings start, and what those that do not say."""

from fractions import Fraction
from typing import Any

import pytest

from pantheon.errors import SettingsError
from pantheon.settings import load

WEBHOOK_SECRET = "whsec_0123456789abcdef"
PRODUCTION = {
    "app_env": "production",
    "database_url": "postgresql://x",
    "secret_keys": "k" * 32,
    "public_url": "https://pantheon.example.com",
}
LIVE = {"stripe_secret_key": "sk_live_x", "stripe_webhook_secret": WEBHOOK_SECRET}
TEST = {"stripe_secret_key": "sk_test_x", "stripe_webhook_secret": WEBHOOK_SECRET}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests is not what they are about."""
    for name in ("APP_ENV", "DATABASE_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "SECRET_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "values",
    [
        PRODUCTION,
        PRODUCTION | {"stripe_webhook_secret": WEBHOOK_SECRET},
        PRODUCTION | LIVE,
        PRODUCTION | LIVE | {"stripe_secret_key": "rk_live_x"},
        PRODUCTION | LIVE | {"stripe_webhook_secret": f"{WEBHOOK_SECRET}, {WEBHOOK_SECRET}2"},
        PRODUCTION | TEST | {"allow_test_mode": "true"},
        PRODUCTION | TEST | {"app_env": "staging"},
        {"app_env": "local"},
        {"app_env": "local"} | LIVE,
        {"app_env": "local", "stripe_secret_key": "sk_test_x"},
        {"app_env": "test", "stripe_api_base": "http://127.0.0.1:1"} | TEST,
    ],
    ids=str,
)
def test_what_starts(values: dict[str, Any]) -> None:
    assert load(_env_file=None, **values).app_env == values["app_env"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "DATABASE_URL"),
        ({"database_url": "postgresql://x"}, "PUBLIC_URL"),
        ({"database_url": "postgresql://x", "public_url": "http://x"}, "PUBLIC_URL"),
        ({"database_url": "postgresql://x", "public_url": "https://x"}, "SECRET_KEYS"),
        (PRODUCTION | {"database_url": "mysql://x"}, "DATABASE_URL"),
        (PRODUCTION | {"database_migration_url": "nonsense"}, "DATABASE_MIGRATION_URL"),
        (PRODUCTION | LIVE | {"stripe_publishable_key": "pk_test_x"}, "STRIPE_PUBLISHABLE_KEY"),
        (PRODUCTION | TEST | {"stripe_publishable_key": "pk_live_x"}, "STRIPE_PUBLISHABLE_KEY"),
        (PRODUCTION | {"secret_keys": "short"}, "SECRET_KEYS"),
        *((PRODUCTION | {"app_env": name}, "APP_ENV") for name in ("Local", " local", "prod", "dev", "PRODUCTION")),
        *(
            (PRODUCTION | LIVE | {"app_env": env, "stripe_webhook_secret": secret}, "STRIPE_WEBHOOK_SECRET")
            for env in ("production", "staging")
            for secret in ("", " ", "\t", ",", "whsec_short", "not_a_whsec_0123456789abcdef")
        ),
        (PRODUCTION | {"stripe_secret_key": "sk_live_x"}, "STRIPE_WEBHOOK_SECRET"),
        (PRODUCTION | TEST, "ALLOW_TEST_MODE"),
        ({"app_env": "local", "stripe_secret_key": "sk_live_x"}, "STRIPE_WEBHOOK_SECRET"),
        ({"app_env": "local", "stripe_secret_key": "pk_test_x"}, "STRIPE_SECRET_KEY"),
        (PRODUCTION | LIVE | {"stripe_api_base": "https://evil.example"}, "STRIPE_API_BASE"),
        (PRODUCTION | {"oidc_issuer": "http://issuer.example"}, "OIDC_ISSUER"),
        ({"app_env": "local", "top_up_min_usd": "0.10"}, "TOP_UP_MIN_USD"),
        ({"app_env": "local", "top_up_max_usd": "1000000"}, "TOP_UP_MAX_USD"),
        ({"app_env": "local", "top_up_max_usd": "0.99"}, "TOP_UP_MAX_USD"),
        ({"app_env": "local", "top_up_min_usd": "1.001"}, "TOP_UP_MIN_USD"),
        ({"app_env": "local", "top_up_min_usd": "NaN"}, "TOP_UP_MIN_USD"),
        ({"app_env": "local", "credits_per_usd": "0"}, "CREDITS_PER_USD"),
        ({"app_env": "local", "credits_per_usd": "1/0"}, "CREDITS_PER_USD"),
        ({"app_env": "local", "credits_per_usd": "1e3"}, "CREDITS_PER_USD"),
        ({"app_env": "local", "low_balance_threshold": "-"}, "LOW_BALANCE_THRESHOLD"),
        ({"app_env": "local", "low_balance_threshold": "-1"}, "LOW_BALANCE_THRESHOLD"),
        ({"app_env": "local", "turn_cap_credits": "-1"}, "TURN_CAP_CREDITS"),
        ({"app_env": "local", "turn_cap_credits": "0.0"}, "TURN_CAP_CREDITS"),
        ({"app_env": "local", "currency": "USD"}, "CURRENCY"),
        ({"app_env": "local", "public_url": "ftp://x"}, "PUBLIC_URL"),
        ({"app_env": "local", "public_url": "https://x/path"}, "PUBLIC_URL"),
        ({"app_env": "local", "admin_user_ids": "ada"}, "ADMIN_USER_IDS"),
        ({"app_env": "local", "api_cors_allowed_origins": "*"}, "API_CORS_ALLOWED_ORIGINS"),
    ],
    ids=str,
)
def test_what_does_not_start_names_the_variable_and_never_its_value(values: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(_env_file=None, **values)

    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    for secret in ("sk_live_x", "sk_test_x", "short", "evil"):
        assert secret not in str(refused.value)


def test_the_rate_is_exact() -> None:
    assert load(_env_file=None, app_env="local").credits_per_usd == Fraction(100, 3)
    assert load(_env_file=None, app_env="local", credits_per_usd="33.5").credits_per_usd == Fraction(67, 2)


def test_secrets_do_not_show() -> None:
    shown = repr(load(_env_file=None, **PRODUCTION, **LIVE))

    assert "sk_live_x" not in shown
    assert WEBHOOK_SECRET not in shown


NAMED = '[{"name": "own", "base_url": "https://x.example/v1", "api_key": "k-1", "output_limit": "max_tokens"}]'


@pytest.mark.parametrize("value", [NAMED, "own=https://x.example/v1|k-1", " own = https://x.example/v1 | k-1 ,"])
def test_model_providers_are_named_in_two_forms(value: str) -> None:
    provider = load(_env_file=None, app_env="local", model_providers=value).model_providers[0]

    assert (provider.name, provider.base_url) == ("own", "https://x.example/v1")
    assert provider.api_key is not None
    assert provider.api_key.get_secret_value() == "k-1"
    assert "k-1" not in repr(provider)


@pytest.mark.parametrize("address", ["http://127.0.0.1:11434/v1", "http://localhost:1/v1", "http://10.0.0.7/v1"])
def test_a_model_provider_near_by_needs_no_https_when_local(address: str) -> None:
    assert load(_env_file=None, app_env="local", model_providers=f"own={address}").model_providers[0].api_key is None
    with pytest.raises(SettingsError, match="MODEL_PROVIDERS"):
        load(_env_file=None, **PRODUCTION, model_providers=f"own={address}")


@pytest.mark.parametrize(
    "values",
    [
        {"model_providers": "own=http://x.example/v1|k-1"},
        {"model_providers": "own=https://user:k-1@x.example/v1"},
        {"model_providers": "own=ftp://x.example|k-1"},
        {"model_providers": "own"},
        {"model_providers": "Own=https://x.example|k-1"},
        {"model_providers": "demo=https://x.example|k-1"},
        {"model_providers": "own=https://x.example|k-1,own=https://y.example"},
        {"model_providers": '[{"name": "own", "key": "k-1"}]'},
        {"model_providers": '[{"name": '},
        {"openrouter_base_url": "http://x.example/v1"},
    ],
    ids=str,
)
def test_a_model_provider_that_cannot_be_trusted_is_refused_without_its_key(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"MODEL_PROVIDERS|OPENROUTER_BASE_URL") as failed:
        load(_env_file=None, app_env="local", **values)

    assert "k-1" not in str(failed.value)
