"""Writes what was measured: a table of goals, the numbers as Markdown and JSON, and a chart."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    section: str
    name: str
    goal: str
    measured: Callable[[Found], tuple[str, bool]]
    """What came out, and whether the goal is met."""


def write(folder: Path, found: Found, *, quick: bool, minutes: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = _machine() | {"minutes": round(minutes, 1), "quick": quick}
    (folder / "latest.json").write_text(json.dumps({"machine": facts} | found, indent=1) + "\n")
    (folder / "latest.md").write_text(_markdown(found, facts))
    if "ledger" in found:
        (folder / "ledger.svg").write_text(_chart(found["ledger"]["outcomes"]))


def goals_table(found: Found) -> str:
    lines = ["| | goal | measured | met |", "|---|---|---|---|"]
    for goal in GOALS:
        if goal.section in found:
            text, met = goal.measured(found)
            lines.append(f"| {goal.name} | {goal.goal} | {text} | {'yes' if met else '**no**'} |")
    return "\n".join(lines)


def _rate(found: Found, section: str, *names: str) -> float:
    """The best of these cases."""
    return max(float(found[section]["outcomes"][name]["rate"]) for name in names)


def _times(ratio: float, least: float) -> tuple[str, bool]:
    return f"{ratio:.1f} ×", ratio >= least


def _against_pgbench(where: str, least: float) -> Callable[[Found], tuple[str, bool]]:
    """By as many callers as clients. pgbench is faster with fewer, so the best of both is told too."""

    def measured(found: Found) -> tuple[str, bool]:
        ours = [_rate(found, "ledger", f"ledger, {where}, {callers} callers") for callers in (64, 512)]
        theirs = [_rate(found, "ledger", f"pgbench, {where}, {clients} clients") for clients in (64, 16)]
        text, met = _times(ours[0] / theirs[0], least)
        return f"{text}; the best of each {max(ours) / max(theirs):.1f} ×", met

    return measured


def _against(peer: str, where: str) -> Callable[[Found], tuple[str, bool]]:
    def measured(found: Found) -> tuple[str, bool]:
        return _times(
            _rate(found, "ledger", f"ledger, {where}, 512 callers", f"ledger, {where}, 64 callers")
            / _rate(found, "ledger", f"{peer}, {where}"),
            15,
        )

    return measured


def _hot_holds_up(found: Found) -> tuple[str, bool]:
    return _times(
        _rate(found, "ledger", "ledger, hot, 512 callers") / _rate(found, "ledger", "ledger, hot, 8 callers"), 1
    )


def _http_against_pgbench(found: Found) -> tuple[str, bool]:
    theirs = _rate(found, "http", "pgbench, spread, 16 clients", "pgbench, spread, 64 clients")
    return _times(_rate(found, "http", "HTTP, ledger") / theirs, 0.5)


def _http_against_for_update(found: Found) -> tuple[str, bool]:
    return _times(_rate(found, "http", "HTTP, ledger") / _rate(found, "http", "HTTP, for_update"), 10)


def _stored(found: Found) -> tuple[str, bool]:
    rate = found["webhooks"]["stored_per_second"]
    return f"{rate:,.0f}/s", rate >= 1000


def _spendable(found: Found) -> tuple[str, bool]:
    measured = found["webhooks"]
    text = f"{measured['spendable_p99']:.2f} s; at {measured['paced_per_second']}/s {measured['paced_p99']:.2f} s"
    return text, measured["spendable_p99"] <= 2


def _first_token(number: int, p50: float, p95: float) -> Callable[[Found], tuple[str, bool]]:
    def measured(found: Found) -> tuple[str, bool]:
        added = found["calls"]["first_token"][number]
        met = added["added_p50_ms"] <= p50 and added["added_p95_ms"] <= p95
        return f"{added['added_p50_ms']:.1f} ms, {added['added_p95_ms']:.1f} ms", met

    return measured


def _held(found: Found) -> tuple[str, bool]:
    calls = found["calls"]
    return f"{calls['held']:,} with {calls['kilobytes_each']:,.0f} kB each", calls["held"] >= 200


def _built_once(found: Found) -> tuple[str, bool]:
    calls = found["calls"]
    new, again = calls["agent_new_us"], calls["agent_again_us"]
    return f"{again / new:.4f} × ({new:,.0f} µs once)", again <= 0.05 * new


def _flat(found: Found) -> tuple[str, bool]:
    last = found["growth"]["sizes"][-1]
    return f"{last['cost']:.2f} × at {last['transfers']:,}", last["cost"] <= 1.1


def _within(key: str, most: float) -> Callable[[Found], tuple[str, bool]]:
    def measured(found: Found) -> tuple[str, bool]:
        value = found["growth"]["sizes"][-1][key]
        return f"{value:.1f} ms", value <= most

    return measured


def _bytes(found: Found) -> tuple[str, bool]:
    size = found["growth"]["bytes_per_pair"]
    return f"{size:,.0f} bytes", size <= 1500


def _verified(found: Found) -> tuple[str, bool]:
    rate = found["growth"]["verify_per_second"]
    return f"{rate:,.0f}/s", rate >= 100_000


GOALS = (
    Goal("ledger", "ledger through Python against pgbench, 64 at once, spread", "≥ 2 ×", _against_pgbench("spread", 2)),
    Goal("ledger", "the same, one hot wallet", "≥ 8 ×", _against_pgbench("hot", 8)),
    Goal("ledger", "hot wallet, 512 callers against 8", "≥ 1 ×", _hot_holds_up),
    *(
        Goal("ledger", f"against {peer}, {where}", "≥ 15 ×", _against(peer, where))
        for peer in ("ORM, SELECT … FOR UPDATE", "double entry, shared revenue")
        for where in ("spread", "hot")
    ),
    Goal("http", "hold + settle over HTTP, one worker, against pgbench", "≥ 0.5 ×", _http_against_pgbench),
    Goal("http", "the same against the ORM FOR UPDATE app", "≥ 10 ×", _http_against_for_update),
    Goal("webhooks", "webhooks stored by one process", "≥ 1,000/s", _stored),
    Goal("webhooks", "time to spendable under that load, p99", "≤ 2 s", _spendable),
    Goal("calls", "added to the first token, 1 stream, p50 and p95", "≤ 10 ms, ≤ 30 ms", _first_token(0, 10, 30)),
    Goal("calls", "the same at 16 streams", "≤ 25 ms, ≤ 75 ms", _first_token(1, 25, 75)),
    Goal("calls", "streams held by one process", "≥ 200", _held),
    Goal("calls", "an agent in each later turn against the first of its version", "≤ 0.05 ×", _built_once),
    Goal("growth", "cost of a posting in grown books", "≤ 1.1 ×", _flat),
    Goal("growth", "balance now", "≤ 5 ms", _within("balance_ms", 5)),
    Goal("growth", "statement page", "≤ 20 ms", _within("page_ms", 20)),
    Goal("growth", "storage of a hold + capture", "≤ 1,500 bytes", _bytes),
    Goal("growth", "`ledger verify`", "≥ 100,000/s", _verified),
)


def _machine() -> dict[str, Any]:
    """What matters of the machine, and nothing that names it."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "processor": model or platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "postgresql": "18, embedded, fsync and synchronous_commit on",
    }


def _markdown(found: Found, facts: dict[str, Any]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = [
        "# Measured",
        "Written by `make bench`; [how to read it](../README.md). Only the ratios count: they are of the same run.",
        machine + ".",
        "## Goals",
        goals_table(found),
    ]
    if facts["quick"]:
        parts.insert(1, "**A run with QUICK=1: it shows that everything runs, and its numbers mean nothing.**")
    if "ledger" in found:
        parts += ["## A hold and its capture", "![Pairs a second](ledger.svg)", _outcomes(found["ledger"]["outcomes"])]
        lost, kept = found["ledger"]["lost_by_read_modify_write"], found["ledger"]["lost_by_for_update"]
        parts.append(f"Of the updates of a hot wallet read-modify-write lost {lost:.0%}, FOR UPDATE {kept:.0%}.")
    if "http" in found:
        parts += ["## Over HTTP", _outcomes(found["http"]["outcomes"])]
    if "calls" in found:
        times = [f"{where}_p{per_cent}_ms" for where in ("direct", "gateway", "added") for per_cent in (50, 95)]
        rows = [
            " | ".join([f"| {case['streams']}", *(f"{case[time]:.1f} ms" for time in times)]) + " |"
            for case in found["calls"]["first_token"]
        ]
        head = ["| streams | direct p50 | p95 | gateway p50 | p95 | added p50 | p95 |", "|---|---|---|---|---|---|---|"]
        parts += ["## Time to the first token", "\n".join(head + rows)]
    if "growth" in found:
        rows = [
            f"| {size['transfers']:,} | {size['cost']:.2f} × | {size['microseconds']:.0f} µs"
            f" | {size['balance_ms']:.1f} ms | {size['page_ms']:.1f} ms |"
            for size in found["growth"]["sizes"]
        ]
        head = ["| transfers | cost of a posting | a posting | balance now | statement page |", "|---|---|---|---|---|"]
        parts += ["## Growth", "\n".join(head + rows)]
    return "\n\n".join(parts) + "\n"


def _outcomes(outcomes: dict[str, Any]) -> str:
    lines = ["| case | pairs/s | p50 | p99 |", "|---|---|---|---|"]
    for name, outcome in outcomes.items():
        times = [f"{outcome[key]:.1f} ms" if outcome[key] is not None else "" for key in ("p50_ms", "p99_ms")]
        lines.append(f"| {name} | {outcome['rate']:,.0f} | {' | '.join(times)} |")
    return "\n".join(lines)


_BAR, _LEFT, _WIDTH = 22, 270, 430


def _chart(outcomes: dict[str, Any]) -> str:
    """Bars of pairs a second, ours first. The colours stand on light and on dark."""
    shown = [name for name in outcomes if not name.startswith("ledger") or " 64 " in name]
    shown.sort(key=lambda name: -float(outcomes[name]["rate"]))
    most = max(float(outcomes[name]["rate"]) for name in shown)
    height = len(shown) * _BAR + 34
    bars = []
    for row, name in enumerate(shown):
        y, rate = 30 + row * _BAR, float(outcomes[name]["rate"])
        width = max(2, round(_WIDTH * rate / most))
        kind = "ours" if name.startswith("ledger") else "other"
        bars.append(
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width}" height="{_BAR - 6}" rx="2"/>'
            f'<text x="{_LEFT + width + 6}" y="{y + 12}">{rate:,.0f}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}"'
        ' font-family="system-ui, sans-serif" font-size="12">\n'
        "<style>text{fill:#1f2328}.ours{fill:#2f6f4f}.other{fill:#8c959f}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#57ab7b}.other{fill:#6e7681}}</style>\n"
        "<title>Pairs of hold and capture a second, 64 callers</title>\n"
        '<text x="8" y="16" font-weight="600">Hold + capture, pairs a second (64 callers unless said)</text>\n'
        + "\n".join(bars)
        + "\n</svg>\n"
    )
