"""A deployment, seen from outside, beside this code."""

from typing import Any

import httpx2

from pantheon import VERSION, clock
from pantheon.api.app import create_openapi
from pantheon.api.routes.webhooks import PATH
from pantheon.cli.checks import Finding, failed, ok, skewed, warning
from pantheon.cli.checks.stripe import check_endpoints_of
from pantheon.commit import COMMIT
from pantheon.db.migrate import head
from pantheon.payments.stripe.inspection import skew

_SECONDS = 10


async def check_deployment(url: str) -> list[Finding]:
    url = url.rstrip("/")
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=_SECONDS) as client:
            asked = clock.now()
            answer = await client.get("/api/v1/health")
            ahead = skew(answer.headers.get("date"), asked=asked, answered=clock.now())
            health = _object(answer)
            if answer.status_code != 200 or health is None:
                return [failed("health", f"answers {answer.status_code} and no health", "Is this address Pantheon's?")]
            ready = await client.get("/api/v1/ready")
            routes = _object(await client.get("/api/v1/openapi.json"))
            webhook = await client.get(PATH)
        public_url, payments = str(health.get("public_url", url)), str(health.get("payments", "unknown"))
        return [
            _https(url),
            *_code(health),
            _schema(health),
            _ready(ready.status_code, _object(ready)),
            _routes(routes),
            _public_url(public_url, url),
            _payments(payments),
            _webhook(webhook.status_code),
            *await check_endpoints_of(public_url, payments),
            skewed("clock", ahead, "the deployment"),
        ]
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [failed("reachable", f"no answer ({type(error).__name__})", "Check the address, DNS, TLS and proxy.")]


def _object(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        value = answer.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _https(url: str) -> Finding:
    if url.startswith("https://"):
        return ok("https", url)
    return warning("https", f"{url} is not encrypted", "Ask at its https address, as people do.")


def _code(health: dict[str, Any]) -> list[Finding]:
    version, commit = str(health.get("version")), str(health.get("commit", "unknown"))
    findings = [
        ok("version", version)
        if version == VERSION
        else failed("version", f"{version} there, {VERSION} here", "Deploy this version, or check out that one.")
    ]
    if "unknown" in (commit, COMMIT or "unknown"):
        findings.append(warning("commit", "unknown there or here", "Build with PANTHEON_COMMIT, to be able to tell."))
    elif commit == COMMIT:
        findings.append(ok("commit", commit))
    else:
        findings.append(
            failed("commit", f"{commit} there, {COMMIT} here", "Deploy this commit, or check out that one.")
        )
    return findings


def _schema(health: dict[str, Any]) -> Finding:
    revision, expected = health.get("migration_revision"), health.get("migration_head")
    if revision == expected == head():
        return ok("schema", f"revision {revision}")
    found = f"the database is at {revision}, the code there expects {expected}, this code {head()}"
    return failed("schema", found, "Deploy one version, and run its `pantheon db migrate`.")


def _ready(status: int, body: dict[str, Any] | None) -> Finding:
    if status == 200:
        return ok("ready", "it serves")
    return failed("ready", f"answers {status}", str((body or {}).get("detail", "See its log.")))


def _routes(theirs: dict[str, Any] | None) -> Finding:
    if theirs is None:
        return failed("routes", "it does not describe its API", "Let the proxy pass /api/v1/openapi.json on.")
    there, here = _operations(theirs), _operations(create_openapi())
    if missing := sorted(here - there):
        return failed("routes", f"missing there: {', '.join(missing)}", "Deploy this version.")
    if more := sorted(there - here):
        return warning("routes", f"unknown here: {', '.join(more)}", "The deployment is newer than this code.")
    return ok("routes", f"all {len(here)} are there")


def _operations(document: dict[str, Any]) -> set[str]:
    paths: dict[str, Any] = document.get("paths") or {}
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def _public_url(told: str, asked: str) -> Finding:
    if told == asked:
        return ok("public url", told)
    found = f"PUBLIC_URL is {told} there, and not {asked}"
    if asked.startswith("https://"):
        return failed("public url", found, "Set it to the address that people use: forms, cookies and links need it.")
    return warning("public url", found, "Ask at the address that people use.")


def _payments(mode: str) -> Finding:
    match mode:
        case "live":
            return ok("payments", mode)
        case "test":
            return warning("payments", "test: no real money moves", "Set the live keys when customers are to pay.")
        case _:
            return warning("payments", mode, "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET to take them.")


def _webhook(status: int) -> Finding:
    # A GET stores nothing and counts as nothing; a proxy that redirects does so for it as for Stripe's POST.
    if status in (400, 405):
        return ok("webhook", f"{PATH} is there")
    if 300 <= status < 400:
        return failed(
            "webhook", f"{PATH} redirects ({status})", "Stripe follows no redirect: let the proxy pass it on."
        )
    return failed("webhook", f"{PATH} answers {status}", "Let the proxy pass it on, without signing in.")
