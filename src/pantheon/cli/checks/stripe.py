"""The account at Stripe: whose it is, its clock, and the webhook endpoints that lead here."""

from pathlib import Path

from pantheon import settings as all_settings
from pantheon.api.routes.webhooks import PATH
from pantheon.cli.checks import Finding, failed, ok, skewed, warning
from pantheon.errors import SettingsError
from pantheon.payments.receive_event import USED_TYPES
from pantheon.payments.stripe.inspection import Account, Endpoint, InspectionError, Inspector, NotAllowedError
from pantheon.payments.stripe.sandbox.address import read_address
from pantheon.settings import Settings


async def check_stripe(settings: Settings, home: Path) -> list[Finding]:
    key, api_base, webhook_url = settings.stripe_secret_key, settings.stripe_api_base, settings.public_url + PATH
    wanted_id = settings.stripe_account_id
    if key is not None:
        secret = key.get_secret_value()
    elif settings.is_local and (sandbox := read_address(home)) is not None:
        secret, api_base, webhook_url = sandbox.secret_key, sandbox.url, ""
    else:
        return [warning("stripe", "payments are off", "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET to take them.")]
    findings = [_mode(settings)]
    async with Inspector(secret, api_base=api_base, timeout_seconds=settings.stripe_timeout_seconds) as client:
        try:
            account = await client.account()
            findings += [_account(account, wanted_id), skewed("stripe clock", account.skew_seconds, "Stripe")]
        except NotAllowedError as error:
            findings.append(warning("stripe account", *_told(error)))
        except InspectionError as error:
            return [failed("stripe", *_told(error))]
        return [*findings, *await _check_webhooks(client, webhook_url)]


async def check_endpoints_of(public_url: str, payments: str) -> list[Finding]:
    """Those of a deployment, `off`, `test` or `live`, asked for with the key that is set here."""
    try:
        settings = all_settings.load()
    except SettingsError:
        settings = None
    if settings is None or settings.stripe_secret_key is None:
        return [ok("stripe webhook", "Stripe was not asked: no valid settings with STRIPE_SECRET_KEY here")]
    here = "live" if settings.livemode else "test"
    if payments != here:
        found = f"Stripe was not asked: payments are {payments} there, and the key here is a {here} one"
        return [warning("stripe webhook", found, "Ask with the settings of the deployment.")]
    secret, seconds = settings.stripe_secret_key.get_secret_value(), settings.stripe_timeout_seconds
    async with Inspector(secret, api_base=settings.stripe_api_base, timeout_seconds=seconds) as client:
        return await _check_webhooks(client, public_url + PATH)


async def _check_webhooks(client: Inspector, url: str) -> list[Finding]:
    try:
        return _webhooks(await client.endpoints(), url)
    except InspectionError as error:
        return [warning("stripe webhook", *_told(error))]


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
