"""The bank's page for 3-D Secure: the payer passes or fails, and is sent back to where the payment was made."""

import base64
import hashlib
import html
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pantheon.payments.stripe.sandbox import objects
from pantheon.payments.stripe.sandbox.payment_intents import Status
from pantheon.payments.stripe.sandbox.store import Json

if TYPE_CHECKING:
    from pantheon.payments.stripe.sandbox.service import Sandbox

_STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --quiet: #5d6675; --accent: #3b5bdb; --paper: #fff; --back: #f3f5f8 }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a414d; --quiet: #a3acba; --accent: #7c96ff; --paper: #1c2027; --back: #12151a }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 26rem; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .75rem }
h1 { margin: 0 0 .5rem; font-size: 1.25rem }
p { margin: 0 0 1rem; color: var(--quiet) }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1.5rem; padding: 1rem 0;
  border-block: 1px solid var(--line) }
dt { color: var(--quiet) }
dd { margin: 0; text-align: right; overflow-wrap: anywhere }
button { width: 100%; margin-top: .5rem; padding: .7rem; font: inherit; font-weight: 600; border-radius: .5rem;
  border: 1px solid var(--line); background: none; color: inherit; cursor: pointer }
button.main { background: var(--accent); border-color: var(--accent); color: #fff }
button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
@media (prefers-color-scheme: dark) { button.main { color: #12151a } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

_CHALLENGE = """<p>This stands in for your bank's 3-D Secure page. No real money moves here.</p>
<dl>
<dt>Amount</dt><dd>{amount}</dd>
<dt>For</dt><dd>{description}</dd>
<dt>Payment</dt><dd>{id}</dd>
</dl>
<form method="post">
<button class="main" name="outcome" value="complete">Complete authentication</button>
<button name="outcome" value="fail">Fail authentication</button>
</form>"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def routes(sandbox: "Sandbox") -> list[Route]:
    return [
        Route("/challenge/{id}/{challenge}", partial(_show, sandbox), methods=["GET"]),
        Route("/challenge/{id}/{challenge}", partial(_answer, sandbox), methods=["POST"]),
        Route("/done", _done, methods=["GET"]),
    ]


async def _show(sandbox: "Sandbox", request: Request) -> Response:
    id = request.path_params["id"]
    return_url = sandbox.payments.way_back(id, request.path_params["challenge"])
    if return_url is None:
        return _page("Nothing to authenticate", "<p>This link is not valid, or a newer attempt replaced it.</p>", 404)
    intent = sandbox.payments.get(id)
    if intent["status"] != Status.REQUIRES_ACTION:
        return _redirect(return_url, intent)
    content = _CHALLENGE.format(
        amount=html.escape(objects.shown_amount(intent)),
        description=html.escape(intent["description"] or "A payment"),
        id=html.escape(id),
    )
    return _page("Confirm your payment", content, form_target=return_url)


async def _answer(sandbox: "Sandbox", request: Request) -> Response:
    id = request.path_params["id"]
    return_url = sandbox.payments.way_back(id, request.path_params["challenge"])
    if return_url is None:
        return await _show(sandbox, request)
    outcome = dict(parse_qsl((await request.body()).decode(errors="replace"))).get("outcome")
    if outcome not in ("complete", "fail"):
        return await _show(sandbox, request)
    # A second click finds the challenge answered, and only leads back.
    if sandbox.payments.get(id)["status"] == Status.REQUIRES_ACTION:
        with sandbox.store.transaction():
            sandbox.payments.answer_challenge(id, passed=outcome == "complete")
    return _redirect(return_url, sandbox.payments.get(id))


async def _done(request: Request) -> Response:
    return _page("Done", "<p>You can close this page.</p>")


def _redirect(return_url: str, intent: Json) -> Response:
    """Back to the shop, with what Stripe adds to its address."""
    parts = urlsplit(return_url)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("payment_intent", intent["id"]),
        ("payment_intent_client_secret", intent["client_secret"]),
        ("redirect_status", "succeeded" if intent["status"] == Status.SUCCEEDED else "failed"),
    ]
    return RedirectResponse(
        urlunsplit(parts._replace(query=urlencode(query))), 303, {"Cache-Control": "no-store", **_NO_REFERRER}
    )


_NO_REFERRER = {"Referrer-Policy": "no-referrer"}


def _page(title: str, content: str, status: int = 200, *, form_target: str | None = None) -> Response:
    # Browsers apply form-action to the redirect that follows a form as well, so the way back has to be allowed.
    target = urlsplit(form_target) if form_target else None
    form_action = f"'self' {target.scheme}://{target.netloc}" if target else "'none'"
    return HTMLResponse(
        _PAGE.format(title=title, style=_STYLE, content=content),
        status,
        {
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
            f"form-action {form_action}; frame-ancestors 'none'; base-uri 'none'",
            "X-Content-Type-Options": "nosniff",
            **_NO_REFERRER,
        },
    )
