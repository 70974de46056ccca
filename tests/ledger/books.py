"""Short ways to post to the books in tests: each call is one transaction, amounts are small numbers of nanocredits."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import insert, text

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.ledger.post import Posting, SetBy
from pantheon.money.chart import Kind

LAST_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
NEXT_YEAR = clock.now() + timedelta(days=365)


@dataclass(frozen=True)
class Books:
    database: Database
    owner_url: str

    async def open_wallet(self) -> UUID:
        user_id, wallet_id = uuid7(), uuid7()
        async with self.database.transaction() as tx:
            await tx.execute(insert(users).values(id=user_id, created_at=clock.now()))
            return (await post.open_wallet(tx, wallet_id=wallet_id, user_id=user_id)).wallet_id or wallet_id

    async def grant(self, wallet: UUID, amount: int, *, category: str = "paid", **changes: Any) -> Posting:
        paid = category == "paid"
        arguments: dict[str, Any] = {
            "grant_id": uuid7(),
            "kind": Kind.TOP_UP_GRANT if paid else Kind.PROMOTION_GRANT,
            "reference_id": f"ref_{uuid7().hex}",
            "source": "top_up" if paid else "promotion",
            "effective_at": LAST_YEAR,
        }
        async with self.database.transaction() as tx:
            return await post.grant(tx, wallet_id=wallet, amount=amount, category=category, **arguments | changes)

    async def adjust(self, wallet: UUID, amount: int, *, adjustment_id: UUID | None = None) -> Posting:
        async with self.database.transaction() as tx:
            return await post.adjust(
                tx, wallet_id=wallet, adjustment_id=adjustment_id or uuid7(), amount=amount, actor=None, note=None
            )

    async def reverse(self, grant: Posting, target: int) -> Posting:
        assert grant.grant_id is not None
        async with self.database.transaction() as tx:
            return await post.reverse_to_target(tx, grant_id=grant.grant_id, target=target)

    async def expire(self, wallet: UUID) -> Posting:
        async with self.database.transaction() as tx:
            return await post.expire(tx, wallet_id=wallet)

    async def freeze(self, wallet: UUID, frozen: bool = True) -> Posting:
        async with self.database.transaction() as tx:
            return await post.set_frozen(tx, wallet_id=wallet, frozen=frozen)

    async def hold(
        self, wallet: UUID, amount: int, *, hold_id: UUID | None = None, expires_at: datetime = NEXT_YEAR
    ) -> tuple[UUID, Posting]:
        """The hold's id and the answer."""
        id_ = hold_id or uuid7()
        async with self.database.transaction() as tx:
            return id_, await post.place_hold(tx, wallet_id=wallet, hold_id=id_, amount=amount, expires_at=expires_at)

    async def draw(
        self, hold: UUID, amount: int, *, draw_id: UUID | None = None, **scopes: str
    ) -> tuple[UUID, Posting]:
        """The draw's id and the answer."""
        id_ = draw_id or uuid7()
        async with self.database.transaction() as tx:
            return id_, await post.draw(tx, hold_id=hold, draw_id=id_, amount=amount, scopes=scopes)

    async def capture(self, draw: UUID, used: int) -> Posting:
        async with self.database.transaction() as tx:
            return await post.capture(tx, draw_id=draw, used=used)

    async def settle(self, draw: UUID, used: int, *lines: int, **scopes: str) -> Posting:
        receipt = {"lines": [{"amount": line} for line in lines or (used,)], "scopes": scopes}
        async with self.database.transaction() as tx:
            return await post.settle(tx, draw_id=draw, used=used, receipt=receipt)

    async def settle_unfunded(self, wallet: UUID, call: UUID, beyond: int) -> Posting:
        receipt = {"lines": [{"amount": beyond}, {"amount": -beyond}], "scopes": {}}
        async with self.database.transaction() as tx:
            return await post.settle_unfunded(tx, wallet_id=wallet, call_id=call, beyond=beyond, receipt=receipt)

    async def limit(
        self,
        wallet: UUID,
        amount: int,
        scope: str = "wallet",
        scope_id: str = "",
        period: str = "day",
        set_by: SetBy = "user",
    ) -> str:
        async with self.database.transaction() as tx:
            posting = await post.set_spend_limit(
                tx,
                wallet_id=wallet,
                limit_id=uuid7(),
                scope=scope,
                scope_id=scope_id,
                period=period,
                amount=amount,
                set_by=set_by,
            )
        return posting.code

    async def release(self, hold: UUID) -> Posting:
        async with self.database.transaction() as tx:
            return await post.release(tx, hold_id=hold)

    async def expire_hold(self, hold: UUID) -> Posting:
        async with self.database.transaction() as tx:
            return await post.expire_hold(tx, hold_id=hold)

    async def state_of(self, hold: UUID) -> tuple[str, int, int]:
        """Its state, what is reserved and what is captured."""
        [row] = await self.select("SELECT state, reserved, captured FROM holds WHERE id = :id", id=hold)
        return row  # type: ignore[return-value]

    async def select(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self.database.transaction() as tx:
            return [tuple(row) for row in await tx.execute(text(query), parameters)]

    async def balances(self, wallet: UUID) -> tuple[int, int]:
        """What is available and what is owed."""
        [(available, debt)] = await self.select("SELECT available, debt FROM wallets WHERE id = :id", id=wallet)
        return available, debt

    async def remaining(self, *grants: Posting) -> list[int]:
        query = "SELECT remaining FROM grants WHERE id = :id"
        return [(await self.select(query, id=grant.grant_id))[0][0] for grant in grants]

    async def movements(self, event_id: UUID | None) -> list[tuple[str, str, str, int]]:
        return await self.select(
            "SELECT kind, debit_account, credit_account, amount FROM transfers"
            " WHERE event_id = :id ORDER BY wallet_seq",
            id=event_id,
        )

    def let_run_out(self, *grants: Posting) -> None:
        """Moves the end of grants into the past, as the owner of the database: the chain says nothing of it."""
        with psycopg.connect(self.owner_url) as connection:
            for grant in grants:
                connection.execute(
                    "UPDATE grants SET expires_at = now() - interval '1 hour' WHERE id = %s", [grant.grant_id]
                )
                connection.execute(
                    "UPDATE wallets SET next_expiry_at = now() - interval '1 hour' WHERE id = %s", [grant.wallet_id]
                )

    def set_clock(self, at: datetime) -> None:
        """The time of the books stays there, in this test's own database."""
        with psycopg.connect(self.owner_url) as connection:
            connection.execute(
                "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE"  # type: ignore[arg-type]
                f" SET search_path = public, pg_temp AS $$ SELECT '{at.isoformat()}'::timestamptz $$"
            )

    def let_hold_run_out(self, hold: UUID) -> None:
        with psycopg.connect(self.owner_url) as connection:
            connection.execute(
                "UPDATE holds SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'"
                " WHERE id = %s",
                [hold],
            )
