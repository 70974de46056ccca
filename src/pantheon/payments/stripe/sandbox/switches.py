"""Faults to play: each switch meets the next requests or the next webhooks that it matches, then is used up."""

import asyncio
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RequestFault = Literal[
    "fail", "lose_request", "lose_answer", "rate_limit", "key_in_use", "refuse", "hang", "webhook_first"
]
WebhookFault = Literal["drop_webhook", "duplicate_webhook", "delay_webhook", "hold_webhook"]

DESCRIPTIONS: dict[str, str] = {
    "fail": "answer 500; kept under the idempotency key unless `saved` is false; with `work` the work is done first",
    "lose_request": "drop the connection before anything is done",
    "lose_answer": "do the work, then drop the connection instead of answering",
    "rate_limit": "answer 429, before the idempotency layer; `code` may be lock_timeout",
    "key_in_use": "answer 409 as if a request with the same idempotency key were still running",
    "refuse": "answer with `status` and an error that has the fields in `error`, such as type and code, and do no work",
    "hang": "wait `ms` before doing the work, with the idempotency key in use",
    "webhook_first": "deliver the webhooks and wait `ms` before answering; `pay` a new payment with this method first",
    "drop_webhook": "never deliver it; the event can still be listed",
    "duplicate_webhook": "deliver it `copies` times more",
    "delay_webhook": "deliver it after `ms`",
    "hold_webhook": "keep it back until it is released, in any order",
}


class Switch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: RequestFault | WebhookFault
    times: int | None = Field(default=1, ge=1)
    """How many requests or webhooks it meets. None: all, until the switches are cleared."""
    on: str = "*"
    """A shell pattern: of "METHOD path" for requests, of the event's type for webhooks."""
    ms: int = Field(default=0, ge=0, le=3_600_000)
    copies: int = Field(default=1, ge=1, le=100)
    work: bool = False
    saved: bool = True
    code: Literal["lock_timeout"] | None = None
    status: int = Field(default=400, ge=400, le=599)
    error: dict[str, str] = Field(default_factory=dict)
    pay: str | None = None


class Switches:
    """Kept in memory: a restart switches all faults off."""

    def __init__(self) -> None:
        self.active: list[Switch] = []
        self._cleared = asyncio.Event()

    def add(self, switch: Switch) -> None:
        self.active.append(switch.model_copy())

    def clear(self) -> None:
        """Takes all switches back and wakes requests that hang."""
        self.active.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def meet_request(self, subject: str) -> Switch | None:
        return self._meet(subject, webhook=False)

    def meet_webhook(self, subject: str) -> Switch | None:
        return self._meet(subject, webhook=True)

    async def wait(self, ms: int) -> None:
        try:
            async with asyncio.timeout(timedelta(milliseconds=ms).total_seconds()):
                await self._cleared.wait()
        except TimeoutError:
            return

    def _meet(self, subject: str, *, webhook: bool) -> Switch | None:
        """The first switch that matches, one for each subject, so that a row of faults is played in its order."""
        for switch in self.active:
            if switch.name.endswith("_webhook") is webhook and fnmatchcase(subject, switch.on):
                if switch.times is not None:
                    switch.times -= 1
                    if switch.times == 0:
                        self.active.remove(switch)
                return switch
        return None
