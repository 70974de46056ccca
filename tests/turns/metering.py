"""An installation whose model is a scripted provider: a token of input costs 1 nanocredit, one of output 10."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.chart import Kind
from pantheon.money.rate_card import Meter as Unit
from pantheon.money.rate_card import Rate
from pantheon.turns.metered_call import MeteredCall
from pantheon.turns.publish_rate_card import publish_rate_card
from pantheon.turns.rate_cards import Model, view_rate_card
from pantheon.turns.spender import Spender
from tests.installation import TEST, Installation, eventually
from tests.models.scripted_provider import Script, ScriptedProvider, serving

ALIAS = "scripted"
PRICES = {
    Unit.INPUT: 10**6,
    Unit.CACHED_INPUT: 10**6,
    Unit.CACHE_WRITE: 10**6,
    Unit.OUTPUT: 10**7,
    Unit.REASONING: 10**7,
    Unit.TOOL_CALL: 0,
}
MODEL = Model(Rate(model_alias=ALIAS, prices=PRICES), "scripted", "model-of-theirs", 8192, 1000)
HELLO = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class Metering:
    installation: Installation
    provider: ScriptedProvider
    user_id: UUID
    wallet_id: UUID
    headers: dict[str, str]
    """Authorize requests as the user."""

    @property
    def spender(self) -> Spender:
        return Spender(user_id=self.user_id)

    async def fund(self, nanocredits: int) -> None:
        async with self.installation.runtime.database.transaction() as tx:
            granted = await post.grant(
                tx,
                wallet_id=self.wallet_id,
                grant_id=uuid7(),
                kind=Kind.ADMIN_GRANT,
                reference_id=f"ref_{uuid7().hex}",
                source="admin",
                category="paid",
                amount=nanocredits,
            )
        granted.expect("ok")

    async def another(self, funds: int) -> "Metering":
        """The same for another person."""
        person = await self.installation.person(email=f"{uuid7().hex}@example.com")
        [wallet] = self.installation.rows("SELECT id FROM wallets WHERE user_id = %s", person.id)
        another = replace(self, user_id=person.id, wallet_id=wallet["id"], headers=person.headers)
        if funds:
            await another.fund(funds)
        return another

    async def start(self, *, spender: Spender | None = None, **changes: Any) -> MeteredCall:
        body = {"model": ALIAS, "messages": HELLO, "stream": True, "max_tokens": 100} | changes
        return await self.installation.runtime.meter.start(spender or self.spender, body)

    async def ended(self) -> None:
        """Until every call that this person began is written down as over."""

        async def none_open() -> bool:
            return all(row["state"] != "open" for row in self.calls)

        await eventually(none_open, seconds=30)

    @property
    def balances(self) -> tuple[int, int]:
        """Nanocredits: available, and held."""
        [row] = self.installation.rows("SELECT available, held FROM wallets WHERE id = %s", self.wallet_id)
        return row["available"], row["held"]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return self.installation.rows("SELECT * FROM receipts WHERE wallet_id = %s ORDER BY created_at", self.wallet_id)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.installation.rows("SELECT * FROM calls WHERE wallet_id = %s ORDER BY started_at", self.wallet_id)


@asynccontextmanager
async def metering(
    install: Callable[..., AbstractAsyncContextManager[Installation]],
    *scripts: Script,
    funds: int = 10**6,
    model: Model = MODEL,
    **settings: Any,
) -> AsyncIterator[Metering]:
    async with (
        serving(ScriptedProvider(*scripts)) as provider,
        install(**{"worker": False, "model_providers": f"scripted={provider.url}"} | settings) as installation,
    ):
        person = await installation.person()
        database = installation.runtime.database
        card = await view_rate_card(database)
        await publish_rate_card(
            database, TEST, models=[*card.models, model], based_on=card.version, note="test", confirmed=[ALIAS]
        )
        [wallet] = installation.rows("SELECT id FROM wallets WHERE user_id = %s", person.id)
        metered = Metering(installation, provider, person.id, wallet["id"], person.headers)
        if funds:
            await metered.fund(funds)
        yield metered
