"""What this process counts for Prometheus. Labels are from fixed lists, never from what a caller sent.

Numbers that the database knows are read when they are asked for: see `api/routes/metrics.py`.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

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
BUILD = Info("pantheon_build", "Which code runs")


def render() -> bytes:
    return generate_latest(REGISTRY)
