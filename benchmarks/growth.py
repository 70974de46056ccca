"""What it costs to have a history: the same work on books that grow, always beside books that stay small."""

import asyncio
import json
import time
from importlib.resources import files
from random import randint
from statistics import median
from uuid import UUID

import psycopg

from benchmarks.database import BenchDatabase, wallet_id
from benchmarks.rounds import Case, Sample, percentile, run_rounds, say
from pantheon.cli.proof import prove
from pantheon.db.embedded import EmbeddedServer
from pantheon.db.engine import Database
from pantheon.ids import uuid7
from pantheon.wallets.list_transactions import list_transactions
from pantheon.wallets.view_wallet import view_wallet

BATCH = 128


async def measure(running: EmbeddedServer, *, sizes: list[int], seconds: float, rounds: int) -> dict[str, object]:
    """`sizes` are numbers of transfers, rising."""
    wallets = min(10_000, sizes[0] // 2)
    small, grown = BenchDatabase(running, "bench_small"), BenchDatabase(running, "bench_grown")
    for database in (small, grown):
        database.open_wallets(wallets)
        database.execute(files("benchmarks").joinpath("sql", "fill.sql").read_text())
        _fill(database, sizes[0], wallets)
    found: dict[str, object] = {"sizes": []}
    for size in sizes:
        _fill(grown, size, wallets)
        cases = [_posting("small", small, wallets), _posting("grown", grown, wallets)]
        outcome = await run_rounds(cases, seconds=seconds, rounds=rounds)
        balance, page = await _reads(grown)
        cost = median(s / g for s, g in zip(outcome["small"].rates, outcome["grown"].rates, strict=True))
        say(
            f"  {size:,} transfers: a posting costs {cost:.2f} × that of {sizes[0]:,};"
            f" balance {balance:.1f} ms, page {page:.1f} ms"
        )
        found["sizes"].append(  # type: ignore[attr-defined]
            {
                "transfers": size,
                "cost": cost,
                "microseconds": 1e6 / outcome["grown"].rate,
                "balance_ms": balance,
                "page_ms": page,
            }
        )
    found["bytes_per_pair"] = _bytes_per_pair(grown)
    found["verify_per_second"] = await _verify(grown)
    return found


def _fill(database: BenchDatabase, size: int, wallets: int) -> None:
    there = int(str(database.value("SELECT count(*) FROM transfers")))
    layers = (size - there) // (2 * wallets)
    if layers > 0:
        say(f"  filling up to {size:,} transfers …")
        database.execute(f"CALL bench_fill({layers})")
    database.execute("VACUUM ANALYZE")


def _posting(name: str, database: BenchDatabase, wallets: int) -> Case:
    async def run(seconds: float) -> Sample:
        return await asyncio.to_thread(_post, database, wallets, seconds)

    return Case(name, run)


def _post(database: BenchDatabase, wallets: int, seconds: float) -> Sample:
    """Postings in batches over one connection, as a lane sends them."""
    posted = 0
    options = "-c enable_seqscan=off -c jit=off"
    with psycopg.connect(database.app_url, options=options, autocommit=True, prepare_threshold=0) as connection:
        begun = time.perf_counter()
        while time.perf_counter() < begun + seconds:
            ids = [str(uuid7()) for _ in range(BATCH)]
            items = [
                {"wallet_id": str(wallet_id(randint(1, wallets))), "hold_id": id_, "draw_id": id_, "amount": 1000}
                for id_ in ids
            ]
            for operation in ("place_hold", "draw", "capture"):
                _call(connection, [item | {"operation": operation, "expires_at": "2100-01-01"} for item in items])
            posted += 2 * BATCH
        return Sample(posted, time.perf_counter() - begun)


def _call(connection: psycopg.Connection[tuple[object, ...]], items: list[dict[str, str | int]]) -> None:
    codes = connection.execute("SELECT code FROM ledger_lane_batch(%s::jsonb)", [json.dumps(items)]).fetchall()
    if {code for (code,) in codes} != {"ok"}:
        raise RuntimeError(f"the ledger answered {codes[0]}")


async def _reads(database: BenchDatabase) -> tuple[float, float]:
    """The balance now and a statement page of the wallet with the longest history, in milliseconds (p50)."""
    user = UUID(str(database.value("SELECT user_id FROM wallets ORDER BY seq DESC LIMIT 1")))
    opened = Database(database.app_url)
    try:
        balances, pages = [], []
        for _ in range(50):
            begun = time.perf_counter()
            await view_wallet(opened, user_id=user)
            balances.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            await list_transactions(opened, user_id=user, limit=50)
            pages.append(time.perf_counter() - begun)
    finally:
        await opened.close()
    return percentile(balances, 50) * 1000, percentile(pages, 50) * 1000


def _bytes_per_pair(database: BenchDatabase) -> float:
    """Rows and indexes of all that a hold with its capture leaves behind for ever."""
    tables = ("transfers", "grant_moves", "holds", "draws")
    total = sum(int(str(database.value("SELECT pg_total_relation_size(%s::regclass)", table))) for table in tables)
    return total / int(str(database.value("SELECT count(*) FROM holds")))


async def _verify(database: BenchDatabase) -> float:
    """Transfers a second by `ledger verify`, after which the books are proven whole."""
    count = int(str(database.value("SELECT count(*) FROM transfers")))
    opened = Database(database.owner_url)
    try:
        begun = time.perf_counter()
        proof = await prove(opened)
        seconds = time.perf_counter() - begun
    finally:
        await opened.close()
    if proof.breaks:
        raise RuntimeError(f"the books are not whole: {proof.breaks[0]}")
    say(f"  verify: {count:,} transfers in {seconds:.1f} s, {count / seconds:,.0f}/s")
    return count / seconds
