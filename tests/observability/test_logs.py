"""One thing can be followed through the log: from the request that brought it to the job that did it."""

import json
import os
import subprocess
import sys

FLOW = """
import asyncio, os
from pantheon import logs
logs.configure("json")
from tests.installation import installed

async def main():
    async with installed(app_url=os.environ["APP"], owner_url=os.environ["OWNER"]) as i:
        ada = await i.person()
        opened = await i.top_up(ada, **{"X-Request-Id": "asked-by-ada"})
        top_up = opened.json()["top_up_id"]
        payment = i.sandbox.payments.find(top_up)
        await i.runtime.stripe.confirm_payment(payment["id"], payment_method="pm_card_visa", return_url=i.url)
        await i.becomes(ada, top_up, "credited")
        print(top_up, payment["id"], opened.headers["X-Request-Id"])

asyncio.run(main())
"""


def test_request_and_job_name_the_same_event_and_top_up(app_url: str, owner_url: str) -> None:
    environment = {"PATH": os.environ["PATH"], "APP": app_url, "OWNER": owner_url, "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", FLOW], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    top_up, payment, request_id = done.stdout.split()
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    asked = [line for line in lines if line.get("request_id") == request_id]
    assert request_id == "asked-by-ada"
    assert {"event": "request", "status": 201, "top_up_id": top_up}.items() <= asked[-1].items()
    (handled,) = [line for line in lines if line["event"] == "event_handled" and line["outcome"] == "credited"]
    assert (handled["top_up_id"], handled["payment_id"]) == (top_up, payment)
    (delivered,) = [
        line for line in lines if line["event"] == "request" and line.get("event_id") == handled["event_id"]
    ]
    assert delivered["route"] == "/webhooks/stripe"
    # A later job, or request, does not go on under the name of an earlier one.
    others = [line for line in lines if line["event"] == "request" and line["route"] != "/webhooks/stripe"]
    assert not any("event_id" in line for line in others)
