"""This installation: its settings, its database and its account at Stripe."""

import os
import shutil
from pathlib import Path

from pantheon import VERSION
from pantheon import settings as all_settings
from pantheon.cli.checks import Finding, failed, ok, warning
from pantheon.cli.checks.database import check_database, check_pooler
from pantheon.cli.checks.stripe import check_stripe
from pantheon.commit import COMMIT
from pantheon.db import embedded
from pantheon.errors import SettingsError
from pantheon.models.providers import provider_names
from pantheon.money.amounts import NANOCREDITS
from pantheon.money.price import credits_for
from pantheon.settings import Settings

_FREE_BYTES = 1024**3
_DISTINCT_CHARACTERS = 12


async def check_installation() -> list[Finding]:
    try:
        settings = all_settings.load()
    except SettingsError as error:
        return [failed("settings", "; ".join(str(error).splitlines()), "See docs/env_contract.md.")]
    findings = [
        ok("code", f"{VERSION}, commit {settings.pantheon_commit or COMMIT or 'unknown'}"),
        ok("settings", f"valid, for {settings.app_env}"),
        _public_url(settings),
        _secret_keys(settings),
    ]
    home = settings.data_dir or embedded.usual_home(Path.cwd())
    if settings.database_url is None:
        findings.append(_disk(home))
        url = embedded.address(home)
    else:
        url = settings.database_url.get_secret_value()
    if url is None:
        findings.append(warning("database", "none yet", "`pantheon serve` makes a private one, or set DATABASE_URL."))
    else:
        findings += await check_database(url)
    if settings.database_pool_url is not None and url is not None:
        findings += await check_pooler(settings.database_pool_url.get_secret_value(), url)
    findings += [_price(settings), _models(settings), _web_search(settings), _storage(settings)]
    return [*findings, *await check_stripe(settings, home)]


def _public_url(settings: Settings) -> Finding:
    if settings.secure_cookies:
        return ok("public url", settings.public_url)
    if settings.is_local:
        return warning("public url", f"{settings.public_url} is not https", "Fine on this machine; see docs/deploy.md.")
    return failed("public url", f"{settings.public_url} is not https", "Set PUBLIC_URL to the https address.")


def _secret_keys(settings: Settings) -> Finding:
    make = 'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    if not settings.secret_keys:
        return warning("secret keys", "SECRET_KEYS is not set: forms are forgotten at each start", make)
    if any(len(set(key.get_secret_value())) < _DISTINCT_CHARACTERS for key in settings.secret_keys):
        return failed("secret keys", "one of SECRET_KEYS can be guessed", make)
    return ok("secret keys", f"{len(settings.secret_keys)} set")


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    found = f"{free // 1024**2:,} MiB free for {home}"
    if free < _FREE_BYTES:
        return failed("disk", found, "Make room: PostgreSQL stops when the disk is full.")
    return ok("disk", found)


def _price(settings: Settings) -> Finding:
    """Whether the smallest unit of money buys what the price says, or what rounding makes of it."""
    currency, price = settings.money, settings.credits_per_usd
    bought = credits_for(settings.top_up_min_minor, decimals=currency.decimals, credits_per_major=price)
    exact = settings.top_up_min_minor * price * NANOCREDITS / 10**currency.decimals
    found = f"{settings.top_up_min_usd} {settings.currency} buys {bought / NANOCREDITS:.2f} credits"
    if bought <= 0:
        return failed("price", found, "Raise TOP_UP_MIN_USD or CREDITS_PER_USD.")
    return ok("price", found if exact == bought else f"{found}, rounded to two decimals")


def _models(settings: Settings) -> Finding:
    names = ", ".join(provider_names(settings))
    # One on this machine or a private network, which alone may be http, often asks for none.
    keyless = [
        told.name for told in settings.model_providers if told.api_key is None and told.base_url.startswith("https:")
    ]
    if keyless:
        return warning("models", f"{', '.join(keyless)} without a key", "Name it in MODEL_PROVIDERS, after a bar.")
    if names == "demo" and not settings.is_local:
        return warning("models", "the demo alone, which knows nothing", "Set OPENROUTER_API_KEY or MODEL_PROVIDERS.")
    return ok("models", f"of {names}" + ("" if settings.openrouter_api_key else "; OpenRouter is off: it has no key"))


def _web_search(settings: Settings) -> Finding:
    return ok("web search", "on" if settings.tavily_api_key else "off: TAVILY_API_KEY is not set")


def _storage(settings: Settings) -> Finding:
    """Of a bucket nothing is tried: whether it can be written to is known only by writing."""
    url = settings.storage_url
    if url is None:
        if settings.is_local:
            return ok("storage", "a folder beside the private database")
        return warning("storage", "STORAGE_URL is not set: no files are taken", "Set it to a folder or a bucket.")
    if url.startswith("s3://"):
        return ok("storage", f"{url}, which was not tried")
    folder = _nearest(Path(url))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return failed("storage", f"{folder} cannot be written to", "Give it to the account that runs Pantheon.")
    return ok("storage", url)


def _nearest(path: Path) -> Path:
    """The path, or what there is of it."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
