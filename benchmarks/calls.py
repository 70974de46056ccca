"""Calls of a model through the gateway beside the same calls straight to the provider, which answers at once.

The gateway, the worker and everything else of the product are in one process, as `pantheon serve` has them; the
provider and the generator of load are two more. All share the cores of this machine.
"""

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from benchmarks.database import BenchDatabase
from benchmarks.processes import free_port, load_from, serving_process
from benchmarks.rounds import Sample, percentile, say
from pantheon import audit, logs
from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.db.engine import Database
from pantheon.money.rate_card import Meter, Rate
from pantheon.runtime import open_runtime
from pantheon.settings import Settings
from pantheon.turns.publish_rate_card import publish_rate_card
from pantheon.turns.rate_cards import Model, view_rate_card
from pantheon.users.create_api_key import create_api_key
from pantheon.users.rights import Scope
from pantheon.web.app import create_app
from pantheon.worker.run import working

PEOPLE = 16
PIECES, PAUSE = 5, 0.015
"""Four pauses of so many seconds for each stream: about 16 calls begin in a second, however many are open."""
HELD_SECONDS = 20

_BENCH = audit.Actor(None, "bench")
_MODEL = Model(Rate(model_alias="bench", prices=dict.fromkeys(Meter, 10**9)), "bench", "bench", 8192, 1000)


async def measure(database: BenchDatabase, *, seconds: float, rounds: int, streams: int) -> dict[str, Any]:
    """The time to the first token at 1 and 16 streams, in interleaved rounds; then `streams` of them held at once."""
    keys = await _keys(database)
    provider, gateway = free_port(), free_port()
    async with (
        serving_process("benchmarks.calls", provider, "provider"),
        serving_process("benchmarks.calls", gateway, "serve", database.app_url, provider) as pid,
    ):
        ports = {"direct": provider, "gateway": gateway}
        found: dict[tuple[str, int], list[Sample]] = {}
        for number in range(1, rounds + 1):
            for at_once in (1, PEOPLE):
                for where, port in ports.items():
                    sample = await load_from("benchmarks.calls", port, "load", at_once, seconds, *keys)
                    found.setdefault((where, at_once), []).append(sample)
                    p50 = percentile(sample.latencies, 50) * 1000
                    say(f"  round {number}/{rounds}  {where}, {at_once} streams{p50:>20.1f} ms to the first token")
        held = await _hold(gateway, pid, keys, streams)
    say(f"  {held['held']} streams held, {held['kilobytes_each']:.0f} kB each over {held['idle_megabytes']:.0f} MB")
    builds = agent_builds()
    say(f"  an agent is built in {builds['agent_new_us']:,.0f} µs, and found in {builds['agent_again_us']:,.1f} µs")
    return {"first_token": [_added(found, at_once) for at_once in (1, PEOPLE)], **held, **builds}


def agent_builds(versions: int = 200) -> dict[str, float]:
    """Microseconds for an agent in a turn: the first of the process, one of a new version, and one that was built."""
    from pantheon.workspace.agent_builds import build
    from pantheon.workspace.turn import Member

    def taken(member: Member) -> float:
        start = time.perf_counter()
        build(member)
        return (time.perf_counter() - start) * 1e6

    tools = ("search", "file_read")
    member = Member(UUID(int=1), "bench", "Bench", "bench", "You help.", tools, 1, 8192, 1000, _MODEL.rate)
    first = taken(member)
    new = [replace(member, version=version) for version in range(2, versions + 2)]
    return {
        "agent_first_us": first,
        "agent_new_us": median(map(taken, new)),
        # Equal and not the same, as a turn reads it from its own row.
        "agent_again_us": median(taken(replace(each)) for each in new),
    }


def _added(found: dict[tuple[str, int], list[Sample]], at_once: int) -> dict[str, float]:
    """The median of the rounds."""
    told: dict[str, float] = {"streams": at_once}
    for per_cent in (50, 95):
        for where in ("direct", "gateway"):
            rounds = [percentile(sample.latencies, per_cent) for sample in found[where, at_once]]
            told[f"{where}_p{per_cent}_ms"] = median(rounds) * 1000
        told[f"added_p{per_cent}_ms"] = told[f"gateway_p{per_cent}_ms"] - told[f"direct_p{per_cent}_ms"]
    return told


async def _keys(database: BenchDatabase) -> list[str]:
    """One API key for each of some people, and a model that can be called."""
    own, settings = Database(database.app_url), _settings(database.app_url, 0, 0)
    card = await view_rate_card(own)
    await publish_rate_card(
        own, _BENCH, models=[*card.models, _MODEL], based_on=card.version, note="bench", confirmed=["bench"]
    )
    keys = []
    for number in range(1, PEOPLE + 1):
        user_id = UUID(str(database.value("SELECT user_id FROM wallets ORDER BY id OFFSET %s LIMIT 1", number)))
        _, key = await create_api_key(
            own, settings, user_id=user_id, name="bench", scopes=[Scope.MODELS_CALL], actor=_BENCH
        )
        keys.append(key)
    await own.close()
    return keys


async def _hold(port: int, pid: int, keys: list[str], streams: int) -> dict[str, float]:
    """How many of so many streams are open at once, each with a piece in a second, and what each adds to the memory."""
    before, ended, begun = _resident_kilobytes(pid), 0, asyncio.Semaphore(0)

    async def stream(number: int) -> None:
        nonlocal ended
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request(keys[number % len(keys)], pieces=HELD_SECONDS, pause=1))
        await reader.readuntil(b'"content"')
        begun.release()
        await reader.readuntil(_END)
        ended += 1
        writer.close()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(stream(number))
        for _ in range(streams):
            await begun.acquire()
        held, after = streams - ended, _resident_kilobytes(pid)
    return {"held": held, "kilobytes_each": (after - before) / streams, "idle_megabytes": before / 1024}


def _resident_kilobytes(pid: int) -> int:
    """0 where the system does not say it in Linux's way."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _settings(url: str, port: int, provider: int) -> Settings:
    return all_settings.load(
        _env_file=None,
        app_env="test",
        database_url=url,
        public_url=f"http://127.0.0.1:{port}",
        model_providers=f"bench=http://127.0.0.1:{provider}/v1",
        rate_limit_calls_per_minute=10**6,
        rate_limit_calls_per_hour=10**6,
    )


async def serve(port: int, url: str, provider: int) -> None:
    logs.configure("json")
    async with (
        open_runtime(_settings(url, port, provider)) as runtime,
        serving(create_app(runtime), bind("127.0.0.1", port)),
        working(runtime),
    ):
        await asyncio.Event().wait()


async def provide(port: int) -> None:
    async with serving(_provider, bind("127.0.0.1", port)):
        await asyncio.Event().wait()


async def _provider(scope: Any, receive: Any, send: Any) -> None:
    """Answers with as many pieces as tokens are asked for, each `temperature` seconds after the one before it."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    asked = json.loads(body)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(asked["max_tokens"]):
        if number:
            await asyncio.sleep(asked["temperature"])
        await send({"type": "http.response.body", "body": _event(_PIECE), "more_body": True})
    used = {"prompt_tokens": 9, "completion_tokens": asked["max_tokens"], "total_tokens": 9 + asked["max_tokens"]}
    for last in (_event(_STOP), _event({"choices": [], "usage": used}), b"data: [DONE]\n\n"):
        await send({"type": "http.response.body", "body": last, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk"} | value).encode() + b"\n\n"


_PIECE = {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
_STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
_END = b"0\r\n\r\n"
"""Of an answer in chunks."""


async def load(port: int, streams: int, seconds: float, keys: list[str]) -> Sample:
    """One call after the other in each of `streams`. The latencies are those to the first token."""
    latencies: list[float] = []
    begun = time.perf_counter()

    async def keep_asking(number: int) -> None:
        # One after the other, as people come: all at once would wait for each other for ever.
        await asyncio.sleep(number * PIECES * PAUSE)
        key = keys[number % len(keys)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < begun + seconds:
            writer.write(_request(key, pieces=PIECES, pause=PAUSE * streams))
            await reader.readuntil(b'"content"')
            latencies.append(time.perf_counter() - start)
            await reader.readuntil(_END)
        writer.close()

    async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(keep_asking(number))
    return Sample(len(latencies), time.perf_counter() - begun, latencies)


def _request(key: str, *, pieces: int, pause: float) -> bytes:
    asked = {
        "model": "bench",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "max_tokens": pieces,
        "temperature": pause,
    }
    body = json.dumps(asked).encode()
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n"
    return f"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\n{head}\r\n".encode() + body


if __name__ == "__main__":
    _, port, what, *arguments = sys.argv
    if what == "provider":
        asyncio.run(provide(int(port)))
    elif what == "serve":
        asyncio.run(serve(int(port), arguments[0], int(arguments[1])))
    else:
        done = asyncio.run(load(int(port), int(arguments[0]), float(arguments[1]), arguments[2:]))
        print(json.dumps({"count": done.count, "seconds": done.seconds, "latencies": done.latencies}))
