"""The same paid call, first reserved and then settled, as other projects do it: their patterns, written by us.

Each works on plain tables beside the books, in the same server, with the usual means: SQLAlchemy's ORM or Core, a
session or a transaction for each step, 20 connections. None of them keeps grants, a hash chain or idempotency keys.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from random import randint

from sqlalchemy import BigInteger, ForeignKey, Text, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.database import BenchDatabase
from benchmarks.rounds import Sample, run_callers
from pantheon.db.engine import sqlalchemy_url

AMOUNT = 1000

PaidCall = Callable[[int], Awaitable[None]]
"""Reserves and settles one paid call of this wallet."""


class Base(DeclarativeBase):
    pass


class Wallet(Base):
    __tablename__ = "peer_wallets"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Movement(Base):
    __tablename__ = "peer_movements"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    wallet_id: Mapped[int] = mapped_column(ForeignKey("peer_wallets.id"))
    kind: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)


class Peers:
    def __init__(self, database: BenchDatabase, *, wallets: int) -> None:
        self.wallets = wallets
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(database.owner_url), pool_size=20, max_overflow=0, pool_timeout=60, pool_use_lifo=True
        )

    async def close(self) -> None:
        await self.engine.dispose()

    async def read_modify_write(self, wallet: int) -> None:
        # On wallets of its own, because it leaves them wrong.
        await self._orm(wallet + self.wallets, lock=False)

    async def for_update(self, wallet: int) -> None:
        await self._orm(wallet, lock=True)

    async def _orm(self, wallet_id: int, *, lock: bool) -> None:
        query = select(Wallet).where(Wallet.id == wallet_id)
        if lock:
            query = query.with_for_update()
        async with AsyncSession(self.engine) as session, session.begin():
            wallet = (await session.scalars(query)).one()
            if wallet.balance < AMOUNT:
                raise RuntimeError("not enough")
            wallet.balance -= AMOUNT
            wallet.held += AMOUNT
            session.add(Movement(wallet_id=wallet_id, kind="hold", amount=AMOUNT))
        async with AsyncSession(self.engine) as session, session.begin():
            wallet = (await session.scalars(query)).one()
            wallet.held -= AMOUNT
            session.add(Movement(wallet_id=wallet_id, kind="settle", amount=AMOUNT))

    async def guarded_update(self, wallet: int) -> None:
        hold = {"balance": Wallet.balance - AMOUNT, "held": Wallet.held + AMOUNT}
        await self._guarded(wallet, "hold", Wallet.balance >= AMOUNT, hold)
        await self._guarded(wallet, "settle", Wallet.held >= AMOUNT, {"held": Wallet.held - AMOUNT})

    async def _guarded(self, wallet: int, kind: str, guard: object, values: dict[str, object]) -> None:
        async with self.engine.begin() as tx:
            changed = await tx.execute(update(Wallet).where(Wallet.id == wallet, guard).values(values))  # type: ignore[arg-type]
            if changed.rowcount != 1:
                raise RuntimeError("not enough")
            await tx.execute(insert(Movement).values(wallet_id=wallet, kind=kind, amount=AMOUNT))

    async def double_entry(self, wallet: int) -> None:
        for source, target in ((wallet, -wallet), (-wallet, 0)):
            async with self.engine.begin() as tx:
                await tx.execute(
                    text("SELECT entry_transfer(:source, :target, :amount)"),
                    {"source": source, "target": target, "amount": AMOUNT},
                )

    async def increments(self, wallet: int) -> None:
        async with self.engine.begin() as tx:
            await tx.execute(text("SELECT spend, budget FROM spenders WHERE id = :id"), {"id": wallet})
        async with self.engine.begin() as tx:
            await tx.execute(text("INSERT INTO spend_logs (key, spend) VALUES (:id, 1)"), {"id": wallet})
            await tx.execute(text("UPDATE spenders SET spend = spend + 1 WHERE id = :id"), {"id": wallet})

    async def run(self, paid_call: PaidCall, *, hot: bool, callers: int, seconds: float) -> Sample:
        async def call(_: int) -> None:
            await paid_call(1 if hot else randint(2, self.wallets))

        return await run_callers(call, callers=callers, seconds=seconds)

    async def lost(self, paid_call: PaidCall, *, callers: int, calls: int) -> float:
        """Which share of the holds left no trace in the balance, after `calls` paid calls of one wallet at once."""
        async with self.engine.begin() as tx:
            await tx.execute(update(Wallet).values(balance=10**15, held=0))
            last = await tx.scalar(select(func.coalesce(func.max(Movement.id), 0)))
        remaining = iter(range(calls))

        async def keep_calling() -> None:
            for _ in remaining:
                await paid_call(1)

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(keep_calling())
        async with self.engine.begin() as tx:
            booked = await tx.scalar(
                select(func.sum(Movement.amount)).where(Movement.kind == "hold", Movement.id > last)
            )
            taken = await tx.scalar(select(func.sum(10**15 - Wallet.balance)))
        assert booked is not None
        assert taken is not None
        return 1 - int(taken) / int(booked)


def make_tables(database: BenchDatabase, *, wallets: int) -> None:
    script = files("benchmarks").joinpath("sql", "peers.sql").read_text()
    database.execute(script.replace("{wallets}", str(wallets)))
    database.execute("VACUUM ANALYZE")
