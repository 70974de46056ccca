"""Nothing that a caller sends makes the sandbox stumble."""

from typing import Any

import httpx2
import pytest

from pantheon.payments.stripe.sandbox import Sandbox


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"amount=%FF",
        b"amount=%ED%A0%80&currency=usd",
        b"amount=1000&currency=usd%00",
        b"amount=" + b"9" * 5000 + b"&currency=usd",
        b"amount=\xd9\xa1\xd9\xa0&currency=usd",
        b"amount[]=1000&currency=usd",
        b"amount=1000&currency=usd&metadata=x",
        b"amount=1000&currency=usd&metadata[" + b"k" * 41 + b"]=x",
        b"[]]=&&&==",
        b"",
    ],
)
async def test_odd_forms_are_refused(sandbox: Sandbox, body: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {sandbox.secret_key}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Idempotency-Key": "k1",
    }
    async with httpx2.AsyncClient(base_url=sandbox.base_url, headers=headers) as http:
        answer = await http.post("/v1/payment_intents", content=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        # Nothing was kept, so the key is still free.
        again = await http.post("/v1/payment_intents", content=b"amount=1000&currency=usd")
        assert again.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/payment_intents/%00", 404),
        ("GET", "/v1/payment_intents/%ED%A0%80", 404),
        ("GET", "/v1/payment_intents/pi_1?nonsense=1", 400),
        ("GET", "/v1/payment_intents/", 404),
        ("DELETE", "/v1/payment_intents", 404),
        ("GET", "/v1/events?type=", 400),
        ("GET", "/", 404),
        ("GET", "/challenge/pi_1/x", 404),
        ("POST", "/challenge/pi_1/x", 404),
    ],
)
async def test_odd_addresses_are_refused(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    async with httpx2.AsyncClient(
        base_url=sandbox.base_url, headers={"Authorization": f"Bearer {sandbox.secret_key}"}
    ) as http:
        assert (await http.request(method, path)).status_code == status


@pytest.mark.parametrize("key", ["Bearer é", "Basic /w==", "Basic", "Digest x", "Bearer"])
async def test_odd_keys_are_refused(sandbox: Sandbox, key: str) -> None:
    headers: Any = {"Authorization": key.encode("latin-1")}
    async with httpx2.AsyncClient(base_url=sandbox.base_url, headers=headers) as http:
        assert (await http.get("/v1/account")).status_code == 401
        assert (await http.get("/_sandbox/status")).status_code == 401


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"play": "pay", "method": "\\ud800"}', b'{"play": "explode"}', b"[" * 5000]
)
async def test_odd_commands_are_refused(sandbox: Sandbox, body: bytes) -> None:
    async with httpx2.AsyncClient(
        base_url=sandbox.base_url, headers={"Authorization": f"Bearer {sandbox.secret_key}"}
    ) as http:
        assert (await http.post("/_sandbox/payments/pi_1/play", content=body)).status_code == 400
