"""Settings come from the environment or `.env`, are typed, and are checked before anything starts.

`docs/env_contract.md` and `.env.example` are generated from this file (`pantheon docs write`).
"""

import json
import re
from fractions import Fraction
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pantheon.errors import SettingsError
from pantheon.money.amounts import parse_decimal
from pantheon.money.currencies import CURRENCIES, MAX_MINOR, Currency
from pantheon.money.price import minor_for

AppEnv = Literal["production", "staging", "local", "test"]

MIN_SECRET_LENGTH = 16


def _fraction(value: Any) -> Any:
    """A decimal or a fraction such as 100/3, exactly."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(/[1-9][0-9]{0,8}|\.[0-9]{1,9})?", value):
        return Fraction(value)
    if isinstance(value, Fraction):
        return value
    raise ValueError("must be a decimal such as 33.5 or a fraction such as 100/3")


def _names(value: Any) -> Any:
    """A comma separated list; blanks between the commas are dropped."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _secret_names(value: Any) -> Any:
    return [SecretStr(part) if isinstance(part, str) else part for part in _names(value)]


class ModelProvider(BaseModel):
    """One that speaks OpenAI's chat completions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    base_url: str = Field(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/-]*)?$")
    api_key: SecretStr | None = None
    output_limit: Literal["max_tokens", "max_completion_tokens"] | None = None


def _model_providers(value: Any) -> Any:
    """A JSON list of objects, or `name=address` or `name=address|key`, comma separated."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON list or name=address|key, comma separated") from None
    found = []
    for item in _names(value):
        name, _, address = item.partition("=")
        base_url, _, key = address.partition("|")
        found.append({"name": name.strip(), "base_url": base_url.strip(), "api_key": key.strip() or None})
    return found


Names = Annotated[list[str], NoDecode, BeforeValidator(_names)]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_secret_names)]
ModelProviders = Annotated[list[ModelProvider], NoDecode, BeforeValidator(_model_providers)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", env_ignore_empty=True, frozen=True, arbitrary_types_allowed=True
    )

    app_env: AppEnv = Field("production", description="Where this runs. Only `local` and `test` have shortcuts.")
    public_url: str = Field(
        "http://127.0.0.1:8000",
        description="Where people reach this installation: return URL of payments, Origin check, cookies.",
    )
    forwarded_allow_ips: Names = Field(
        default_factory=list, description="Proxies whose X-Forwarded-For is believed, comma separated."
    )
    secret_keys: Secrets = Field(
        default_factory=list,
        description="Keys that sign form tokens, comma separated, current first, 32 characters or more each. "
        "Required outside of local and test.",
    )
    pantheon_commit: str | None = Field(
        None, description="The commit that was built, where the code is no git checkout; shown by `/api/v1/health`."
    )
    registration: Literal["closed", "invite", "open"] = Field("closed", description="Who may create an account.")
    admin_user_ids: Names = Field(
        default_factory=list, description="Ids of users who are owners, besides those made by `pantheon users add`."
    )

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 to 18 as the application's role. Unset and local: an embedded server is started.",
    )
    database_migration_url: SecretStr | None = Field(
        None, description="The same database as its owner, for `pantheon db migrate`. Default: `DATABASE_URL`."
    )
    database_pool_url: SecretStr | None = Field(
        None,
        description="The same database and role through a pooler in transaction mode, such as pgbouncer, for the API "
        "and the pages. Default: `DATABASE_URL`, which has to stay direct: the worker listens on it.",
    )
    database_pool_size: int = Field(20, ge=2, le=200, description="Connections that one process may open.")
    data_dir: Path | None = Field(
        None, description="Folder for the embedded database and the sandbox (local only). Default: chosen for you."
    )

    storage_url: str | None = Field(
        None,
        description="Where the contents of files are kept: a folder such as /var/lib/pantheon/files, or "
        "s3://bucket/prefix, with access through the usual AWS_* variables of the environment. Default: a folder "
        "beside the private database when local; otherwise no files are taken.",
    )

    stripe_secret_key: SecretStr | None = Field(
        None, description="Secret or (better) restricted key. Unset: payments are off, or the sandbox when local."
    )
    stripe_publishable_key: str | None = Field(None, description="Publishable key, shown to browsers.")
    stripe_webhook_secret: Secrets = Field(
        default_factory=list,
        description="Signing secret of the webhook endpoint, comma separated while rolling, current first.",
    )
    stripe_account_id: str | None = Field(None, description="The account (acct_…) that payments must belong to.")
    stripe_api_base: str | None = Field(None, description="Another address of Stripe's API. Only local and test.")
    stripe_timeout_seconds: int = Field(10, ge=1, le=60, description="Longest wait for one answer of Stripe.")
    allow_test_mode: bool = Field(False, description="Let production run with Stripe's test keys.")

    currency: str = Field("usd", description="The one currency that credits are sold in, lower case.")
    top_up_min_usd: str = Field("1.00", description="Smallest top-up, in the currency's major unit.")
    top_up_max_usd: str = Field("500.00", description="Largest top-up, in the currency's major unit.")
    credits_per_usd: Annotated[Fraction, NoDecode, BeforeValidator(_fraction)] = Field(
        Fraction(100, 3), description="Credits for one major unit of the currency: a decimal or a fraction."
    )
    top_up_max_open: int = Field(3, ge=1, le=100, description="Unpaid top-ups that a user may have open at once.")
    top_up_ttl_seconds: int = Field(86_400, ge=600, description="An unpaid top-up expires after this long.")
    rate_limit_top_ups_per_hour: int = Field(10, ge=1, description="Top-ups that a user may open within an hour.")
    turn_cap_credits: str = Field("15", description="The most credits that one turn may cost.")
    turn_max_seconds: int = Field(180, ge=1, le=600, description="A turn is ended after so long.")
    rate_limit_turns_per_minute: int = Field(10, ge=1, description="Turns that a user may begin in a minute.")
    rate_limit_turns_per_hour: int = Field(60, ge=1, description="Turns that a user may begin in an hour.")
    turns_max_open: int = Field(20, ge=1, description="Turns that a user may have under way at once.")
    rate_limit_calls_per_minute: int = Field(3000, ge=1, description="Model calls that a user may begin in a minute.")
    rate_limit_calls_per_hour: int = Field(30_000, ge=1, description="Model calls that a user may begin in an hour.")
    calls_max_open: int = Field(1000, ge=1, description="Model calls that a user may have under way at once.")
    rate_limit_sign_ins_per_hour: int = Field(30, ge=1, description="Failed sign-ins per account and per address.")

    credit_enforcement_enabled: bool = Field(
        True, description="Whether work needs credits, unless an operator switched it for all processes."
    )
    low_balance_threshold: str = Field("5", description="`low_balance` is shown below this many available credits.")

    openrouter_api_key: SecretStr | None = Field(None, description="Key of OpenRouter. Unset: its models are off.")
    openrouter_base_url: str = Field(
        "https://openrouter.ai/api/v1", description="Where OpenRouter is, or a proxy that stands before it."
    )
    model_providers: ModelProviders = Field(
        default_factory=list,
        description="More providers that speak OpenAI's API: `name=address`, a bar and the key, comma separated, "
        "or a JSON list of objects with `name`, `base_url`, `api_key`, and `output_limit` where it takes only one of "
        "`max_tokens` and `max_completion_tokens`, as OpenAI itself the latter. "
        "http only when local, and only to this machine or a private network.",
    )

    tavily_api_key: SecretStr | None = Field(None, description="Key of Tavily, for agents that may search the web.")
    tavily_base_url: str = Field("https://api.tavily.com", description="Where Tavily is, or a proxy before it.")

    oidc_issuer: str | None = Field(None, description="Issuer whose bearer tokens are accepted (its `iss`).")
    oidc_audience: str = Field("authenticated", description="The `aud` that such a token must carry.")
    oidc_jwks_url: str | None = Field(None, description="Its keys. Default: the issuer's well-known JWKS address.")

    api_cors_allowed_origins: Names = Field(
        default_factory=list, description="Origins whose pages may call the API with a token, comma separated."
    )
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token that may read `/metrics`. Unset: only programs on this machine may."
    )
    worker_metrics_address: str | None = Field(
        None, description="Where `pantheon worker` shows its own counters, such as 127.0.0.1:9100. Unset: nowhere."
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="Where traces are sent by OTLP over HTTP, such as http://127.0.0.1:4318. Unset: nowhere."
    )
    sentry_dsn: SecretStr | None = Field(
        None, description="Where unexpected errors are reported, without what people sent. Needs `pantheon[sentry]`."
    )
    log_format: Literal["json", "text"] | None = Field(
        None, description="Log lines for machines or for people. Default: json, and text when local."
    )

    @field_validator("database_url", "database_migration_url", "database_pool_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"postgres(ql)?://", value.get_secret_value()):
            raise ValueError("must be a postgresql:// address")
        return value

    @field_validator("storage_url")
    @classmethod
    def _is_a_place(cls, value: str | None) -> str | None:
        if value is not None and not (Path(value).is_absolute() or re.fullmatch(r"s3://[^/\s]+(/[^\s]*)?", value)):
            raise ValueError("must be a folder with its full path, or s3://bucket/prefix")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", value.rstrip("/")):
            raise ValueError("must be an origin such as https://pantheon.example.com, without a path")
        return value.rstrip("/")

    @field_validator("worker_metrics_address")
    @classmethod
    def _is_a_listening_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9.\-]+:[0-9]{1,5}", value):
            raise ValueError("must be a host and a port such as 127.0.0.1:9100")
        return value

    @field_validator("currency")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in CURRENCIES:
            raise ValueError(f"must be one of {', '.join(CURRENCIES)}")
        return value

    @field_validator("admin_user_ids")
    @classmethod
    def _are_ids(cls, value: list[str]) -> list[str]:
        try:
            return [str(UUID(item)) for item in value]
        except ValueError:
            raise ValueError("must be a comma separated list of user ids") from None

    @field_validator("api_cors_allowed_origins")
    @classmethod
    def _names_origins(cls, value: list[str]) -> list[str]:
        if "*" in value:
            raise ValueError("must name each origin: a wildcard is not allowed")
        return value

    @field_validator("low_balance_threshold", "turn_cap_credits")
    @classmethod
    def _is_an_amount(cls, value: str) -> str:
        if parse_decimal(value, decimals=9) < 0:
            raise ValueError("must not be negative")
        return value

    @field_validator("turn_cap_credits")
    @classmethod
    def _lets_something_begin(cls, value: str) -> str:
        if parse_decimal(value, decimals=9) == 0:
            raise ValueError("must be greater than 0")
        return value

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _are_long_enough(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(secret.get_secret_value()) < MIN_SECRET_LENGTH for secret in value):
            raise ValueError(f"must be {MIN_SECRET_LENGTH} characters or more")
        return value

    @field_validator("secret_keys")
    @classmethod
    def _are_strong(cls, value: list[SecretStr]) -> list[SecretStr]:
        if any(len(secret.get_secret_value()) < 32 for secret in value):
            raise ValueError("must be 32 characters or more each")
        return value

    @model_validator(mode="after")
    def _has_a_sane_range(self) -> "Settings":
        for name in ("top_up_min_usd", "top_up_max_usd"):
            try:
                parse_decimal(getattr(self, name), decimals=self.money.decimals)
            except ValueError as error:
                raise ValueError(f"{name.upper()} {error}") from None
        if not self.money.min_minor <= self.top_up_min_minor <= self.top_up_max_minor <= MAX_MINOR:
            raise ValueError(
                "TOP_UP_MIN_USD and TOP_UP_MAX_USD must be in order and within what Stripe takes for the currency"
            )
        if self.credits_per_usd <= 0:
            raise ValueError("CREDITS_PER_USD must be greater than zero")
        return self

    @model_validator(mode="after")
    def _fails_closed(self) -> "Settings":
        """Refuse every combination in which a forged payment could be believed or a real one lost."""
        problem = _stripe_problem(self) or _incomplete(self)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _trusts_its_model_providers(self) -> "Settings":
        names = ["demo", "openrouter", *(provider.name for provider in self.model_providers)]
        if len(set(names)) != len(names):
            raise ValueError("MODEL_PROVIDERS must give each provider a name of its own, not demo or openrouter")
        addresses = [("MODEL_PROVIDERS", provider.base_url) for provider in self.model_providers]
        addresses += [("OPENROUTER_BASE_URL", self.openrouter_base_url), ("TAVILY_BASE_URL", self.tavily_base_url)]
        for name, address in addresses:
            if not (address.startswith("https://") or (self.is_local and _is_near(address))):
                raise ValueError(
                    f"{name} must begin with https: keys and prompts go there (http only when local, and near)"
                )
        return self

    @property
    def is_local(self) -> bool:
        return self.app_env in ("local", "test")

    @property
    def reads_keys_safely(self) -> bool:
        """Whether the keys that bearer tokens are checked with come over a connection that nobody can alter."""
        keys_url = self.oidc_jwks_url or self.oidc_issuer
        return keys_url is None or keys_url.startswith("https://")

    @property
    def log_form(self) -> Literal["json", "text"]:
        return self.log_format or ("text" if self.is_local else "json")

    @property
    def livemode(self) -> bool:
        return _is_live(self.stripe_secret_key)

    @property
    def money(self) -> Currency:
        return CURRENCIES[self.currency]

    @cached_property
    def top_up_min_minor(self) -> int:
        return parse_decimal(self.top_up_min_usd, decimals=self.money.decimals)

    @cached_property
    def top_up_max_minor(self) -> int:
        return parse_decimal(self.top_up_max_usd, decimals=self.money.decimals)

    @cached_property
    def low_balance_nanocredits(self) -> int:
        return parse_decimal(self.low_balance_threshold, decimals=9)

    @cached_property
    def turn_cap_nanocredits(self) -> int:
        return parse_decimal(self.turn_cap_credits, decimals=9)

    def worth_of(self, nanocredits: int) -> int:
        """Minor units that these credits cost at today's price: to be shown beside them, never to be computed with."""
        return minor_for(nanocredits, decimals=self.money.decimals, credits_per_major=self.credits_per_usd)

    @property
    def credits_per_dollar(self) -> Fraction | None:
        """What providers ask is in dollars, and no exchange rate is known: None where credits cost other money."""
        return self.credits_per_usd if self.currency == "usd" else None

    @property
    def secure_cookies(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def migration_url(self) -> SecretStr | None:
        return self.database_migration_url or self.database_url


def _is_near(address: str) -> bool:
    """Whether this is http to this machine or a private network."""
    parts = urlsplit(address)
    if parts.scheme != "http":
        return False
    try:
        return ip_address(parts.hostname or "").is_private
    except ValueError:
        return parts.hostname == "localhost"


def _is_live(key: SecretStr | None) -> bool:
    return key is not None and key.get_secret_value().startswith(("sk_live_", "rk_live_"))


def _stripe_problem(settings: Settings) -> str | None:
    key = settings.stripe_secret_key
    if settings.stripe_api_base is not None and not settings.is_local:
        return "STRIPE_API_BASE may be set only in local and test: the secret key is sent there"
    if key is None:
        return None
    if not key.get_secret_value().startswith(("sk_test_", "rk_test_", "sk_live_", "rk_live_")):
        return "STRIPE_SECRET_KEY must start with sk_ or rk_ and its mode"
    if not settings.stripe_webhook_secret and (not settings.is_local or _is_live(key)):
        return "STRIPE_WEBHOOK_SECRET is required with a Stripe key: without it anybody could forge a payment"
    publishable = settings.stripe_publishable_key
    if publishable is not None and publishable.startswith("pk_live_") != _is_live(key):
        return "STRIPE_PUBLISHABLE_KEY and STRIPE_SECRET_KEY must be of the same mode, both live or both test"
    if settings.app_env == "production" and not _is_live(key) and not settings.allow_test_mode:
        return "STRIPE_SECRET_KEY is a test key; set ALLOW_TEST_MODE=true to run production with it"
    if not settings.is_local and any(
        not s.get_secret_value().startswith("whsec_") for s in settings.stripe_webhook_secret
    ):
        return "STRIPE_WEBHOOK_SECRET must start with whsec_"
    return None


def _incomplete(settings: Settings) -> str | None:
    """What an installation that is not local has to say, and does not."""
    if settings.database_pool_url is not None and settings.database_url is None:
        return "DATABASE_URL is required beside DATABASE_POOL_URL: the worker needs the server itself"
    if settings.is_local:
        return None
    if settings.database_url is None:
        return "DATABASE_URL is required outside of local (`make run` starts with APP_ENV=local)"
    if "public_url" not in settings.model_fields_set:
        return "PUBLIC_URL is required outside of local: the address at which people reach this installation"
    if settings.app_env == "production" and not settings.secure_cookies:
        return "PUBLIC_URL must begin with https in production"
    if not settings.secret_keys:
        return "SECRET_KEYS is required outside of local and test"
    if not settings.reads_keys_safely:
        return "OIDC_JWKS_URL, or OIDC_ISSUER, must begin with https"
    return None


def load(**overrides: Any) -> Settings:
    """The settings of this process. Raises SettingsError with one line for each variable that is wrong."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]).upper() if problem["loc"] else ""
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{name}: {message}" if name else message)
        raise SettingsError("\n".join(lines)) from None
