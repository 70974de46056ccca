"""The meter around every model: admit → set aside → stream → settle. Nothing else here calls a provider.

A call runs in a task of its own, which outlives whoever asked for it: when they leave, it stops and is settled for what
they were given.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from pantheon import clock, failpoints
from pantheon.db.engine import Database
from pantheon.errors import OutsideError, PantheonError, ProviderUnavailableError
from pantheon.ledger.lanes import Lanes
from pantheon.models.provider import Attempt, Json, Provider
from pantheon.models.providers import Providers
from pantheon.money.rate_card import Usage
from pantheon.settings import Settings
from pantheon.turns.admit_call import LONGEST_CALL, Call, Run, admit_call
from pantheon.turns.fund_call import Funds, fund_call
from pantheon.turns.open_run import close_run, open_run
from pantheon.turns.rate_cards import Model
from pantheon.turns.record_call import record_end, record_progress
from pantheon.turns.settle_call import Quality, Settlement, StoppedBy, abandon_call, settle_call, settlement
from pantheon.turns.spender import Spender
from pantheon.turns.tally import Tally, delivered_part

_PROGRESS_SECONDS = 1
_SHUT_DOWN_SECONDS = 10
_SETTLED_SOON_SECONDS = 2

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
        """Set when all is settled and written down."""
        self.tally = Tally()
        self._funds = funds
        self._provider = provider
        self._body = body
        self._attempts: list[Attempt] = []
        # One at a time, so that what was handed on is what was taken, and a slow reader slows its own provider only.
        self._handed: asyncio.Queue[tuple[Json, int] | None] = asyncio.Queue(maxsize=1)
        self._left = False
        self._reading: asyncio.Task[StoppedBy | None] | None = None
        self._failure: PantheonError | None = None

    async def chunks(self) -> AsyncGenerator[Json]:
        """OpenAI's chunks without usage, or one whole answer where the body does not ask for a stream.

        Raises the provider's error, after what came before it.
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

    def leave(self) -> None:
        """Stops the call. What was given is charged for; nothing happens where it has ended."""
        self._left = True
        if self._reading is not None:
            self._reading.cancel()
        while not self._handed.empty():
            self._handed.get_nowait()
            self._handed.task_done()

    async def run(self, lanes: Lanes, database: Database) -> None:
        """From the provider to the books, whatever happens between."""
        stopped_by = await self._read_all()
        settled = self._settle(stopped_by)
        failpoints.reach("call.read")
        self.settlement = settled
        posting = asyncio.create_task(self._post(lanes, settled))
        # Whoever sees the end of an answer sees it on the wallet as well, unless the database is away.
        await asyncio.wait([posting], timeout=_SETTLED_SOON_SECONDS)
        self._hand_over_end()
        await posting
        failpoints.reach("call.posted")
        await self._record(database, settled, stopped_by)
        self.ended.set()
        failpoints.reach("call.recorded")

    async def _read_all(self) -> StoppedBy | None:
        self._reading = asyncio.create_task(self._read())
        if self._left:
            self._reading.cancel()
        try:
            # Who reads slowly is waited for, but not for ever; who leaves is not.
            async with asyncio.timeout(LONGEST_CALL.total_seconds()):
                try:
                    stopped_by = await self._reading
                except Exception as error:
                    self._failure, stopped_by = _as_ours(error), "provider"
                await self._handed.join()
        except asyncio.CancelledError:
            return "caller"
        except TimeoutError:
            return "time_limit"
        return stopped_by if self.tally.all_delivered else "caller"

    async def _read(self) -> StoppedBy | None:
        async with aclosing(self._answer()) as pieces:
            async for chunk in pieces:
                size = self.tally.receive(chunk)
                failpoints.reach("call.chunk")
                chunk = {name: value for name, value in chunk.items() if name != "usage"}
                if chunk.get("choices"):
                    await self._handed.put((chunk, size))
                # A provider that keeps to max_tokens never gets here.
                if self.tally.at_least > self.max_output:
                    return "credit_limit"
        return None

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
        """None where the provider failed before it gave anything: that costs nothing."""
        tally = self.tally
        if stopped_by == "provider" and tally.received_bytes == 0:
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

    async def _record(self, database: Database, settled: Settlement | None, stopped_by: StoppedBy | None) -> None:
        outcome = (
            self._failure.code if self._failure else "completed" if stopped_by is None else f"stopped_by_{stopped_by}"
        )
        # The recovery does this too, from the receipt, where it cannot be done now.
        with suppress(OutsideError):
            await record_end(
                database,
                self.call,
                state="released" if settled is None else "settled",
                outcome=outcome,
                delivered_output=self.tally.delivered_tokens,
                first_token_at=self.first_token_at,
            )


class Meter:
    """One of each process. `start` a call, and `close` at the end."""

    def __init__(self, settings: Settings, database: Database, lanes: Lanes, providers: Providers) -> None:
        self._settings = settings
        self._database = database
        self._lanes = lanes
        self._providers = providers
        self._top_up_url = f"{settings.public_url}/wallet"
        self._running: dict[asyncio.Task[None], MeteredCall | None] = {}
        self._progress: asyncio.Task[None] | None = None

    async def start(self, spender: Spender, body: Mapping[str, Any], *, run: Run | None = None) -> MeteredCall:
        """Asks the provider once the worst case is set aside, in `run` where one is given.

        `body` is one of OpenAI's chat completions with an alias of ours as `model`, already checked. Raises
        InsufficientCreditsError, WalletFrozenError, ModelNotFoundError, ContextBudgetExceededError,
        TooManyRequestsError, ConflictError and those of the database: then no provider was asked and nothing is held.
        """
        call = await admit_call(self._database, self._settings, spender, dict(body), run=run)
        failpoints.reach("call.admitted")
        try:
            provider = self._providers.get(call.model.provider)
            funds = await fund_call(self._lanes, call, top_up_url=self._top_up_url)
        except OutsideError:
            # It may have been set aside all the same.
            self._spawn(self._abandon(call, "not_begun"), None)
            raise
        except PantheonError as error:
            with suppress(OutsideError):
                await record_end(self._database, call, state="refused", outcome=error.code)
            raise
        except asyncio.CancelledError:
            self._spawn(self._abandon(call, "stopped_by_caller"), None)
            raise
        failpoints.reach("call.funded")
        metered = MeteredCall(call, funds, provider, _for_provider(call, funds, body))
        self._spawn(metered.run(self._lanes, self._database), metered)
        return metered

    async def open_run(self, user_id: UUID, *, cap: int, least: int, expires_at: datetime) -> Run | None:
        """As open_run.py says."""
        return await open_run(
            self._database,
            self._settings,
            self._lanes,
            user_id=user_id,
            cap=cap,
            least=least,
            expires_at=expires_at,
            top_up_url=self._top_up_url,
        )

    async def close_run(self, run: Run) -> None:
        """Once its calls have ended, what is left of it goes back."""
        mine = [task for task, metered in self._running.items() if metered is not None and metered.call.run == run]
        if mine:
            await asyncio.wait(mine)
        await close_run(self._lanes, run)

    def can_call(self, model: Model) -> bool:
        """Whether its provider is set up here."""
        return model.provider in self._providers.names

    async def close(self) -> None:
        """Stops what runs, and settles it. What cannot be settled in time is left to the recovery."""
        for metered in self._running.values():
            if metered is not None:
                metered.leave()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_SHUT_DOWN_SECONDS)
            for task in late:
                task.cancel()
        if self._progress is not None:
            self._progress.cancel()
            with suppress(asyncio.CancelledError):
                await self._progress

    async def _abandon(self, call: Call, outcome: str) -> None:
        await abandon_call(self._lanes, call)
        with suppress(OutsideError):
            await record_end(self._database, call, state="released", outcome=outcome)

    def _spawn(self, work: Coroutine[Any, Any, None], metered: MeteredCall | None) -> None:
        task = asyncio.create_task(work)
        self._running[task] = metered
        task.add_done_callback(self._ended)
        if self._progress is None:
            self._progress = asyncio.create_task(self._keep_progress())

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("call_not_settled", exc_info=error)

    async def _keep_progress(self) -> None:
        """How far each call got, for the recovery should this process die: once a second, all in one statement."""
        kept: dict[Any, int] = {}
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            now = {m.call.id: m.tally.delivered_tokens for m in self._running.values() if m is not None}
            changed = {id_: tokens for id_, tokens in now.items() if tokens != kept.get(id_, 0)}
            if changed:
                try:
                    await record_progress(self._database, changed)
                    failpoints.reach("call.progress")
                except Exception as error:
                    # What was not written now is written with the next; the recovery then knows a little less.
                    _logger.warning("progress_not_recorded", error=type(error).__name__)
                    continue
            kept = now


def _as_ours(error: Exception) -> PantheonError:
    """An answer that nobody foresaw is the provider's failure, and ours to look at."""
    if isinstance(error, PantheonError):
        return error
    _logger.error("answer_not_understood", exc_info=error)
    return ProviderUnavailableError()


def _for_provider(call: Call, funds: Funds, body: Mapping[str, Any]) -> Json:
    named = "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    return dict(body) | {"model": call.model.provider_model, named: funds.max_output}
