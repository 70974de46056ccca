"""Signed events through the real API and worker, in one process: how many are stored, and when credits can be spent.

The top-ups are laid into the database as they are after Stripe has answered; all that follows is the product's own.
"""

import asyncio
import json
import sys
import time
from uuid import UUID

from stripe import WebhookSignature

from benchmarks.database import BenchDatabase
from benchmarks.http_load import connect
from benchmarks.processes import free_port, load_from, serving_process
from benchmarks.rounds import Sample, say
from pantheon import logs
from pantheon import settings as all_settings
from pantheon.api.server import bind, serving
from pantheon.runtime import open_runtime
from pantheon.web.app import create_app
from pantheon.worker.run import working

SECRET = "whsec_0123456789abcdef0123456789abcdef"
CONNECTIONS = 64

_TOP_UPS = """
    INSERT INTO top_ups (id, user_id, wallet_id, amount_minor, currency, credits, credits_per_major, livemode,
                         stripe_account, request_params, leased_until, created_at, expires_at)
    SELECT ('00000003-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, w.user_id, w.id, 1000, 'usd', 333330000000,
           '100/3', false, 'acct_bench', '{}', now(), now(), now() + interval '1 day'
    FROM (SELECT row_number() OVER (ORDER BY id) AS n, id, user_id FROM wallets) w WHERE n <= {count};
    UPDATE top_ups SET state = 'awaiting_payment', payment_intent_id = 'pi_bench' || replace(id::text, '-', '')
    WHERE state = 'creating'
"""
_TIMES = """
    SELECT count(*), coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY d), 0),
           coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY d), 0)
    FROM (SELECT extract(epoch FROM t.credited_at - e.received_at)::float8 AS d
          FROM top_ups t JOIN inbox_events e ON e.event_id = 'evt_' || t.payment_intent_id
          WHERE t.id BETWEEN %s AND %s) x
"""


async def measure(database: BenchDatabase, *, events: int, paced: int) -> dict[str, float]:
    """First all at once, then `paced` a second for some seconds, both with time to spendable."""
    installation = UUID(str(database.value("SELECT id FROM installation")))
    slow = min(events, paced * 10)
    database.execute(_TOP_UPS.replace("{count}", str(events + slow)))
    port = free_port()
    async with serving_process("benchmarks.webhooks", port, "serve", database.app_url):
        # The first answers come from a process that has not warmed up.
        first, last = events + 1, events + slow
        await load_from("benchmarks.webhooks", port, "load", installation, first, last, paced)
        _, paced_p50, paced_p99 = await _times(database, first, last)
        say(f"  {paced:,}/s offered: spendable after {paced_p50:.2f} s (p50), {paced_p99:.2f} s (p99)")
        sample = await load_from("benchmarks.webhooks", port, "load", installation, 1, events, 0)
        stored = sample.rate
        count, p50, p99 = await _times(database, 1, events)
    say(f"  as fast as they come: {stored:,.0f}/s stored; spendable after {p50:.2f} s (p50), {p99:.2f} s (p99)")
    return {
        "stored_per_second": stored,
        "spendable_p50": p50,
        "spendable_p99": p99,
        "credited": count,
        "paced_per_second": paced,
        "paced_p50": paced_p50,
        "paced_p99": paced_p99,
    }


async def _times(database: BenchDatabase, first: int, last: int) -> tuple[float, float, float]:
    """Waits until every one is credited."""
    ids = [f"00000003-0000-7000-8000-{number:012x}" for number in (first, last)]
    async with asyncio.timeout(600):
        while database.value("SELECT count(*) FROM top_ups WHERE state <> 'credited' AND id BETWEEN %s AND %s", *ids):
            await asyncio.sleep(0.2)
    count, p50, p99 = database.row(_TIMES, *ids)
    return float(str(count)), float(str(p50)), float(str(p99))


async def serve(port: int, url: str) -> None:
    logs.configure("json")
    settings = all_settings.load(
        _env_file=None,
        app_env="test",
        database_url=url,
        public_url=f"http://127.0.0.1:{port}",
        stripe_secret_key="sk_test_benchmark",
        stripe_publishable_key="pk_test_benchmark",
        stripe_webhook_secret=SECRET,
        stripe_account_id="acct_bench",
        stripe_api_base="http://127.0.0.1:9",
    )
    async with (
        open_runtime(settings) as runtime,
        serving(create_app(runtime), bind("127.0.0.1", port)),
        working(runtime),
    ):
        await asyncio.Event().wait()


async def load(port: int, installation: str, first: int, last: int, per_second: int) -> Sample:
    """Sends the events of these top-ups over kept connections; 0 a second is as fast as answers come."""
    numbers = iter(range(first, last + 1))
    latencies: list[float] = []
    begun = time.perf_counter()

    async def keep_sending() -> None:
        connection = await connect(port)
        for number in numbers:
            if per_second:
                await asyncio.sleep(max(0.0, begun + (number - first) / per_second - time.perf_counter()))
            body = _event(number, installation)
            signature = WebhookSignature.generate_signature_header(body.decode(), SECRET, timestamp=int(time.time()))
            start = time.perf_counter()
            status, answer = await connection.post("/webhooks/stripe", body, f"Stripe-Signature: {signature}\r\n")
            assert status == 200, answer
            latencies.append(time.perf_counter() - start)
        connection.transport.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(keep_sending())
    return Sample(len(latencies), time.perf_counter() - begun, latencies)


def _event(number: int, installation: str) -> bytes:
    top_up = UUID(int=(0x3 << 96) | (0x7 << 76) | (0x8 << 60) | number)
    payment = f"pi_bench{top_up.hex}"
    return json.dumps(
        {
            "id": f"evt_{payment}",
            "object": "event",
            "type": "payment_intent.succeeded",
            "livemode": False,
            "api_version": None,
            "created": int(time.time()),
            "data": {
                "object": {
                    "id": payment,
                    "object": "payment_intent",
                    "status": "succeeded",
                    "amount": 1000,
                    "amount_received": 1000,
                    "currency": "usd",
                    "livemode": False,
                    "metadata": {"top_up_id": str(top_up), "environment_id": installation, "schema": "1"},
                }
            },
        }
    ).encode()


if __name__ == "__main__":
    if sys.argv[2] == "serve":
        asyncio.run(serve(int(sys.argv[1]), sys.argv[3]))
    else:
        _, port, _, installation, first, last, per_second = sys.argv
        done = asyncio.run(load(int(port), installation, int(first), int(last), int(per_second)))
        print(json.dumps({"count": done.count, "seconds": done.seconds, "latencies": done.latencies}))
