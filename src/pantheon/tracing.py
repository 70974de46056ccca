"""Traces by OpenTelemetry and reports of errors by Sentry, each only where its setting asks for it.

Both are imported then and not before: without them a start is not slower, and Sentry need not be installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from pantheon import VERSION
from pantheon.errors import SettingsError

if TYPE_CHECKING:
    from pantheon.settings import Settings

_tracer = trace.get_tracer("pantheon", VERSION)


@contextmanager
def span(name: str, **attributes: str) -> Iterator[trace.Span]:
    """A step of the work. Ids and kinds may be attributes; what people wrote, and what errors say, may not."""
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def reporting(settings: "Settings") -> Iterator[None]:
    """Until the block ends, which sends what is left."""
    provider = _trace(settings.otel_exporter_otlp_endpoint) if settings.otel_exporter_otlp_endpoint else None
    if settings.sentry_dsn is not None:
        _report(settings.sentry_dsn.get_secret_value(), settings.app_env)
    try:
        yield
    finally:
        if provider is not None:
            provider.shutdown()
        if settings.sentry_dsn is not None:
            import sentry_sdk

            sentry_sdk.flush(2)


def _trace(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "pantheon", "service.version": VERSION}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _report(dsn: str, environment: str) -> None:
    try:
        import sentry_sdk
    except ModuleNotFoundError:
        raise SettingsError("SENTRY_DSN needs the package sentry-sdk: pip install 'pantheon[sentry]'") from None
    sentry_sdk.init(
        dsn,
        release=VERSION,
        environment=environment,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        # Whatever an integration would add, such as addresses with their one-time links, is not ours to send.
        default_integrations=False,
        before_send=_scrubbed,
    )


def _scrubbed(event: Any, _: Any) -> Any:
    """What remains: which error, where in the code, and the names and ids that a log line may have too."""
    from pantheon.logs import redact

    for part in ("request", "user", "extra", "breadcrumbs", "server_name", "modules"):
        event.pop(part, None)
    for exception in event.get("exception", {}).get("values", []):
        # A message may repeat what a caller sent; the type and the place tell where to look.
        exception["value"] = ""
    return redact(None, "error", event)
