"""What Stripe answers when it refuses something."""

from typing import Any


class ApiError(Exception):
    """An answer other than success, in Stripe's shape.

    `saved` says whether an idempotency key keeps it. Stripe keeps what an endpoint answered once it began to work, so
    a declined card is kept and a mistyped parameter is not.
    """

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        saved: bool = False,
        **extras: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.error: dict[str, Any] = {"type": type, "message": message, **extras}
        if code is not None:
            self.error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
        if param is not None:
            self.error["param"] = param

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.error}


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    return ApiError(400, "invalid_request_error", message, code=code, param=param)


def missing(kind: str, id: str, *, param: str = "id", status: int = 404) -> ApiError:
    return ApiError(status, "invalid_request_error", f"No such {kind}: '{id}'", code="resource_missing", param=param)


def unexpected_state(message: str, intent: dict[str, Any]) -> ApiError:
    return ApiError(
        400,
        "invalid_request_error",
        message,
        code="payment_intent_unexpected_state",
        saved=True,
        payment_intent=intent,
    )
