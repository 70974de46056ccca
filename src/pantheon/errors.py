"""Errors are codes with typed extras. HTTP statuses are one table in `api/problems.py`; CLI and pages show them too.

PantheonError
├── CallerError       the caller can mend it: bad input, a missing right, a state that forbids it
├── OutsideError      Stripe or the database did not do its part: try again later
└── InvariantError    ours: something that must never be was seen; a human has to look
"""

from typing import Any, ClassVar


class PantheonError(Exception):
    code: ClassVar[str] = "internal"
    detail: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None, **extras: Any) -> None:
        self.message = detail or self.detail
        self.retry_after = retry_after
        """Seconds after which a repeat makes sense, for the Retry-After header."""
        self.extras = extras
        super().__init__(self.message)


class CallerError(PantheonError):
    code = "invalid_request"
    detail = "The request cannot be carried out."


class OutsideError(PantheonError):
    code = "unavailable"
    detail = "A service that we depend on is unavailable. Please try again."


class InvariantError(PantheonError):
    code = "internal"


class NotSignedInError(CallerError):
    code = "not_authenticated"
    detail = "Sign in or send a valid API key or token."


class WrongCredentialsError(CallerError):
    """The same for an unknown user and a wrong password, so that nobody can learn who has an account."""

    code = "wrong_credentials"
    detail = "E-mail or password is wrong."


class ForbiddenError(CallerError):
    code = "forbidden"
    detail = "Admin access required."


class CrossSiteRequestError(CallerError):
    code = "cross_site_request"
    detail = "This request did not come from a page of this site. Reload the page and try again."


class NotFoundError(CallerError):
    code = "not_found"
    detail = "Not found."


class InvalidInputError(CallerError):
    code = "invalid_input"


class AmountOutOfRangeError(InvalidInputError):
    code = "amount_out_of_range"


class TooManyRequestsError(CallerError):
    code = "too_many_requests"
    detail = "Too many requests. Please wait a moment."


class ConflictError(CallerError):
    code = "conflict"
    detail = "The present state does not allow this."


class RateCardChangedError(ConflictError):
    code = "rate_card_changed"
    detail = "Another pricing version is in force by now. Read it and try again."


class PricesNeedConfirmationError(ConflictError):
    """`models` in the extras says which, and why."""

    code = "prices_need_confirmation"
    detail = "These prices need a confirmation that names the models."


class NotEnoughCreditsError(CallerError):
    code = "not_enough_credits"
    detail = "The wallet does not hold that many available credits."


class InsufficientCreditsError(CallerError):
    """Work that was not begun. The extras say `reason`, `available`, `required`, `limit_source` and `top_up_url`."""

    code = "insufficient_credits"
    detail = "Insufficient credits. Please top up your account."


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"
    detail = "There is no such model here. GET /v1/models lists those that can be called."


class TurnInterruptedError(OutsideError):
    code = "turn_interrupted"
    detail = "The service was interrupted while this was answered. What was said is kept; please send it again."


class TurnTooLongError(CallerError):
    code = "turn_too_long"
    detail = "This turn took longer than a turn may take, and was ended. What was said is kept."


class ContextBudgetExceededError(CallerError):
    code = "context_budget_exceeded"
    detail = "The messages are too long for this model. Shorten them, or choose a model with a larger context."


class NoAgentsError(CallerError):
    code = "no_room_agents"
    detail = "Nobody is in this room yet. Add an agent to it first."


class NoTaggedAgentsError(CallerError):
    code = "no_valid_tagged_agents"
    detail = "In this room only agents that you tag answer. Tag one with @ and its key."


class WalletFrozenError(CallerError):
    code = "wallet_frozen"
    detail = "This wallet is frozen. Please contact the operator."


class IdempotencyKeyReusedError(CallerError):
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used with another request."


class IdempotencyInProgressError(CallerError):
    code = "idempotency_in_progress"
    detail = "The first request with this Idempotency-Key is still running."


class RegistrationClosedError(CallerError):
    code = "registration_closed"
    detail = "Registration is closed here. Ask the operator for an account."


class EmailTakenError(CallerError):
    code = "email_taken"
    detail = "An account with this e-mail exists already."


class LinkInvalidError(CallerError):
    code = "link_invalid"
    detail = "This link was used already or has expired. Ask for a new one."


class InvalidSignatureError(CallerError):
    code = "invalid_stripe_signature"
    detail = "invalid stripe signature"


class MalformedWebhookError(CallerError):
    code = "malformed_webhook_payload"
    detail = "malformed webhook payload"


class PaymentsNotConfiguredError(OutsideError):
    code = "payments_not_configured"
    detail = "payment not configured"


class PaymentsUnavailableError(OutsideError):
    code = "payments_unavailable"
    detail = "The payment provider cannot be reached just now. Nothing was charged; please try again."


class PaymentRejectedError(OutsideError):
    code = "payment_provider_rejected"
    detail = "The payment provider refused to open this payment. Nothing was charged."


class PaymentDeclinedError(CallerError):
    """`category` in the extras says what the payer can do; what the bank said is for nobody else."""

    code = "payment_declined"
    detail = "The payment was declined. Please try another card."


class ProviderRateLimitedError(OutsideError):
    code = "provider_rate_limited"
    detail = "The model provider is over its limit just now. Please try again in a moment."


class ProviderUnavailableError(OutsideError):
    code = "provider_unavailable"
    detail = "The model provider cannot be reached or does not work just now. Please try again."


class ProviderTimedOutError(OutsideError):
    code = "provider_timed_out"
    detail = "The model provider took too long. Please try again."


class ProviderRejectedError(CallerError):
    """What the provider wrote is not repeated: it may hold the prompt. Its machine-readable reason is."""

    code = "provider_rejected"
    detail = "The model provider refused this request."


class ProviderKeyRefusedError(OutsideError):
    code = "provider_key_refused"
    detail = "The model provider refuses the account of this installation. Please tell the operator."


class AnswerTooLargeError(OutsideError):
    code = "answer_too_large"
    detail = "The model provider's answer is larger than what is accepted here."


class StreamCutError(OutsideError):
    code = "stream_cut"
    detail = "The model provider's answer broke off before its end."


class UnsupportedFileError(InvalidInputError):
    code = "unsupported_file"


class RequestTooLargeError(CallerError):
    code = "request_too_large"
    detail = "The request is too large."


class FileTooLargeError(CallerError):
    code = "file_too_large"
    detail = "A file may have at most 10 MB."


class RoomFullError(CallerError):
    code = "room_full"
    detail = "The files of a room may have at most 100 MB together. Delete some that are not needed."


class StorageNotConfiguredError(OutsideError):
    code = "storage_not_configured"
    detail = "No place for files is configured here. Please tell the operator."


class StorageUnavailableError(OutsideError):
    code = "storage_unavailable"
    detail = "The storage of files cannot be used just now. Please try again."


class DatabaseBusyError(OutsideError):
    code = "database_busy"
    detail = "The database is busy. Nothing was changed; please try again."


class DatabaseUnavailableError(OutsideError):
    code = "database_unavailable"
    detail = "The database cannot be reached. Please try again."


class NotReadyError(OutsideError):
    """The schema is not the one that this code expects."""

    code = "not_ready"
    detail = "This version and its database do not belong together."


class SettingsError(PantheonError):
    """A setting is missing or wrong. The message names the variable, never its value."""

    code = "settings"
