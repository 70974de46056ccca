"""The API: JSON under /api/v1 and Stripe's webhook. The pages are added by `web/`."""

from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from pantheon import VERSION
from pantheon.api import problems
from pantheon.api.gateway.chat_request import MAX_BODY_BYTES as MAX_CHAT_BYTES
from pantheon.api.gateway.errors import DESCRIPTION as OPENAI_ERRORS
from pantheon.api.gateway.errors import OpenAIErrorsMiddleware
from pantheon.api.middleware import BodyLimitMiddleware, RequestMiddleware, Uploads
from pantheon.api.routes import (
    account,
    admin_jobs,
    admin_payments,
    admin_pricing,
    admin_rate_cards,
    admin_usage,
    admin_wallets,
    agents,
    api_keys,
    auth,
    files,
    gateway,
    health,
    limits,
    metrics,
    rooms,
    sessions,
    statements,
    top_ups,
    turns,
    usage,
    wallet,
    webhooks,
)
from pantheon.runtime import Runtime

MAX_BODY_BYTES = 1024 * 1024
MAX_BODY_SECONDS = 30


def create_api(runtime: Runtime) -> FastAPI:
    app = _routes()
    app.state.runtime = runtime
    problems.install(app)
    if runtime.settings.api_cors_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=runtime.settings.api_cors_allowed_origins,
            # Pages of other sites call with a token. Cookies are for our own.
            allow_credentials=False,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            # OpenAI's library sends a dozen of its own.
            allow_headers=["*"],
            expose_headers=[
                "Idempotency-Replayed",
                "Retry-After",
                "X-Pantheon-Max-Tokens",
                "X-Pantheon-Receipt",
                "X-Request-Id",
                "X-Should-Retry",
            ],
        )
    price_lists = (admin_rate_cards.PATH, f"{admin_rate_cards.PATH}/preview", "/admin/prices/preview")
    sizes = {webhooks.PATH: webhooks.MAX_BODY_BYTES, **dict.fromkeys(price_lists, admin_rate_cards.MAX_BODY_BYTES)}
    sizes[gateway.PATH] = MAX_CHAT_BYTES
    uploads = Uploads(files.UPLOAD_PATH, files.MAX_BODY_BYTES, files.MAX_BODY_SECONDS)
    app.add_middleware(
        BodyLimitMiddleware, limit=MAX_BODY_BYTES, limits=sizes, seconds=MAX_BODY_SECONDS, uploads=uploads
    )
    app.add_middleware(RequestMiddleware, https=runtime.settings.secure_cookies)
    app.add_middleware(OpenAIErrorsMiddleware)
    return app


def create_openapi() -> dict[str, Any]:
    """The description of the API, without a running installation."""
    return _routes().openapi()


def _routes() -> FastAPI:
    app = FastAPI(
        title="Pantheon",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
        # Its spans would carry whole addresses, and with them one-time links. RequestMiddleware makes ours.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    # The first of all routes, because each that is asked before it takes its time.
    app.include_router(webhooks.router, responses={"default": problems.DESCRIPTION})
    app.include_router(gateway.router, responses={"default": OPENAI_ERRORS})
    app.include_router(_api())
    app.include_router(metrics.router)
    return app


@cache
def _api() -> APIRouter:
    """Put together once in a process: FastAPI looks at each route again whenever it is included."""
    api = APIRouter(prefix="/api/v1", responses={"default": problems.DESCRIPTION})
    for module in (
        health,
        auth,
        account,
        api_keys,
        wallet,
        limits,
        statements,
        top_ups,
        usage,
        admin_wallets,
        admin_pricing,
        admin_rate_cards,
        admin_payments,
        admin_jobs,
        admin_usage,
        agents,
        rooms,
        sessions,
        turns,
        files,
    ):
        api.include_router(module.router)
    return api
