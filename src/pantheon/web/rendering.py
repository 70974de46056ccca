"""Templates into answers. Every page says what it may load, and no page of somebody is kept by a browser or proxy."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse

from pantheon.payments.stripe.client import API_VERSION
from pantheon.settings import Settings
from pantheon.web.amounts import credits_text, exact_text, money_text, per_million_text, worth_text
from pantheon.web.static_files import address_of
from pantheon.web.visitors import Visitor

# Stripe names the releases of its script like those of its API, and wants the two to match.
STRIPE_SCRIPT = f"https://js.stripe.com/{API_VERSION.rpartition('.')[2]}/stripe.js"


def policy(*, script: str = "", connect: str = "", frame: str = "", form: str = "") -> str:
    """A Content-Security-Policy that lets a page load what is ours, and what is named here."""
    directives = {
        "default-src": "'none'",
        "script-src": f"'self' {script}",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {connect}",
        "frame-src": frame or "'none'",
        "form-action": f"'self' {form}",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {sources.strip()}" for name, sources in directives.items())


# Source: https://docs.stripe.com/security/guide#content-security-policy
STRIPE_POLICY = policy(
    script="https://js.stripe.com https://*.js.stripe.com",
    connect="https://api.stripe.com",
    frame="https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com",
)
_POLICY = policy()


def install(app: FastAPI, settings: Settings) -> None:
    app.state.templates = _environment(settings)


def _environment(settings: Settings) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": address_of, "currency": settings.money, "stripe_script": STRIPE_SCRIPT}
    filters: dict[str, Callable[..., str]] = {
        "credits": credits_text,
        "exact": exact_text,
        "per_million": per_million_text,
        "money": lambda minor: money_text(minor, settings.money),
        "worth": lambda nanocredits: worth_text(nanocredits, settings.worth_of(nanocredits), settings.money),
        "moment": _moment,
        "day": _day,
    }
    environment.filters |= filters
    return environment


def _moment(at: datetime) -> str:
    return f"{at.day} {at:%b %Y, %H:%M}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def path_of(request: Request) -> str:
    # Not `request.url`, which is put together with the caller's Host header and cannot always be parsed.
    path: str = request.scope["path"]
    return path


def is_partial(request: Request) -> bool:
    """Whether htmx asks, for a part of a page that it puts in place."""
    return request.headers.get("hx-request") == "true"


def render(
    request: Request,
    template: str,
    *,
    visitor: Visitor | None = None,
    status: int = 200,
    policy: str = _POLICY,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    environment: Environment = request.app.state.templates
    html = environment.get_template(template).render(visitor=visitor, path=path_of(request), **context)
    fixed = {"Cache-Control": "no-store", "Content-Security-Policy": policy}
    return HTMLResponse(html, status, {**(headers or {}), **fixed})


def redirect(address: str) -> RedirectResponse:
    """To be fetched with GET, whatever this was."""
    return RedirectResponse(address, 303, {"Cache-Control": "no-store", "Content-Security-Policy": _POLICY})
