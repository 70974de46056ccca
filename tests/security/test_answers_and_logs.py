"""S16, S17: neither an answer nor a log line tells what only Stripe, the database or the caller should know."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = re.compile(
    r"sk_test_|rk_test_|whsec_|_secret_|Stripe-Signature|v1=[0-9a-f]{64}|Authorization|Bearer (?!\[)", re.I
)
INSIDE = re.compile(
    r"decline_code|insufficient_funds|stolen|Traceback|SELECT |INSERT |psycopg|sqlalchemy|File \"", re.I
)

FLOW = """
import asyncio, logging, os
from pantheon import logs
logs.configure("json", level=logging.DEBUG)
from tests.installation import installed
from tests.payments.events import event_for, signed, succeeded

async def main():
    async with installed(app_url=os.environ["APP"], owner_url=os.environ["OWNER"], registration="open") as i:
        answers = []
        async def call(method, path, **named):
            answer = await i.client.request(method, path, **named)
            answers.append(answer)
            return answer
        credentials = {"email": "eve@example.com", "password": "correct horse hunter2", "use": "token"}
        eve = await call("POST", "/api/v1/auth/sign-up", json=credentials)
        await call("POST", "/api/v1/auth/sign-in", json=credentials | {"password": "wrong hunter2 horse"})
        headers = {"Authorization": "Bearer " + eve.json()["token"]}
        answers.clear()
        opened = await call("POST", "/api/v1/users/me/wallet/top-up", json={"amount_usd": "10"}, headers=headers)
        answers.clear()
        payment = i.sandbox.payments.find(opened.json()["top_up_id"])
        body = event_for(payment | {"last_payment_error": {"code": "card_declined", "decline_code": "stolen_card",
            "message": "Your card was stolen."}}, type="payment_intent.payment_failed", id="evt_crafted_1")
        await call("POST", "/webhooks/stripe", content=body, headers={"Stripe-Signature": signed(body)})
        body = event_for(succeeded(payment))
        await call("POST", "/webhooks/stripe", content=body, headers={"Stripe-Signature": signed(body)})
        await call("POST", "/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": signed(body)})
        await i.all_events_handled()
        top_up = "/api/v1/users/me/wallet/top-ups"
        for path in (top_up, top_up + "/" + opened.json()["top_up_id"], "/api/v1/users/me/wallet",
                     "/api/v1/users/me/transactions", "/api/v1/auth/me", "/api/v1/admin/wallets/x", top_up + "/x"):
            await call("GET", path, headers=headers)
        await call("POST", "/api/v1/users/me/wallet/top-up", json={"amount_usd": "hunter2"}, headers=headers)
        await call("GET", "/api/v1/users/me/wallet", headers={"Authorization": "Bearer pk_hunter2hunter2"})
        i.execute("ALTER TABLE top_ups RENAME TO gone")
        await call("GET", top_up, headers=headers)
        assert answers[-1].status_code == 500
        print("\\n".join(answer.text for answer in answers))
        print("TOKEN", eve.json()["token"])

asyncio.run(main())
"""


@pytest.mark.tampers
def test_a_flow_logged_in_full_tells_no_secret_in_its_log_and_nothing_internal_in_its_answers(
    app_url: str, owner_url: str, tmp_path: Path
) -> None:
    """T-204, T-205: sign-up, a wrong password, a declined card, a payment, forged and hostile requests, at DEBUG."""
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FLOW],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "APP": app_url, "OWNER": owner_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )

    assert process.returncode == 0, process.stderr[-3000:]
    answers, _, token = process.stdout.rpartition("TOKEN ")
    logged = process.stderr
    assert logged.count("\n") > 50
    assert "debug" in logged
    assert "unexpected_error" in logged
    assert [line for line in logged.splitlines() if SECRET.search(line)] == []
    assert [line for line in answers.splitlines() if INSIDE.search(line)] == []
    for secret in ("hunter2", token.strip()):
        assert secret not in logged
        assert secret not in answers
