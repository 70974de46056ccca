"""Errors under /v1 as OpenAI writes them, so that its libraries raise what they raise for OpenAI itself."""

from collections.abc import Mapping
from json import loads
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pantheon import exact_json
from pantheon.api.problems import problem_of
from pantheon.errors import PantheonError

_PREFIX = "/v1"
_PROBLEM = (b"content-type", b"application/problem+json")
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_OPENAIS = {"context_budget_exceeded": (400, "context_length_exceeded")}
"""Where clients look for OpenAI's own code: at this one they shorten the conversation and send it again."""
_NO_ROUTE = "Not Found"
_ROUTES = "Only POST /v1/chat/completions and GET /v1/models are here. Let your client use chat completions."
"""For clients of OpenAI's other interfaces, such as its Responses."""

DESCRIPTION: dict[str, Any] = {
    "description": "What went wrong, as OpenAI says it. `code` is one of ours.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": {"type": "string"},
                            "type": {"type": "string"},
                            "param": {"type": ["string", "null"]},
                            "code": {"type": "string"},
                        },
                    }
                },
            }
        }
    },
}


def error_of(error: PantheonError, **extras: Any) -> dict[str, Any]:
    """As the body of an answer, or an event in a stream."""
    return _translated(loads(bytes(problem_of(error).body)) | extras)[1]


def _translated(problem: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body."""
    status, code = _OPENAIS.get(problem["code"], (problem["status"], problem["code"]))
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    known = ("title", "status", "detail", "type", "param", "code")
    extras = {name: value for name, value in problem.items() if name not in known}
    message = _ROUTES if problem["detail"] == _NO_ROUTE else problem["detail"]
    named = {"message": message, "type": kind, "param": problem.get("param"), "code": code}
    return status, {"error": named | extras}


class OpenAIErrorsMiddleware:
    """Rewrites the problem details of every answer under /v1, whoever made it: a route, a limit, or no route at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{_PREFIX}/"):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_translated(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _PROBLEM in message["headers"]:
                held = message
            elif held is not None:
                status, error = _translated(loads(message["body"]))
                body = exact_json.dumps(error).encode()
                ours = {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
                kept = [(name, value) for name, value in held["headers"] if name not in ours]
                await send({**held, "status": status, "headers": [*kept, *ours.items()]})
                await send({**message, "body": body})
                held = None
            else:
                await send(message)

        await self._app(scope, receive, send_translated)
