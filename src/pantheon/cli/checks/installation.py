"""This installation: its settings, its database and its account at Stripe."""

import os
import shutil
from pathlib import Path

from pantheon import VERSION
from pantheon import settings as all_settings
from pantheon.api.routes.webhooks import PATH
from pantheon.cli.checks import Finding, failed, ok, skewed, warning
from pantheon.cli.checks.database import check_database, check_pooler
from pantheon.commit import COMMIT
from pantheon.db import embedded
from pantheon.errors import SettingsError
from pantheon.models.providers import provider_names
from pantheon.money.amounts import NANOCREDITS
from pantheon.money.price import credits_for
from pantheon.payments.receive_event import USED_TYPES
from pantheon.payments.stripe.inspection import Account, Endpoint, InspectionError, Inspector
from pantheon.payments.stripe.sandbox.address import read_address
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
    return [*findings, *await _check_stripe(settings, home)]


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


async def _check_stripe(settings: Settings, home: Path) -> list[Finding]:
    key, api_base, webhook_url = settings.stripe_secret_key, settings.stripe_api_base, settings.public_url + PATH
    wanted_id = settings.stripe_account_id
    if key is not None:
        secret = key.get_secret_value()
    elif settings.is_local and (sandbox := read_address(home)) is not None:
        secret, api_base, webhook_url = sandbox.secret_key, sandbox.url, ""
    else:
        return [warning("stripe", "payments are off", "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET to take them.")]
    client = Inspector(secret, api_base=api_base, timeout_seconds=settings.stripe_timeout_seconds)
    try:
        account = await client.account()
    except InspectionError as error:
        return [failed("stripe", *_told(error))]
    else:
        findings = [
            _mode(settings),
            _account(account, wanted_id),
            skewed("stripe clock", account.skew_seconds, "Stripe"),
        ]
        try:
            findings += _webhooks(await client.endpoints(), webhook_url)
        except InspectionError as error:
            findings.append(warning("stripe webhook", *_told(error)))
        return findings
    finally:
        await client.close()


def _told(error: InspectionError) -> tuple[str, str]:
    found, _, advice = str(error).partition(": ")
    return found, advice[:1].upper() + advice[1:] + "."


def _mode(settings: Settings) -> Finding:
    if settings.livemode:
        return ok("stripe mode", "live")
    if settings.is_local:
        return ok("stripe mode", "test: no real money moves")
    return warning("stripe mode", f"test keys in {settings.app_env}", "Set the live keys when customers are to pay.")


def _account(account: Account, wanted: str | None) -> Finding:
    if wanted is not None and account.id != wanted:
        return failed(
            "stripe account", f"the key is of {account.id}, STRIPE_ACCOUNT_ID is {wanted}", "Correct one of them."
        )
    if not account.charges_enabled:
        return failed("stripe account", f"{account.id} cannot take payments", "Finish its activation at Stripe.")
    if wanted is None:
        return warning(
            "stripe account", account.id, f"Set STRIPE_ACCOUNT_ID={account.id}, so that no other is believed."
        )
    return ok("stripe account", account.id)


def _webhooks(endpoints: list[Endpoint], url: str) -> list[Finding]:
    """`url` empty: any endpoint will do, since a local sandbox has the only one."""
    ours = [endpoint for endpoint in endpoints if endpoint.url == url or not url]
    if not ours:
        return [
            failed("stripe webhook", f"none leads to {url}", "Add it at Stripe, with the events that README names.")
        ]
    findings = []
    for endpoint in ours:
        loopback = endpoint.url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
        problems = endpoint.problems(used=USED_TYPES, needs_https=not loopback)
        findings += [
            failed("stripe webhook", endpoint.url, f"{problem[:1].upper()}{problem[1:]}.") for problem in problems
        ]
        if not problems:
            findings.append(ok("stripe webhook", endpoint.url))
    return findings
