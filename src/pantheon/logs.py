"""One line for each thing that happened, to stderr; secrets are struck out whatever they are called."""

import logging
import re
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor

_SECRETS = re.compile(
    r"(?:[srp]k_(?:test|live)_|whsec_|pk_|ps_)[A-Za-z0-9_-]{6,}"
    r"|pi_[A-Za-z0-9]+_secret_[A-Za-z0-9]+"
    # Of model providers and of Tavily, which may repeat them in what they answer.
    r"|\b(?:sk|tvly)-[A-Za-z0-9_-]{8,}"
    # With a password or, as that of Sentry, with a key alone.
    r"|(?<=Bearer )\S+|(?<=://)[^/\s@]+(?=@)"
)
STRUCK_OUT = "[struck out]"


def redact(_: Any, __: str, event: EventDict) -> EventDict:
    return {key: _redacted(value) for key, value in event.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRETS.sub(STRUCK_OUT, value)
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def report(_: Any, level: str, event: EventDict) -> EventDict:
    """Errors that are logged, and all that is critical, are told to Sentry, where it is set up and thereby imported."""
    sentry, told = sys.modules.get("sentry_sdk"), event.get("exc_info")
    error = told[1] if isinstance(told, tuple) else told
    if sentry is not None and level in ("error", "critical") and isinstance(error, BaseException):
        sentry.capture_exception(error)
    elif sentry is not None and level == "critical":
        sentry.capture_message(event["event"], level="fatal")
    return event


def configure(form: Literal["json", "text"], *, level: int = logging.INFO) -> None:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        report,
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, pad_level=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # They tell of each request and each job; we log those ourselves.
    for noisy in ("uvicorn", "httpx", "httpx2", "procrastinate", "alembic", "stripe"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
