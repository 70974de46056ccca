"""A call of a model under way, in a task of its own: read, counted, cut off when it is over, and settled.

It outlives whoever asked for it: when they leave, it stops and is settled for what they were given.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import structlog

from pantheon import clock, failpoints
from pantheon.errors import PantheonError, ProviderUnavailableError, TurnInterruptedError
from pantheon.ledger.lanes import Lanes
from pantheon.models.provider import Attempt, Json, Provider
from pantheon.money.rate_card import Usage
from pantheon.tracing import span
from pantheon.turns.admit_call import Call
from pantheon.turns.call_journal import CallJournal
from pantheon.turns.fund_call import Funds
from pantheon.turns.settle_call import Quality, Settlement, StoppedBy, abandon_call, settle_call, settlement
from pantheon.turns.tally import Tally, delivered_part

_SETTLED_SOON_SECONDS = 2
_INTERRUPTED = "The service was stopped while this was answered. Please send it again."

_logger = structlog.get_logger(__name__)


class MeteredCall:
    """A call under way. `chunks()` gives its answer; whoever does not want the rest of it calls `leave()`."""

    def __init__(self, call: Call, funds: Funds, provider: Provider, body: Json) -> None:
        self.call = call
        self.max_output = funds.max_output
        """Tokens: less than what was asked for where the funds allow no more."""
        self.settlement: Settlement | None = None
        """What it came to. Known when `chunks()` has ended, unless nothing was used."""
        self.first_token_at: datetime | None = None
        self.ended = asyncio.Event()
        """Set when all is settled."""
        self.tally = Tally()
        self._funds = funds
        self._provider = provider
        self._body = body
        self._attempts: list[Attempt] = []
        # One at a time, so that what was handed on is what was taken, and a slow reader slows its own provider only.
        self._handed: asyncio.Queue[tuple[Json, int] | None] = asyncio.Queue(maxsize=1)
        self._left: StoppedBy | None = None
        self._reading: asyncio.Task[StoppedBy | None] | None = None
        self._failure: PantheonError | None = None

    async def chunks(self) -> AsyncGenerator[Json]:
        """OpenAI's chunks without usage, or one whole answer where the body does not ask for a stream.

        Raises the provider's error or TurnInterruptedError, after what came before it.
        """
        try:
            while (handed := await self._handed.get()) is not None:
                chunk, size = handed
                self.tally.deliver(size)
                if size and self.first_token_at is None:
                    self.first_token_at = clock.now()
                self._handed.task_done()
                yield chunk
                failpoints.reach("call.handed")
            if self._failure is not None:
                raise self._failure
        finally:
            self.leave()

    def leave(self, by: StoppedBy = "caller") -> None:
        """Stops the call. What was given is charged for; nothing happens where it has ended."""
        self._left = self._left or by
        if self._reading is not None:
            self._reading.cancel()
        while not self._handed.empty():
            self._handed.get_nowait()
            self._handed.task_done()

    async def run(self, lanes: Lanes, journal: CallJournal) -> None:
        """From the provider to the books, whatever happens between."""
        with span("model_call", call_id=str(self.call.id)):
            await self._run(lanes, journal)

    async def _run(self, lanes: Lanes, journal: CallJournal) -> None:
        stopped_by = await self._read_all()
        if stopped_by == "shutdown":
            self._failure = TurnInterruptedError(_INTERRUPTED)
        settled = self._settle(stopped_by)
        failpoints.reach("call.read")
        self.settlement = settled
        posting = asyncio.create_task(self._post(lanes, settled))
        # Whoever sees the end of an answer sees it on the wallet as well, unless the database is away.
        await asyncio.wait([posting], timeout=_SETTLED_SOON_SECONDS)
        self._hand_over_end()
        await posting
        failpoints.reach("call.posted")
        self.ended.set()
        journal.end(
            self.call,
            "released" if settled is None else "settled",
            self._failure.code if self._failure else f"stopped_by_{stopped_by}" if stopped_by else "completed",
            delivered_output=self.tally.delivered_tokens,
            first_token_at=self.first_token_at,
        )

    async def _read_all(self) -> StoppedBy | None:
        self._reading = asyncio.create_task(self._read())
        if self._left is not None:
            self._reading.cancel()
        try:
            # Who reads slowly is waited for, but not for ever; who leaves is not.
            async with asyncio.timeout((self.call.expires_at - clock.now()).total_seconds()):
                try:
                    stopped_by = await self._reading
                except Exception as error:
                    self._failure, stopped_by = _as_ours(error), "provider"
                await self._handed.join()
        except asyncio.CancelledError:
            return self._left or "caller"
        except TimeoutError:
            return "time_limit"
        return stopped_by if self.tally.all_delivered else self._left or "caller"

    async def _read(self) -> StoppedBy | None:
        async with aclosing(self._answer()) as pieces:
            async for chunk in pieces:
                size = self.tally.receive(chunk)
                failpoints.reach("call.chunk")
                # A provider that keeps to max_tokens never gets here, and one piece is whole already.
                if self._body.get("stream") and self.tally.at_least > self.max_output:
                    break
                await self._hand_on(chunk, size)
            else:
                return None
        # It is cut off before the caller has taken this last one, which may be a while.
        await self._hand_on(chunk, size)
        return "credit_limit"

    async def _hand_on(self, chunk: Json, size: int) -> None:
        chunk = {name: value for name, value in chunk.items() if name != "usage"}
        if chunk.get("choices"):
            await self._handed.put((chunk, size))

    async def _answer(self) -> AsyncGenerator[Json]:
        if not self._body.get("stream"):
            answer = (await self._provider.complete(self._body, attempts=self._attempts)).body
            if not answer.get("choices"):
                raise ProviderUnavailableError
            yield answer
            return
        async with aclosing(self._provider.stream(self._body, attempts=self._attempts)) as pieces:
            async for piece in pieces:
                yield piece

    def _settle(self, stopped_by: StoppedBy | None) -> Settlement | None:
        """None where the provider or we ourselves broke off before anything came: that costs nothing."""
        tally = self.tally
        if stopped_by in ("provider", "shutdown") and tally.received_bytes == 0:
            return None
        quality: Quality = "provider"
        usage = tally.believed()
        if usage is None:
            usage, quality = Usage(input=self.call.input_counted, output=tally.delivered_tokens), "estimated"
        elif stopped_by is not None:
            usage, quality = delivered_part(usage, tally), "provider_partial"
        return settlement(
            self.call,
            self._funds,
            usage,
            quality,
            provider_cost=tally.provider_cost,
            stopped_by=stopped_by,
            attempts=self._attempts,
        )

    async def _post(self, lanes: Lanes, settled: Settlement | None) -> None:
        if settled is None:
            await abandon_call(lanes, self.call)
        else:
            await settle_call(lanes, self.call, self._funds, settled)

    def _hand_over_end(self) -> None:
        while not self._handed.empty():
            self._handed.get_nowait()
        self._handed.put_nowait(None)


def _as_ours(error: Exception) -> PantheonError:
    """An answer that nobody foresaw is the provider's failure, and ours to look at."""
    if isinstance(error, PantheonError):
        return error
    _logger.error("answer_not_understood", exc_info=error)
    return ProviderUnavailableError()
