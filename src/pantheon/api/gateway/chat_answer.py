"""What a metered call is answered with: OpenAI's shapes under our own names, what it cost, and why it ended early."""

from typing import Any

from pantheon.exact_json import NumberLiteral
from pantheon.models.provider import Json
from pantheon.money.amounts import format_credits
from pantheon.money.rate_card import Usage
from pantheon.turns.metered_call import MeteredCall

_KEPT = ("choices", "system_fingerprint")
"""Of what a provider says. The rest names the provider, or what it takes of the operator."""


class ChatAnswer:
    """Makes the answer to one call, chunk by chunk."""

    def __init__(self, call: MeteredCall) -> None:
        self._call = call
        self._finish_reason: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"X-Pantheon-Receipt": str(self._call.call.id)}
        if self._max_tokens is not None:
            headers["X-Pantheon-Max-Tokens"] = str(self._max_tokens)
        return headers

    def chunk(self, told: Json) -> Json:
        """A chunk as it came, under our names."""
        self._finish_reason = self._finish_reason or _finish_reason(told)
        return self._frame("chat.completion.chunk") | {name: told[name] for name in _KEPT if name in told}

    @property
    def is_finished(self) -> bool:
        """Whether the provider has said why the answer ends."""
        return self._finish_reason is not None

    @property
    def finish_chunk(self) -> Json:
        """For an answer whose provider was cut off before it said why, or never does."""
        self._finish_reason = "length" if self._stopped_by else "stop"
        choice = {"index": 0, "delta": {}, "finish_reason": self._finish_reason}
        return self._frame("chat.completion.chunk") | {"choices": [choice]}

    def settled(self, last: Json) -> Json:
        """The last chunk, with what the answer came to."""
        return last | {"pantheon": self._pantheon | {"usage": self._usage}}

    @property
    def usage_chunk(self) -> Json:
        return self._frame("chat.completion.chunk") | {"choices": [], "usage": self._usage}

    def whole(self, told: Json) -> Json:
        self._finish_reason = _finish_reason(told)
        kept = {name: told[name] for name in _KEPT if name in told}
        return self._frame("chat.completion") | kept | {"usage": self._usage, "pantheon": self._pantheon}

    def _frame(self, kind: str) -> Json:
        call = self._call.call
        return {
            "id": f"chatcmpl-{call.id.hex}",
            "object": kind,
            "created": int(call.started_at.timestamp()),
            "model": call.model.alias,
        }

    @property
    def _max_tokens(self) -> int | None:
        """What the credits allow, where that is less than what was asked for."""
        most = self._call.max_output
        return most if most < self._call.call.max_output else None

    @property
    def _stopped_by(self) -> str | None:
        settled = self._call.settlement
        if settled is not None and settled.receipt["stopped_by"] is not None:
            return str(settled.receipt["stopped_by"])
        # A provider that keeps to what the credits allow stops by itself.
        return "credit_limit" if self._max_tokens is not None and self._finish_reason == "length" else None

    @property
    def _pantheon(self) -> Json:
        return {
            "receipt_id": str(self._call.call.id),
            "max_tokens": self._max_tokens,
            "stopped_by": self._stopped_by,
        }

    @property
    def _usage(self) -> Json:
        settled = self._call.settlement
        usage = settled.usage if settled else Usage()
        return {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached_input},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
            # Credits, with every digit that there is.
            "cost": NumberLiteral(format_credits(settled.charged if settled else 0)),
            "cost_details": {"quality": settled.quality if settled else "provider"},
        }


def _finish_reason(told: Json) -> str | None:
    choices: Any = told.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("finish_reason"):
            return str(choice["finish_reason"])
    return None
