"""Errors on pages: the same title, detail and code as in the API, as a page. Paths of the API keep problem details."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pantheon.api.problems import problem
from pantheon.errors import NotSignedInError, PantheonError
from pantheon.web.rendering import is_partial, path_of, redirect, render
from pantheon.web.visitors import sign_in_address

_API = ("api", "v1", "webhooks", "metrics")

Handler = Callable[[Request, Any], Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Wraps the handlers that the API has installed."""
    for kind in (PantheonError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _with_pages(app.exception_handlers[kind]))  # type: ignore[arg-type]


def _with_pages(answer: Handler) -> Handler:
    async def on_error(request: Request, error: Exception) -> Response:
        if path_of(request).lstrip("/").partition("/")[0] in _API:
            return await answer(request, error)
        if isinstance(error, NotSignedInError):
            return _to_sign_in(request)
        if isinstance(error, HTTPException) and error.status_code == 405 and request.method == "GET":
            # The address of a form's answer was opened again: the page with the form is one above.
            return redirect(path_of(request).rpartition("/")[0] or "/")
        if isinstance(error, RequestValidationError) and error.errors()[0]["loc"][0] == "path":
            # An id that is none is an address that does not exist.
            return _page(request, problem(404, code="not_found", detail="Not Found"))
        return _page(request, await answer(request, error))

    return on_error


def _to_sign_in(request: Request) -> Response:
    if is_partial(request):
        path = re.sub(r"^https?://[^/]*|\?.*$", "", request.headers.get("hx-current-url", ""))
        return Response(status_code=401, headers={"HX-Redirect": sign_in_address(path)})
    if request.method != "GET":
        return redirect("/sign-in")
    query = request.scope["query_string"].decode("latin-1")
    return redirect(sign_in_address(f"{path_of(request)}?{query}" if query else path_of(request)))


def _page(request: Request, answer: Response) -> Response:
    found = json.loads(bytes(answer.body))
    kept = {name: value for name, value in answer.headers.items() if name in ("retry-after", "allow")}
    shown = {"title": found["title"], "detail": found["detail"], "code": found["code"]}
    if not is_partial(request):
        return render(request, "error.html", status=answer.status_code, headers=kept, **shown)
    if request.method == "GET":
        # What asks in the background stays as it is, and asks again.
        return render(request, "parts/notice.html", status=answer.status_code, headers={"HX-Reswap": "none"}, **shown)
    in_place = {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}
    return render(request, "parts/notice.html", status=answer.status_code, headers=in_place, **shown)
