"""The meter around every model: admit → set aside → stream → settle. Nothing else here calls a provider."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from pantheon import failpoints
from pantheon.db.engine import Database
from pantheon.errors import OutsideError, PantheonError
from pantheon.ledger.lanes import Lanes
from pantheon.models.provider import Json
from pantheon.models.providers import Providers
from pantheon.settings import Settings
from pantheon.turns.admit_call import Call, Run, admit_call
from pantheon.turns.call_journal import CallJournal
from pantheon.turns.fund_call import Funds, fund_call
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.open_run import close_run, open_run
from pantheon.turns.rate_cards import Model
from pantheon.turns.settle_call import abandon_call
from pantheon.turns.spender import Spender

_SHUT_DOWN_SECONDS = 10

_logger = structlog.get_logger(__name__)


class Meter:
    """One of each process. `start` a call, and `close` at the end."""

    def __init__(self, settings: Settings, database: Database, lanes: Lanes, providers: Providers) -> None:
        self._settings = settings
        self._database = database
        self._lanes = lanes
        self._providers = providers
        self._top_up_url = f"{settings.public_url}/wallet"
        self._running: dict[asyncio.Task[None], MeteredCall | None] = {}
        self._journal = CallJournal(database, self._delivered)

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
            self._journal.end(call, "refused", error.code)
            raise
        except asyncio.CancelledError:
            self._spawn(self._abandon(call, "stopped_by_caller"), None)
            raise
        failpoints.reach("call.funded")
        metered = MeteredCall(call, funds, provider, _for_provider(call, funds, body))
        self._spawn(metered.run(self._lanes, self._journal), metered)
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
            abandon=lambda run: self._spawn(close_run(self._lanes, run), None),
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

    async def interrupt(self) -> None:
        """Ends what runs because this process ends, and settles it. What is too slow is left to the recovery."""
        for metered in self._running.values():
            if metered is not None:
                metered.leave("shutdown")
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_SHUT_DOWN_SECONDS)
            for task in late:
                task.cancel()

    async def close(self) -> None:
        await self.interrupt()
        await self._journal.close()

    async def _abandon(self, call: Call, outcome: str) -> None:
        await abandon_call(self._lanes, call)
        self._journal.end(call, "released", outcome)

    def _spawn(self, work: Coroutine[Any, Any, None], metered: MeteredCall | None) -> None:
        task = asyncio.create_task(work)
        self._running[task] = metered
        task.add_done_callback(self._ended)
        self._journal.begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("call_not_settled", exc_info=error)

    def _delivered(self) -> dict[UUID, int]:
        return {m.call.id: m.tally.delivered_tokens for m in self._running.values() if m is not None}


def _for_provider(call: Call, funds: Funds, body: Mapping[str, Any]) -> Json:
    named = "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    return dict(body) | {"model": call.model.provider_model, named: funds.max_output}
