"""The sandbox's own API, below /_sandbox: play the payer and the bank, set faults, see what happened.

It takes JSON and the secret key. Nothing here meets a fault or is counted as a request to Stripe.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pantheon.payments.stripe.sandbox.errors import ApiError, invalid
from pantheon.payments.stripe.sandbox.events import Crafted
from pantheon.payments.stripe.sandbox.keys import given_key, same
from pantheon.payments.stripe.sandbox.store import Delivery, Json
from pantheon.payments.stripe.sandbox.switches import Switch

if TYPE_CHECKING:
    from pantheon.payments.stripe.sandbox.service import Sandbox

Model = TypeVar("Model", bound=BaseModel)
Control = Callable[["Sandbox", Request], Awaitable[Json]]

SHOWN = 100
"""How many of the newest things a list shows."""


class _Play(BaseModel):
    model_config = ConfigDict(extra="forbid")

    play: Literal["pay", "decline", "settle", "cancel"]
    method: str | None = None
    return_url: str | None = None


class _Release(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order: Literal["same", "reverse", "random"] = "same"


def routes(sandbox: "Sandbox") -> list[Route]:
    table: list[tuple[str, str, Control]] = [
        ("GET", "/_sandbox/status", _status),
        ("GET", "/_sandbox/payments", _payments),
        ("POST", "/_sandbox/payments/{reference}/play", _play),
        ("POST", "/_sandbox/payments/{reference}/events", _emit),
        ("GET", "/_sandbox/events", _events),
        ("POST", "/_sandbox/events/{id}/resend", _resend),
        ("GET", "/_sandbox/deliveries", _deliveries),
        ("POST", "/_sandbox/deliveries/release", _release),
        ("GET", "/_sandbox/requests", _requests),
        ("GET", "/_sandbox/switches", _switches),
        ("POST", "/_sandbox/switches", _add_switch),
        ("DELETE", "/_sandbox/switches", _clear_switches),
    ]
    return [Route(path, partial(_serve, sandbox, control), methods=[method]) for method, path, control in table]


async def _serve(sandbox: "Sandbox", control: Control, request: Request) -> Response:
    try:
        if not same(given_key(request), sandbox.secret_key):
            raise ApiError(401, "invalid_request_error", "The secret key is required here.")
        return JSONResponse(await control(sandbox, request))
    except ApiError as error:
        return JSONResponse(error.body, error.status)


async def _status(sandbox: "Sandbox", request: Request) -> Json:
    deliveries = sandbox.deliveries()
    states = ("pending", "held", "delivered", "dropped", "failed")
    return {
        "url": sandbox.base_url,
        "account": sandbox.account_id,
        "api_version": sandbox.api_version,
        "webhook_endpoints": [endpoint.url for endpoint in sandbox.endpoints],
        "payments": sandbox.store.count("payment_intent"),
        "events": sandbox.store.count("event"),
        "deliveries": {state: sum(delivery.state == state for delivery in deliveries) for state in states},
        "switches": [switch.model_dump() for switch in sandbox.switches.active],
    }


async def _payments(sandbox: "Sandbox", request: Request) -> Json:
    found, _ = sandbox.store.page("payment_intent", limit=SHOWN)
    return {"payments": [sandbox.payments.get(intent["id"]) for intent in found]}


async def _play(sandbox: "Sandbox", request: Request) -> Json:
    body = await _read(_Play, request)
    reference = request.path_params["reference"]
    return sandbox.play(reference, body.play, method=body.method, return_url=body.return_url)


async def _emit(sandbox: "Sandbox", request: Request) -> Json:
    event, deliveries = await sandbox.emit(request.path_params["reference"], await _read(Crafted, request))
    return {"event": event, "deliveries": _shown(deliveries)}


async def _events(sandbox: "Sandbox", request: Request) -> Json:
    found, _ = sandbox.store.page("event", limit=SHOWN)
    return {"events": [event | {"deliveries": _shown(sandbox.deliveries(event["id"]))} for event in found]}


async def _resend(sandbox: "Sandbox", request: Request) -> Json:
    return {"deliveries": _shown(await sandbox.resend(request.path_params["id"]))}


async def _deliveries(sandbox: "Sandbox", request: Request) -> Json:
    return {"deliveries": _shown(sandbox.deliveries())}


async def _release(sandbox: "Sandbox", request: Request) -> Json:
    body = await _read(_Release, request)
    return {"deliveries": _shown(await sandbox.release(body.order))}


async def _requests(sandbox: "Sandbox", request: Request) -> Json:
    return {"requests": list(sandbox.requests)}


async def _switches(sandbox: "Sandbox", request: Request) -> Json:
    return {"switches": [switch.model_dump() for switch in sandbox.switches.active]}


async def _add_switch(sandbox: "Sandbox", request: Request) -> Json:
    sandbox.switches.add(await _read(Switch, request))
    return await _switches(sandbox, request)


async def _clear_switches(sandbox: "Sandbox", request: Request) -> Json:
    sandbox.switches.clear()
    return await _switches(sandbox, request)


async def _read(model: type[Model], request: Request) -> Model:
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise invalid(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _shown(deliveries: list[Delivery]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(delivery) for delivery in deliveries]
