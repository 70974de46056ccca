"""Stripe's API over HTTP: who asks, which fault to play, which answer was given before, and then the work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pantheon.payments.stripe.sandbox import challenge, control, objects, params
from pantheon.payments.stripe.sandbox.errors import ApiError, invalid, missing
from pantheon.payments.stripe.sandbox.events import Cause
from pantheon.payments.stripe.sandbox.idempotency import fingerprint, key_in_use
from pantheon.payments.stripe.sandbox.keys import given_key, same
from pantheon.payments.stripe.sandbox.params import PAGE, Pairs, Spec
from pantheon.payments.stripe.sandbox.service import Sandbox, is_loopback
from pantheon.payments.stripe.sandbox.store import Answer, Json
from pantheon.payments.stripe.sandbox.switches import Switch


@dataclass(frozen=True)
class Call:
    """A request that was let in, with its parameters read."""

    id: str
    params: dict[str, Any]
    cause: Cause
    is_browser: bool
    """It came with the publishable key, and may see only what a payer may."""


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    run: Callable[[Sandbox, Call], Json]
    spec: Spec = field(default_factory=dict)
    for_browsers: bool = False


def create_sandbox_app(sandbox: Sandbox) -> Starlette:
    return Starlette(
        routes=[
            *(
                Route(operation.path, partial(_serve, sandbox, operation), methods=[operation.method])
                for operation in OPERATIONS
            ),
            *control.routes(sandbox),
            *challenge.routes(sandbox),
            Route("/{rest:path}", partial(_unknown, sandbox), methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
        ],
        middleware=[
            Middleware(_LoopbackOnly),
            # Stripe's API may be called from any page: what guards it is the key.
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Idempotency-Key", "Stripe-Version"],
            ),
        ],
    )


def _create_customer(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.customers.create(call.params)


def _retrieve_customer(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.customers.get(call.id)


def _delete_customer(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.customers.delete(call.id)


def _create_payment(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.payments.create(call.params, call.cause)


def _retrieve_payment(sandbox: Sandbox, call: Call) -> Json:
    return _shown(call, sandbox.payments.get(call.id))


def _confirm_payment(sandbox: Sandbox, call: Call) -> Json:
    try:
        return _shown(call, sandbox.payments.confirm(call.id, call.params, call.cause))
    except ApiError as error:
        if "payment_intent" in error.error:
            error.error["payment_intent"] = _shown(call, error.error["payment_intent"])
        raise


def _cancel_payment(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.payments.cancel(call.id, call.params, call.cause)


def _list_payments(sandbox: Sandbox, call: Call) -> Json:
    return _list(sandbox, call, kind="payment_intent", url="/v1/payment_intents")


def _retrieve_charge(sandbox: Sandbox, call: Call) -> Json:
    return _get(sandbox, "charge", call.id)


def _retrieve_event(sandbox: Sandbox, call: Call) -> Json:
    return sandbox.events.shown(_get(sandbox, "event", call.id))


def _list_events(sandbox: Sandbox, call: Call) -> Json:
    types = [call.params["type"]] if "type" in call.params else call.params.get("types")
    if types is not None and len(types) > 20:
        raise invalid("You may list at most 20 event types.", param="types")
    page = _list(sandbox, call, kind="event", url="/v1/events", types=types)
    return page | {"data": [sandbox.events.shown(event) for event in page["data"]]}


def _retrieve_account(sandbox: Sandbox, call: Call) -> Json:
    return objects.account(sandbox.account_id)


def _list_endpoints(sandbox: Sandbox, call: Call) -> Json:
    data = [
        objects.webhook_endpoint(index, url=endpoint.url, api_version=sandbox.api_version)
        for index, endpoint in enumerate(sandbox.endpoints)
    ]
    return {"object": "list", "data": data, "has_more": False, "url": "/v1/webhook_endpoints"}


OPERATIONS = (
    Operation("POST", "/v1/customers", _create_customer, {"metadata{}": lambda _name, raw: raw}),
    Operation("GET", "/v1/customers/{id}", _retrieve_customer),
    Operation("DELETE", "/v1/customers/{id}", _delete_customer),
    Operation(
        "POST",
        "/v1/payment_intents",
        _create_payment,
        {
            "amount!": params.integer,
            "currency!": params.text,
            "automatic_payment_methods[enabled]": params.boolean,
            "capture_method": params.one_of("automatic", "automatic_async"),
            "metadata{}": lambda _name, raw: raw,
            "description": params.at_most(1_000),
            "statement_descriptor_suffix": params.at_most(22),
            "receipt_email": params.email,
            "customer": params.text,
        },
    ),
    Operation("GET", "/v1/payment_intents", _list_payments, PAGE),
    Operation("GET", "/v1/payment_intents/{id}", _retrieve_payment, {"client_secret": params.text}, for_browsers=True),
    Operation(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        _confirm_payment,
        {"client_secret": params.text, "payment_method": params.text, "return_url": params.url},
        for_browsers=True,
    ),
    Operation(
        "POST",
        "/v1/payment_intents/{id}/cancel",
        _cancel_payment,
        {"cancellation_reason": params.one_of("duplicate", "fraudulent", "requested_by_customer", "abandoned")},
    ),
    Operation("GET", "/v1/charges/{id}", _retrieve_charge),
    Operation("GET", "/v1/events", _list_events, {**PAGE, "type": params.text, "types[]": params.text}),
    Operation("GET", "/v1/events/{id}", _retrieve_event),
    Operation("GET", "/v1/account", _retrieve_account),
    Operation("GET", "/v1/webhook_endpoints", _list_endpoints, {"limit": params.integer}),
)
"""All that the sandbox serves of Stripe's API, with every parameter that it knows."""


def _shown(call: Call, intent: Json) -> Json:
    return objects.for_publishable_key(intent) if call.is_browser else intent


def _get(sandbox: Sandbox, kind: str, id: str) -> Json:
    found = sandbox.store.get(kind, id)
    if found is None:
        raise missing(kind, id)
    return found


def _list(sandbox: Sandbox, call: Call, *, kind: str, url: str, types: list[str] | None = None) -> Json:
    def position(name: str) -> int | None:
        if name not in call.params:
            return None
        found = sandbox.store.position(kind, call.params[name])
        if found is None:
            raise missing(kind, call.params[name], param=name, status=400)
        return found

    found, has_more = sandbox.store.page(
        kind,
        limit=call.params.get("limit", 10),
        after=position("starting_after"),
        before=position("ending_before"),
        created={
            name.removeprefix("created").strip("[]"): value
            for name, value in call.params.items()
            if name.startswith("created")
        },
        types=types,
    )
    if kind == "payment_intent":
        found = [sandbox.payments.get(intent["id"]) for intent in found]
    return objects.list_of(found, url=url, has_more=has_more)


@dataclass(frozen=True)
class _Asked:
    """A request whose sender is known, before its parameters are read."""

    operation: Operation
    request_id: str
    path: str
    object_id: str
    pairs: Pairs
    key: str | None
    is_browser: bool
    switch: Switch | None

    def meets(self, fault: str) -> bool:
        return self.switch is not None and self.switch.name == fault


async def _serve(sandbox: Sandbox, operation: Operation, request: Request) -> Response:
    request_id = objects.new_id("req")
    key = request.headers.get("Idempotency-Key") if operation.method == "POST" else None
    entry: Json = {
        "id": request_id,
        "method": request.method,
        "path": request.url.path,
        "idempotency_key": key,
        "status": None,
        "switch": None,
    }
    sandbox.requests.append(entry)
    headers = {
        "Request-Id": request_id,
        "Stripe-Version": request.headers.get("Stripe-Version", sandbox.api_version),
        **({"Idempotency-Key": key} if key else {}),
    }
    try:
        encoded = await request.body() if operation.method == "POST" else request.scope["query_string"]
        pairs = params.split_pairs(encoded)
        is_browser = _authenticate(sandbox, operation, request, pairs)
        switch = sandbox.switches.meet_request(f"{request.method} {request.url.path}")
        entry["switch"] = switch.name if switch else None
        asked = _Asked(
            operation=operation,
            request_id=request_id,
            path=request.url.path,
            object_id=request.path_params.get("id", ""),
            pairs=pairs,
            key=key,
            is_browser=is_browser,
            switch=switch,
        )
        if asked.meets("lose_request"):
            return _Dropped()
        _refuse(asked)
        answer, cause = await _answer(sandbox, asked)
        if answer.request_id != request_id:
            headers |= {"Idempotent-Replayed": "true", "Original-Request": answer.request_id}
        if switch is not None and switch.name == "webhook_first":
            await _webhook_first(sandbox, switch, answer, cause)
        if asked.meets("lose_answer"):
            return _Dropped()
    except ApiError as error:
        answer = Answer("", request_id, error.status, error.body)
    entry["status"] = answer.status
    return JSONResponse(answer.body, answer.status, headers)


async def _answer(sandbox: Sandbox, asked: _Asked) -> tuple[Answer, Cause]:
    """The answer, perhaps that of an earlier request with the same key, and what this request caused."""
    cause = Cause(asked.request_id, asked.key)
    print_ = fingerprint(asked.operation.method, asked.path, asked.pairs)
    if asked.key is not None and (saved := sandbox.idempotency.saved(asked.key, print_)) is not None:
        return saved, cause
    with sandbox.idempotency.running(asked.key):
        if asked.switch is not None and asked.meets("hang"):
            await sandbox.switches.wait(asked.switch.ms)
        # The work and its answer are kept together: after a crash there is either both or neither.
        with sandbox.store.transaction():
            status, body, saves = _work(sandbox, asked, cause)
            answer = Answer(print_, asked.request_id, status, body)
            if asked.key is not None and saves:
                sandbox.idempotency.save(asked.key, answer)
    return answer, cause


def _work(sandbox: Sandbox, asked: _Asked, cause: Cause) -> tuple[int, Json, bool]:
    """Status and body of the answer, and whether an idempotency key keeps it."""
    status, body, saves = 200, {}, True
    if asked.switch is None or not asked.meets("fail") or asked.switch.work:
        try:
            body = asked.operation.run(sandbox, _read_call(sandbox, asked, cause))
        except ApiError as error:
            # What was done stays done: a declined card leaves a failed charge behind.
            status, body, saves = error.status, error.body, error.saved
    if asked.switch is not None and asked.meets("fail"):
        failure = ApiError(500, "api_error", "An unknown error occurred.")
        return failure.status, failure.body, asked.switch.saved
    return status, body, saves


def _read_call(sandbox: Sandbox, asked: _Asked, cause: Cause) -> Call:
    call = Call(asked.object_id, params.read_params(asked.operation.spec, asked.pairs), cause, asked.is_browser)
    given = call.params.get("client_secret")
    if given is not None and not same(given, sandbox.payments.get(call.id)["client_secret"]):
        raise invalid(
            "The client_secret provided does not match the client_secret associated with the PaymentIntent.",
            code="payment_intent_invalid_parameter",
            param="client_secret",
        )
    return call


async def _webhook_first(sandbox: Sandbox, switch: Switch, answer: Answer, cause: Cause) -> None:
    """Stripe's answer to a request may come later than the webhooks that the request caused."""
    if switch.pay is not None and answer.status == 200:
        sandbox.play(answer.body["id"], "pay", method=switch.pay, cause=cause)
    # Another switch may have dropped or held back some of them.
    ids = [delivery.id for delivery in sandbox.store.pending() if delivery.id in cause.deliveries]
    await sandbox.webhooks.deliver_now(ids)
    await sandbox.switches.wait(switch.ms)


def _refuse(asked: _Asked) -> None:
    if asked.switch is not None and asked.meets("rate_limit") and asked.switch.code == "lock_timeout":
        raise ApiError(
            429,
            "invalid_request_error",
            "This object cannot be accessed right now because another API request or Stripe process is currently "
            "accessing it. If you see this error intermittently, retry the request.",
            code="lock_timeout",
        )
    if asked.meets("rate_limit"):
        raise ApiError(
            429,
            "invalid_request_error",
            "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
            code="rate_limit",
        )
    if asked.meets("key_in_use"):
        raise key_in_use(asked.key)
    if asked.switch is not None and asked.meets("refuse"):
        error = ApiError(asked.switch.status, "invalid_request_error", "This was asked of the sandbox.")
        error.error |= asked.switch.error
        raise error


def _authenticate(sandbox: Sandbox, operation: Operation, request: Request, pairs: Pairs) -> bool:
    """Whether a browser asks, with the publishable key and a client secret, rather than a server."""
    key = given_key(request)
    if not key:
        raise ApiError(
            401,
            "invalid_request_error",
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    if same(key, sandbox.secret_key):
        return False
    if not same(key, sandbox.publishable_key):
        shown = f"{key[:8]}{'*' * 12}{key[-4:]}" if len(key) > 16 else "*" * len(key)
        raise ApiError(401, "invalid_request_error", f"Invalid API Key provided: {shown}")
    if not operation.for_browsers or all(name != "client_secret" for name, _ in pairs):
        raise ApiError(
            401,
            "invalid_request_error",
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
            code="secret_key_required",
        )
    return True


async def _unknown(sandbox: Sandbox, request: Request) -> Response:
    error = ApiError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({request.method}: {request.url.path}). Please see https://stripe.com/docs or we "
        "can help at https://support.stripe.com/.",
    )
    return JSONResponse(error.body, error.status, {"Request-Id": objects.new_id("req")})


class _Dropped(Response):
    """Promises one byte and sends none, upon which the server can only cut the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


class _LoopbackOnly:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        if scope["type"] == "http" and (peer is None or not is_loopback(peer[0])):
            await Response("The sandbox answers this machine only.", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)
