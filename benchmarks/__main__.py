"""`make bench`. What to run comes from the environment: ONLY, QUICK, LONG (see README.md)."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import calls, growth, ledger, peers, pgbench, report, webhooks
from benchmarks.database import BenchDatabase, server
from benchmarks.processes import free_port, load_from, serving_process
from benchmarks.rounds import Case, Outcome, Sample, run_rounds, say
from pantheon.db.embedded import EmbeddedServer
from pantheon.ledger.lanes import Lanes


@dataclass(frozen=True)
class Plan:
    """How much to do. `quick` proves that everything runs; its numbers mean nothing."""

    quick: bool
    long: bool

    @property
    def seconds(self) -> float:
        return 1 if self.quick else 2

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def wallets(self) -> int:
        return 200 if self.quick else 100_000 if self.long else 10_000


def _pgbench_cases(running: EmbeddedServer, database: BenchDatabase, plan: Plan) -> list[Case]:
    return [
        Case(
            f"pgbench, {where}, {clients} clients",
            lambda seconds, clients=clients, wallets=wallets: pgbench.pairs(  # type: ignore[misc]
                running, database, clients=clients, wallets=wallets, seconds=seconds
            ),
        )
        for where, wallets in (("spread", plan.wallets), ("hot", 1))
        for clients in (16, 64)
    ]


def _ledger_cases(lanes: Lanes, plan: Plan) -> list[Case]:
    return [
        Case(
            f"ledger, {where}, {callers} callers",
            lambda seconds, callers=callers, wallets=wallets: ledger.pairs(  # type: ignore[misc]
                lanes, callers=callers, wallets=wallets, seconds=seconds
            ),
        )
        for where, wallets in (("spread", plan.wallets), ("hot", 1))
        for callers in (8, 64, 512)
    ]


def _peer_cases(others: peers.Peers) -> list[Case]:
    patterns = {
        "ORM, read-modify-write": others.read_modify_write,
        "ORM, SELECT … FOR UPDATE": others.for_update,
        "guarded UPDATE": others.guarded_update,
        "double entry, shared revenue": others.double_entry,
        "increments": others.increments,
    }
    return [
        Case(f"{name}, {where}", partial(_run_peer, others, paid_call, where == "hot"))
        for name, paid_call in patterns.items()
        for where in ("spread", "hot")
    ]


async def _run_peer(others: peers.Peers, paid_call: peers.PaidCall, hot: bool, seconds: float) -> Sample:
    return await others.run(paid_call, hot=hot, callers=64, seconds=seconds)


async def bench_ledger(running: EmbeddedServer, plan: Plan) -> dict[str, Any]:
    """Pairs of hold and capture: pgbench, the lanes, and the patterns of others, in the same rounds."""
    database = _database(running, "bench_ledger", plan)
    peers.make_tables(database, wallets=plan.wallets)
    others = peers.Peers(database, wallets=plan.wallets)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(others.close)
        lanes = await stack.enter_async_context(Lanes(database.app_url))
        cases = [*_pgbench_cases(running, database, plan), *_ledger_cases(lanes, plan), *_peer_cases(others)]
        outcomes = await run_rounds(cases, seconds=plan.seconds, rounds=plan.rounds)
        calls = 200 if plan.quick else 1000
        lost = await others.lost(others.read_modify_write, callers=64, calls=calls)
        kept = await others.lost(others.for_update, callers=64, calls=calls)
    say(f"  lost updates on a hot wallet: read-modify-write {lost:.0%}, FOR UPDATE {kept:.0%}")
    return {"outcomes": _as_json(outcomes), "lost_by_read_modify_write": lost, "lost_by_for_update": kept}


async def bench_http(running: EmbeddedServer, plan: Plan) -> dict[str, Any]:
    """Hold and settle over HTTP, one worker process, 64 connections, beside pgbench."""
    database = _database(running, "bench_http", plan)
    peers.make_tables(database, wallets=plan.wallets)
    async with AsyncExitStack() as stack:
        cases = [case for case in _pgbench_cases(running, database, plan) if "spread" in case.name]
        for pattern in ("ledger", "for_update"):
            port = free_port()
            url = database.app_url if pattern == "ledger" else database.owner_url
            await stack.enter_async_context(serving_process("benchmarks.http_app", port, pattern, url))
            cases.append(Case(f"HTTP, {pattern}", partial(_run_http, port, plan.wallets)))
        outcomes = await run_rounds(cases, seconds=plan.seconds, rounds=plan.rounds)
    return {"outcomes": _as_json(outcomes)}


async def _run_http(port: int, wallets: int, seconds: float) -> Sample:
    return await load_from("benchmarks.http_load", port, 64, seconds, wallets)


async def bench_webhooks(running: EmbeddedServer, plan: Plan) -> dict[str, Any]:
    """Events stored, and the time until their credits can be spent."""
    events, paced = (100, 50) if plan.quick else (4000, 50)
    database = BenchDatabase(running, "bench_webhooks")
    database.open_wallets(events + paced * 10, grants=0)
    return await webhooks.measure(database, events=events, paced=paced)


async def bench_growth(running: EmbeddedServer, plan: Plan) -> dict[str, Any]:
    """The cost of a posting, a balance and a statement page as the books grow; storage; verify."""
    sizes = [400, 800] if plan.quick else [10_000, 100_000, 1_000_000]
    if plan.long:
        sizes.append(10_000_000)
    return await growth.measure(running, sizes=sizes, seconds=plan.seconds, rounds=plan.rounds)


async def bench_calls(running: EmbeddedServer, plan: Plan) -> dict[str, Any]:
    """The time that the gateway adds to the first token, and how many streams one process holds."""
    database = BenchDatabase(running, "bench_calls")
    database.open_wallets(2 * calls.PEOPLE)
    streams = 20 if plan.quick else 500 if plan.long else 200
    return await calls.measure(database, seconds=3 * plan.seconds, rounds=plan.rounds, streams=streams)


def _database(running: EmbeddedServer, name: str, plan: Plan) -> BenchDatabase:
    say(f"  opening {plan.wallets:,} wallets with two grants each …")
    database = BenchDatabase(running, name)
    database.open_wallets(plan.wallets)
    return database


def _as_json(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    return {name: {**asdict(outcome), "rate": outcome.rate} for name, outcome in outcomes.items()}


SECTIONS: dict[str, Callable[[EmbeddedServer, Plan], Awaitable[dict[str, Any]]]] = {
    "ledger": bench_ledger,
    "http": bench_http,
    "webhooks": bench_webhooks,
    "calls": bench_calls,
    "growth": bench_growth,
}


async def main() -> None:
    wanted = os.environ.get("ONLY", "").replace(",", " ").split() or list(SECTIONS)
    if unknown := set(wanted) - set(SECTIONS):
        raise SystemExit(f"ONLY={','.join(sorted(unknown))}: the sections are {', '.join(SECTIONS)}")
    plan = Plan(quick=bool(os.environ.get("QUICK")), long=bool(os.environ.get("LONG")))
    begun = time.perf_counter()
    found: dict[str, Any] = {}
    folder = Path(os.environ.get("RESULTS") or Path(__file__).parent / "results")
    with server() as running:
        for name in wanted:
            say(f"{name}: {SECTIONS[name].__doc__}")
            found[name] = await SECTIONS[name](running, plan)
            minutes = (time.perf_counter() - begun) / 60
            # After each, so that what was measured is kept when a later one fails.
            report.write(folder, found, quick=plan.quick, minutes=minutes)
    say(report.goals_table(found))
    say(f"{minutes:.1f} minutes; written to {folder.name}/")


if __name__ == "__main__":
    asyncio.run(main())
