"""The sandbox's own API, and the commands that use it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from pantheon.cli.sandbox import app
from pantheon.payments.stripe.sandbox import Sandbox
from pantheon.payments.stripe.sandbox.address import Address, read_address, write_address
from pantheon.payments.stripe.sandbox.switches import DESCRIPTIONS
from tests.payments.sandbox.conftest import SECRET, Connect, Shop, open_payment, until

# The SDK uses an argument that the httpx of today warns about.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TOP_UP = "019a0000-0000-7000-8000-000000000001"


@pytest.fixture
async def control(shop_sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {shop_sandbox.secret_key}"}
    async with httpx2.AsyncClient(base_url=f"{shop_sandbox.base_url}/_sandbox", headers=headers) as client:
        yield client


@pytest.fixture
def home(shop_sandbox: Sandbox, tmp_path: Path) -> Path:
    write_address(
        tmp_path,
        Address(
            url=shop_sandbox.base_url,
            secret_key=shop_sandbox.secret_key,
            publishable_key=shop_sandbox.publishable_key,
            webhook_secret=SECRET,
        ),
    )
    return tmp_path


async def run(home: Path, *arguments: str) -> Result:
    """The command in a thread: the sandbox that it calls lives in this event loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--home", str(home)])


async def test_it_takes_the_secret_key_only(shop_sandbox: Sandbox, control: httpx2.AsyncClient) -> None:
    assert (await control.get("/status")).status_code == 200
    for headers in ({}, {"Authorization": f"Bearer {shop_sandbox.publishable_key}"}):
        async with httpx2.AsyncClient(base_url=f"{shop_sandbox.base_url}/_sandbox", headers=headers) as stranger:
            assert (await stranger.get("/status")).status_code == 401
            assert (await stranger.post("/payments/pi_x/play", json={"play": "pay"})).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"name": "explode"},
        {"name": "hang", "ms": -1},
        {"name": "hang", "seconds": 1},
        {"name": "duplicate_webhook", "copies": 0},
        {"name": "fail", "times": 0},
        {},
        [],
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(control: httpx2.AsyncClient, body: Any) -> None:
    assert (await control.post("/switches", json=body)).status_code == 400
    assert (await control.get("/switches")).json() == {"switches": []}


async def test_every_fault_is_explained(control: httpx2.AsyncClient) -> None:
    for name in DESCRIPTIONS:
        assert (await control.post("/switches", json={"name": name})).status_code == 200
    assert len((await control.get("/switches")).json()["switches"]) == len(DESCRIPTIONS)
    assert (await control.delete("/switches")).json() == {"switches": []}


async def test_requests_are_counted_and_its_own_are_not(
    shop_sandbox: Sandbox, connect: Connect, control: httpx2.AsyncClient
) -> None:
    await control.get("/payments")
    client = connect(shop_sandbox)
    await client.v1.payment_intents.create_async({"amount": 1000, "currency": "usd"}, {"idempotency_key": "k1"})
    [seen] = (await control.get("/requests")).json()["requests"]
    assert (seen["method"], seen["path"], seen["idempotency_key"]) == ("POST", "/v1/payment_intents", "k1")
    assert seen["status"] == 200


async def test_hostile_events_are_crafted_over_http_too(
    shop_sandbox: Sandbox, connect: Connect, shop: Shop, control: httpx2.AsyncClient
) -> None:
    payment = await open_payment(connect(shop_sandbox))
    answer = await control.post(f"/payments/{payment.id}/events", json={"object": {"amount_received": 1001}})
    assert [delivery["state"] for delivery in answer.json()["deliveries"]] == ["delivered"]
    assert shop.events[-1]["data"]["object"]["amount_received"] == 1001
    assert (await control.post("/payments/pi_nobody/events", json={})).status_code == 404
    assert (await control.post(f"/payments/{payment.id}/events", json={"event": {"id": None}})).status_code == 400


async def test_a_top_up_is_paid_from_the_command_line(
    shop_sandbox: Sandbox, connect: Connect, home: Path, shop: Shop
) -> None:
    client = connect(shop_sandbox)
    payment = await open_payment(client, metadata={"top_up_id": TOP_UP})
    assert TOP_UP in (await run(home, "payments")).output
    declined = await run(home, "decline", TOP_UP)
    assert declined.exit_code == 0
    assert "requires_payment_method" in declined.output
    assert "generic_decline" in declined.output
    challenged = await run(home, "pay", TOP_UP, "--method", "4000 0025 0000 3155")
    assert "requires_action" in challenged.output
    assert "/challenge/" in challenged.output
    paid = await run(home, "pay", payment.id, "--json")
    assert json.loads(paid.output)["status"] == "succeeded"
    again = await run(home, "cancel", TOP_UP)
    assert again.exit_code == 1
    assert "status of succeeded" in again.output
    await until(lambda: "payment_intent.succeeded" in shop.types)


async def test_a_debit_is_settled_from_the_command_line(shop_sandbox: Sandbox, connect: Connect, home: Path) -> None:
    payment = await open_payment(connect(shop_sandbox))
    assert "processing" in (await run(home, "pay", payment.id, "--method", "pm_usBankAccount_success")).output
    assert "succeeded" in (await run(home, "settle", payment.id)).output


async def test_events_are_listed_and_sent_again_from_the_command_line(
    shop_sandbox: Sandbox, connect: Connect, home: Path, shop: Shop
) -> None:
    await open_payment(connect(shop_sandbox))
    await until(lambda: len(shop.bodies) == 1)
    listed = await run(home, "events")
    assert "payment_intent.created" in listed.output
    assert "delivered (200)" in listed.output
    assert "delivered (200)" in (await run(home, "resend", shop.events[0]["id"])).output
    assert len(shop.bodies) == 2
    assert (await run(home, "resend", "evt_nobody")).exit_code == 1


async def test_faults_are_set_and_taken_back_from_the_command_line(
    shop_sandbox: Sandbox, connect: Connect, home: Path
) -> None:
    assert "lose_answer" in (await run(home, "switch")).output
    assert "fail 2x on POST *" in (await run(home, "switch", "fail", "--times", "2", "--on", "POST *")).output
    assert "fail 2x" in (await run(home, "status")).output
    assert "none" in (await run(home, "switch", "--clear")).output
    assert shop_sandbox.switches.active == []
    assert (await run(home, "switch", "explode")).exit_code == 1
    await run(home, "switch", "hold_webhook", "--times", "0")
    await open_payment(connect(shop_sandbox))
    assert "delivered (200)" in (await run(home, "release", "--order", "reverse")).output


async def test_without_a_sandbox_a_command_says_what_to_do(tmp_path: Path) -> None:
    nothing = await run(tmp_path, "status")
    assert nothing.exit_code == 1
    assert "make run" in nothing.output
    address = Address(url="http://127.0.0.1:1", secret_key="sk", publishable_key="pk", webhook_secret="whsec")
    write_address(tmp_path, address)
    stopped = await run(tmp_path, "status")
    assert (stopped.exit_code, stopped.output) == (nothing.exit_code, nothing.output)


def test_the_address_is_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "not" / "made"
    assert read_address(home) is None
    address = Address(url="http://127.0.0.1:1", secret_key="sk_1", publishable_key="pk_1", webhook_secret="whsec_1")
    path = write_address(home, address)
    assert read_address(home) == address
    assert [oct(found.stat().st_mode & 0o777) for found in (path, home)] == ["0o600", "0o700"]
    assert [found.name for found in home.iterdir()] == ["sandbox.json"]
    assert "sk_1" not in repr(address)
    assert "whsec_1" not in repr(address)
    path.write_text("{")
    assert read_address(home) is None


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pantheon.cli.sandbox import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([name for name in ('stripe', 'starlette', 'httpx2', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
