"""Interleaved rounds: every case runs once in each round, so that what disturbs the machine disturbs them alike."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One run of a case: how many pieces of work in how many seconds, and how long each took."""

    count: int
    seconds: float
    latencies: list[float] = field(default_factory=list, repr=False)
    note: str = ""

    @property
    def rate(self) -> float:
        return self.count / self.seconds


@dataclass(frozen=True)
class Case:
    name: str
    run: Callable[[float], Awaitable[Sample]]


@dataclass(frozen=True)
class Outcome:
    name: str
    rates: list[float]
    p50_ms: float | None
    p99_ms: float | None
    note: str

    @property
    def rate(self) -> float:
        return median(self.rates)


async def run_rounds(cases: list[Case], *, seconds: float, rounds: int) -> dict[str, Outcome]:
    samples: dict[str, list[Sample]] = {case.name: [] for case in cases}
    for number in range(1, rounds + 1):
        # Turned by one each round, so that no case always follows the same other one.
        for case in cases[number % len(cases) :] + cases[: number % len(cases)]:
            sample = await case.run(seconds)
            samples[case.name].append(sample)
            say(f"  round {number}/{rounds}  {case.name:<46} {sample.rate:>10,.0f}/s  {sample.note}")
    return {name: _outcome(name, found) for name, found in samples.items()}


async def run_callers(call: Callable[[int], Awaitable[None]], *, callers: int, seconds: float) -> Sample:
    """`callers` tasks that each do one piece of work after the other; `call` gets the caller's number."""
    latencies: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    async def keep_calling(number: int) -> None:
        while (start := time.perf_counter()) < end:
            await call(number)
            latencies.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(keep_calling(number))
    return Sample(len(latencies), time.perf_counter() - begun, latencies)


def percentile(values: list[float], per_cent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * per_cent // 100)]


def say(text: str) -> None:
    print(text, flush=True)


def _outcome(name: str, samples: list[Sample]) -> Outcome:
    timed = [sample.latencies for sample in samples if sample.latencies]
    return Outcome(
        name,
        [sample.rate for sample in samples],
        median(percentile(latencies, 50) for latencies in timed) * 1000 if timed else None,
        median(percentile(latencies, 99) for latencies in timed) * 1000 if timed else None,
        samples[-1].note,
    )
