"""The API and the pages as one application."""

from functools import cache

from fastapi import APIRouter, Depends, FastAPI

from pantheon.api.app import create_api
from pantheon.runtime import Runtime
from pantheon.web import errors, rendering
from pantheon.web.forms import close_form
from pantheon.web.routes import account, admin, admin_payments, admin_prices, sign_in, sign_up, top_ups, usage, wallet
from pantheon.web.static_files import StaticPages


def create_app(runtime: Runtime) -> FastAPI:
    app = create_api(runtime)
    rendering.install(app, runtime.settings)
    errors.install(app)
    app.include_router(_pages())
    app.mount("/static", StaticPages())
    return app


@cache
def _pages() -> APIRouter:
    pages = APIRouter(include_in_schema=False, dependencies=[Depends(close_form)])
    for module in (sign_in, sign_up, wallet, top_ups, usage, account, admin, admin_payments, admin_prices):
        pages.include_router(module.router)
    return pages
