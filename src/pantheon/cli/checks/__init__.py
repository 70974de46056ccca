"""What `pantheon doctor` looks at. Each check reads, and answers what it found and what to do."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

SKEW_WARNS_SECONDS = 5
SKEW_FAILS_SECONDS = 60
"""Far below the five minutes after which no event of Stripe is believed any more."""


class Result(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    check: str
    result: Result
    found: str
    advice: str = ""
    """What to do; empty when all is well."""

    @property
    def fields(self) -> dict[str, Any]:
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    return Finding(check, Result.OK, found)


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Result.WARNING, found, advice)


def failed(check: str, found: str, advice: str) -> Finding:
    return Finding(check, Result.FAILED, found, advice)


def skewed(check: str, seconds: int | None, of: str) -> Finding:
    """How far this machine's clock is ahead of another one."""
    if seconds is None:
        return warning(check, f"{of} did not tell its time", "Compare the clocks by hand.")
    if abs(seconds) < SKEW_WARNS_SECONDS:
        return ok(check, f"within {SKEW_WARNS_SECONDS} s of {of}")
    direction = "ahead of" if seconds > 0 else "behind"
    found = f"clock skew: this machine is {abs(seconds)} s {direction} {of}"
    advice = "Let NTP set the clocks. Beyond 300 s every event of Stripe is refused."
    return (failed if abs(seconds) >= SKEW_FAILS_SECONDS else warning)(check, found, advice)
