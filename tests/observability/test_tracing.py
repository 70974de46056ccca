"""Traces and error reports go where the settings say, over real HTTP, and carry nothing that people sent."""

import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FLOW = """
import asyncio, os
from pantheon import logs
from pantheon.payments.check_invariants import check_invariants
from pantheon.settings import load
from pantheon.tracing import reporting
from tests.installation import eventually, installed

async def main():
    logs.configure("json")
    named = {"otel_exporter_otlp_endpoint": os.environ.get("OTLP"), "sentry_dsn": os.environ.get("DSN")}
    with reporting(load(_env_file=None, app_env="test", **named)):
        async with installed(app_url=os.environ["APP"], owner_url=os.environ["OWNER"]) as i:
            ada = await i.person()
            top_up = (await i.top_up(ada)).json()["top_up_id"]
            payment = i.sandbox.payments.find(top_up)
            await i.runtime.stripe.confirm_payment(
                payment["id"], payment_method="pm_card_visa", return_url=i.url)
            await i.becomes(ada, top_up, "credited")
            asked = {"model": "demo", "messages": [{"role": "user", "content": "hunter2"}]}
            answer = await i.client.post("/v1/chat/completions", json=asked, headers=ada.headers)
            assert answer.status_code == 200, answer.text
            await i.client.get("/sign-in/link/hunter2hunter2")
            i.execute("ALTER TABLE top_ups RENAME TO gone")
            await i.client.get("/api/v1/users/me/wallet/top-ups?limit=7&q=hunter2",
                headers=ada.headers | {"Cookie": "hunter2=hunter2"})
            i.execute("ALTER TABLE gone RENAME TO top_ups")
            i.execute("ALTER TABLE files RENAME TO gone")
            i.execute("INSERT INTO procrastinate_jobs (task_name, queue_name, args) VALUES ('parse_file', 'default',"
                " jsonb_build_object('file_id', gen_random_uuid()))")

            async def failed():
                return i.rows("SELECT FROM procrastinate_jobs WHERE task_name = 'parse_file' AND status = 'failed'")

            await eventually(failed)
            i.execute("ALTER TABLE gone RENAME TO files")
            i.execute("ALTER TABLE wallets DISABLE TRIGGER USER")
            i.execute("UPDATE wallets SET seq = seq + 1")
            await check_invariants(i.runtime.database)

asyncio.run(main())
"""


class Receiver(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Receiver)
        self.server.got.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(app_url: str, owner_url: str, **environment: str) -> None:
    environment = {"PATH": os.environ["PATH"], "APP": app_url, "OWNER": owner_url, "PYTHONPATH": "."} | environment
    done = subprocess.run([sys.executable, "-c", FLOW], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]


def test_traces_name_the_route_the_job_and_the_call_and_nothing_that_was_sent(
    receiver: Receiver, app_url: str, owner_url: str
) -> None:
    run(app_url, owner_url, OTLP=f"http://127.0.0.1:{receiver.server_port}")

    assert {path for path, _ in receiver.got} == {"/v1/traces"}
    names = set()
    for _, body in receiver.got:
        assert b"hunter2" not in body
        request = ExportTraceServiceRequest.FromString(body)
        names |= {span.name for r in request.resource_spans for scope in r.scope_spans for span in scope.spans}
    assert {
        "POST /api/v1/users/me/wallet/top-up",
        "POST /webhooks/stripe",
        "GET /sign-in/link/{token}",
        "handle_events",
        "stripe.create_payment",
        "model_call",
    } <= names


@pytest.mark.prove
def test_an_error_report_tells_where_and_not_what_was_sent(receiver: Receiver, app_url: str, owner_url: str) -> None:
    run(app_url, owner_url, DSN=f"http://key@127.0.0.1:{receiver.server_port}/1")

    told = [json.loads(line) for _, body in receiver.got for line in body.splitlines() if b'"event_id"' in line]
    assert [event["message"] for event in told if event.get("level") == "fatal"] == ["invariant_broken"]
    events = [event for event in told if "exception" in event]
    # Of a request, and of a job.
    assert [event["exception"]["values"][-1]["type"] for event in events] == ["ProgrammingError"] * 2
    for event in events:
        text = json.dumps(event)
        for secret in ("hunter2", "SELECT", "Authorization", "sk_test", "whsec_", "postgresql://"):
            assert secret not in text, secret
        assert "request" not in event
        assert not any(
            "vars" in frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]
        )
