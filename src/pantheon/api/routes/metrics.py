"""Numbers for Prometheus: each API process shows its own counters and, for all processes, what the tables say."""

import hmac
import ipaddress
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from pantheon import clock, metrics
from pantheon.api.dependencies import WithRuntime, socket_peer
from pantheon.db.engine import Tx
from pantheon.errors import NotFoundError, PantheonError
from pantheon.payments.check_invariants import last_broken, names
from pantheon.runtime import Runtime

PATH = "/metrics"
_CACHE_SECONDS = 10

router = APIRouter(include_in_schema=False)

_GAUGES = {
    "pantheon_jobs_waiting": "Jobs that are due and that nobody works on",
    "pantheon_jobs_failed": "Jobs that failed for good and wait for a person",
    "pantheon_oldest_unhandled_event_seconds": "Age of the oldest event that is not handled; 0 where there is none",
    "pantheon_last_verified_event_seconds": "Since Stripe last delivered something; -1 where it never did",
    "pantheon_holds_open": "Holds that are placed",
    "pantheon_oldest_hold_seconds": "Age of the oldest of them; 0 where there is none",
    "pantheon_model_calls_open": "Model calls under way",
    "pantheon_turns_open": "Turns that run or wait to",
    "pantheon_wallets_in_debt": "Wallets that owe credits",
    "pantheon_top_ups_in_review": "Payments that wait for a person",
    "pantheon_worker_heartbeat_seconds": "Since a worker was last alive; -1 where none is known",
}

_QUERY = text("""
    SELECT (SELECT count(*) FROM procrastinate_jobs
            WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= :now)),
           (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'),
           (SELECT coalesce(extract(epoch FROM :now - min(received_at)), 0) FROM inbox_events WHERE state = 'received'),
           (SELECT coalesce(extract(epoch FROM :now - received_at), -1) FROM (
                SELECT received_at FROM inbox_events WHERE verified ORDER BY received_at DESC LIMIT 1
            ) last RIGHT JOIN (VALUES (1)) one(x) ON true),
           (SELECT count(*) FROM holds WHERE state = 'placed'),
           (SELECT coalesce(extract(epoch FROM :now - min(created_at)), 0) FROM holds WHERE state = 'placed'),
           (SELECT count(*) FROM calls WHERE state = 'open'),
           (SELECT count(*) FROM turns WHERE status IN ('queued', 'running')),
           (SELECT count(*) FROM wallets WHERE debt > 0),
           (SELECT count(*) FROM top_ups WHERE state = 'review'),
           (SELECT coalesce(extract(epoch FROM :now - max(last_heartbeat)), -1) FROM procrastinate_workers)
""")


@router.get(PATH)
async def get_metrics(request: Request, runtime: WithRuntime) -> Response:
    """With METRICS_TOKEN set, for whoever shows it; without, for this machine alone."""
    if not _may_read(request, runtime):
        raise NotFoundError
    body = metrics.render() + await _of_database(request.app.state, runtime)
    return Response(body, media_type=metrics.CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _may_read(request: Request, runtime: Runtime) -> bool:
    if (token := runtime.settings.metrics_token) is not None:
        shown = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(shown, f"Bearer {token.get_secret_value()}".encode())
    peer = socket_peer(request)
    return peer is not None and ipaddress.ip_address(peer).is_loopback


async def _of_database(state: Any, runtime: Runtime) -> bytes:
    """Kept for some seconds, so that many scrapers, or an eager one, cost the database no more than one."""
    until, kept = getattr(state, "metrics", (0.0, b""))
    if time.monotonic() < until:
        return bytes(kept)
    registry = CollectorRegistry()
    up = Gauge("pantheon_database_up", "1 when the database answered", registry=registry)
    try:
        async with runtime.database.transaction() as tx:
            await _read(tx, registry)
        up.set(1)
    except PantheonError:
        # The counters are needed most when the database is away.
        return generate_latest(registry)
    body = generate_latest(registry)
    state.metrics = (time.monotonic() + _CACHE_SECONDS, body)
    return body


async def _read(tx: Tx, registry: CollectorRegistry) -> None:
    row = (await tx.execute(_QUERY, {"now": clock.now()})).one()
    for (name, what), value in zip(_GAUGES.items(), row, strict=True):
        Gauge(name, what, registry=registry).set(value)
    broken = await last_broken(tx)
    gauge = Gauge("pantheon_invariant_broken", "1 where the last check found a break", ["check"], registry=registry)
    for name in names():
        gauge.labels(name).set(name in broken)
