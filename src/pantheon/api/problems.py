"""Errors as HTTP: the one table of statuses, and RFC 9457 bodies that never repeat what the caller sent."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from pantheon import errors
from pantheon.errors import PantheonError

STATUS: dict[type[PantheonError], int] = {
    errors.PantheonError: 500,
    errors.InvariantError: 500,
    errors.SettingsError: 500,
    errors.CallerError: 400,
    errors.InvalidSignatureError: 400,
    errors.ProviderRejectedError: 400,
    errors.MalformedWebhookError: 400,
    errors.NotSignedInError: 401,
    errors.WrongCredentialsError: 401,
    errors.PaymentDeclinedError: 402,
    errors.InsufficientCreditsError: 402,
    errors.ForbiddenError: 403,
    errors.CrossSiteRequestError: 403,
    errors.WalletFrozenError: 403,
    errors.RegistrationClosedError: 403,
    errors.NotFoundError: 404,
    errors.ModelNotFoundError: 404,
    errors.ConflictError: 409,
    errors.RateCardChangedError: 409,
    errors.PricesNeedConfirmationError: 409,
    errors.NotEnoughCreditsError: 409,
    errors.IdempotencyInProgressError: 409,
    errors.EmailTakenError: 409,
    errors.LinkInvalidError: 410,
    errors.RequestTooLargeError: 413,
    errors.FileTooLargeError: 413,
    errors.RoomFullError: 413,
    errors.InvalidInputError: 422,
    errors.UnsupportedFileError: 422,
    errors.ContextBudgetExceededError: 422,
    errors.TurnTooLongError: 422,
    errors.NoAgentsError: 422,
    errors.NoTaggedAgentsError: 422,
    errors.AmountOutOfRangeError: 422,
    errors.IdempotencyKeyReusedError: 422,
    errors.TooManyRequestsError: 429,
    errors.AnswerTooLargeError: 502,
    errors.StreamCutError: 502,
    errors.OutsideError: 503,
    errors.TurnInterruptedError: 503,
    errors.ProviderRateLimitedError: 503,
    errors.ProviderUnavailableError: 503,
    errors.ProviderKeyRefusedError: 503,
    errors.ProviderTimedOutError: 504,
    errors.PaymentsNotConfiguredError: 503,
    errors.PaymentsUnavailableError: 503,
    errors.PaymentRejectedError: 503,
    errors.StorageNotConfiguredError: 503,
    errors.StorageUnavailableError: 503,
    errors.DatabaseBusyError: 503,
    errors.DatabaseUnavailableError: 503,
    errors.NotReadyError: 503,
}

_CODES = {413: errors.RequestTooLargeError.code}
"""Of what a framework refuses. This status has another name in each version of Python."""

_BY_CODE = {kind.code: kind for kind in reversed(STATUS)}

DESCRIPTION: dict[str, Any] = {
    "description": "What went wrong, as problem details (RFC 9457).",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["title", "status", "detail", "code"],
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                },
            }
        }
    },
}
"""Of every answer that is not a success, for the description of the API."""

_logger = structlog.get_logger(__name__)


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> ProblemResponse:
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code, **(extras or {})}
    return ProblemResponse(body, status_code=status, headers=headers)


def status_of(error: PantheonError) -> int:
    return STATUS[type(error)]


def error_named(code: str) -> type[PantheonError]:
    """Which error this is the code of."""
    return _BY_CODE[code]


def problem_of(error: PantheonError) -> ProblemResponse:
    status = status_of(error)
    if status == 500:
        # What an invariant says is for the operator's eyes.
        return problem(500, code=error.code, detail=PantheonError.detail)
    extras = dict(error.extras)
    if isinstance(error, errors.InvalidInputError):
        extras["errors"] = [{"loc": ["body"], "msg": error.message, "type": error.code}]
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(status, code=error.code, detail=error.message, headers=headers, extras=extras)


def validation_problem(errors: Sequence[Mapping[str, Any]]) -> ProblemResponse:
    """Names what is wrong and where. The value is left out: it may be a secret, and may not even be JSON (NaN)."""
    shown = [
        {"loc": list(item["loc"]), "msg": item["msg"].removeprefix("Value error, "), "type": item["type"]}
        for item in errors
    ]
    first = shown[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    detail = f"{where}: {first['msg']}" if where else str(first["msg"])
    return problem(422, code="invalid_input", detail=detail, extras={"errors": shown})


def install(app: FastAPI) -> None:
    async def on_pantheon_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, PantheonError)
        if status_of(error) == 500:
            _logger.error("invariant_broken", exc_info=error)
        return problem_of(error)

    async def on_invalid_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return validation_problem(error.errors())

    async def on_http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
        return problem(error.status_code, code=code, detail=str(error.detail), headers=error.headers)

    async def on_any_error(_: Request, error: Exception) -> Response:
        _logger.error("unexpected_error", exc_info=error)
        return problem(500, code="internal", detail=PantheonError.detail)

    app.add_exception_handler(PantheonError, on_pantheon_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_any_error)
