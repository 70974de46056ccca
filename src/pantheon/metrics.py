"""What this process counts for Prometheus. Labels are from fixed lists, never from what a caller sent.

Numbers that the database knows are read when they are asked for: see `api/routes/metrics.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pantheon import VERSION
from pantheon.errors import SettingsError

CONTENT_TYPE = CONTENT_TYPE_LATEST

HTTP_REQUESTS = Histogram(
    "pantheon_http_request_seconds",
    "Requests by method, route template and status",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
EVENTS_RECEIVED = Counter("pantheon_events_received", "Deliveries by Stripe", ["type", "outcome"])
EVENTS_HANDLED = Counter("pantheon_events_handled", "Attempts to handle a stored event", ["outcome"])
TOP_UPS = Counter("pantheon_top_ups", "Top-ups by the state that they came to", ["state"])
STRIPE_CALLS = Histogram(
    "pantheon_stripe_call_seconds",
    "Calls to Stripe",
    ["kind", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STRIPE_PAUSED = Gauge("pantheon_stripe_paused", "1 while Stripe is left alone after a row of failures")
CALLS = Counter("pantheon_model_calls", "Model calls by how they ended, refused ones too", ["outcome"])
FIRST_TOKENS = Histogram(
    "pantheon_model_first_token_seconds",
    "From the admission of a model call to its first token",
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
)
CREDITS_CHARGED = Counter("pantheon_credits_charged", "Credits that wallets paid for model calls")
CREDITS_OVERRUN = Counter("pantheon_credits_overrun", "Credits of model calls that the operator had to bear")
TURNS = Counter("pantheon_turns", "Turns by how they ended", ["status"])
Info("pantheon_build", "Which code runs").info({"version": VERSION})


def render() -> bytes:
    return generate_latest(REGISTRY)


@contextmanager
def served(address: str | None) -> Iterator[None]:
    """For a process that has no other way in: at `host:port` until the block ends, to whoever can reach that."""
    if address is None:
        yield
        return
    host, port = address.rsplit(":", 1)
    try:
        server, thread = start_http_server(int(port), addr=host)
    except (OSError, OverflowError):
        raise SettingsError(f"WORKER_METRICS_ADDRESS: nothing can listen on {address}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
