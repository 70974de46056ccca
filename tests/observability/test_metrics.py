"""What Prometheus is told, and who may ask."""

import re
from asyncio import Event
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from pantheon import VERSION
from pantheon.errors import InsufficientCreditsError
from pantheon.money.amounts import NANOCREDITS
from pantheon.payments.stripe.sandbox.switches import Switch
from tests.installation import Installation
from tests.ledger.books import NEXT_YEAR, Books
from tests.models.scripted_provider import Script, delta, streamed
from tests.payments.events import event_for, signed
from tests.turns.metering import metering

Install = Callable[..., Any]


async def scrape(installation: Installation) -> dict[str, float]:
    answer = await installation.client.get("/metrics")
    assert answer.status_code == 200
    found = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", answer.text, re.M)
    return {name: float(value) for name, value in found}


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after.get(name, 0) - before.get(name, 0)


async def test_requests_are_counted_by_route_and_status_and_never_by_what_was_asked_for(
    installation: Installation,
) -> None:
    person = await installation.person()
    before = await scrape(installation)
    for path in ("health", "users/me/wallet/top-ups/secret-one", "users/me/wallet/top-ups/users", "no/such/place"):
        await installation.client.get(f"/api/v1/{path}", headers=person.headers)
    await installation.client.request("BREW", "/api/v1/health")
    after = await scrape(installation)

    def count(route: str, status: int, method: str = "GET") -> float:
        labels = f'{{method="{method}",route="{route}",status="{status}"}}'
        return grown(before, after, f"pantheon_http_request_seconds_count{labels}")

    assert count("/api/v1/health", 200) == 1
    assert (
        count("/api/v1/users/me/wallet/top-ups/{top_up_id}", 404)
        + count("/api/v1/users/me/wallet/top-ups/{top_up_id}", 422)
        == 2
    )
    assert count("none", 404) == 1
    assert "secret-one" not in str(after)
    assert "BREW" not in str(after)


async def test_money_coming_in_is_counted_at_each_step(installation: Installation) -> None:
    person = await installation.person()
    before = await scrape(installation)
    top_up = (await installation.top_up(person)).json()["top_up_id"]
    payment = installation.sandbox.payments.find(top_up)
    assert installation.runtime.stripe is not None
    await installation.runtime.stripe.confirm_payment(
        payment["id"], payment_method="pm_card_visa", return_url=installation.url
    )
    await installation.becomes(person, top_up, "credited")
    await installation.all_events_handled()
    body = event_for(payment, type="customer.created", id="evt_other")
    await installation.post_event(body, signed(body))
    await installation.post_event(body, "t=1,v1=00")
    after = await scrape(installation)

    for name in (
        'pantheon_events_received_total{outcome="ok",type="payment_intent.succeeded"}',
        'pantheon_events_received_total{outcome="refused",type="none"}',
        'pantheon_top_ups_total{state="credited"}',
        'pantheon_stripe_call_seconds_count{kind="create_payment",outcome="ok"}',
    ):
        assert grown(before, after, name) == 1, name
    assert grown(before, after, 'pantheon_events_received_total{outcome="ignored",type="other"}') >= 1
    assert grown(before, after, 'pantheon_events_handled_total{outcome="done"}') >= 1


async def test_model_calls_are_counted_by_how_they_ended_and_by_what_they_cost(install: Install) -> None:
    beyond = {"prompt_tokens": 9, "completion_tokens": 5000, "total_tokens": 5009}
    async with metering(install, Script([delta("x"), Event()]), streamed("one"), streamed("two", usage=beyond)) as m:
        under_way = await m.start()
        await anext(under_way.chunks())
        before = await scrape(m.installation)
        for _ in range(2):
            async for _ in (await m.start()).chunks():
                pass
        under_way.leave()
        await m.ended()
        with pytest.raises(InsufficientCreditsError):
            await (await m.another(funds=1)).start()
        after = await scrape(m.installation)
        receipts = m.receipts

    for outcome, count in {"completed": 2, "stopped_by_caller": 1, "insufficient_credits": 1}.items():
        assert grown(before, after, f'pantheon_model_calls_total{{outcome="{outcome}"}}') == count, outcome
    assert before["pantheon_model_calls_open"] == 1
    assert grown(before, after, "pantheon_model_first_token_seconds_count") == 3
    for name, field in {"charged": "charged", "overrun": "overrun"}.items():
        expected = sum(receipt[field] for receipt in receipts)
        found = grown(before, after, f"pantheon_credits_{name}_total")
        assert expected > 0 and round(found * NANOCREDITS) == expected


async def test_what_the_tables_say_is_shown(install: Install, owner_url: str) -> None:
    async with install(worker=False) as it:
        books = Books(it.runtime.database, owner_url)
        wallet = await books.open_wallet()
        await books.grant(wallet, 100)
        await books.hold(wallet, 10, expires_at=NEXT_YEAR)
        it.sandbox.switches.add(Switch(name="drop_webhook", on="payment_intent.created", times=None))
        top_up = (await it.top_up(await it.person())).json()["top_up_id"]
        body = event_for(it.sandbox.payments.find(top_up))
        await it.post_event(body, signed(body))
        it.execute("INSERT INTO procrastinate_jobs (task_name, queue_name) VALUES ('sweep', 'default')")
        it.execute("UPDATE inbox_events SET received_at = received_at - interval '10 minutes'")

        found = await scrape(it)

        assert found["pantheon_database_up"] == 1
        assert found["pantheon_holds_open"] == 1
        assert found["pantheon_jobs_waiting"] == 1
        assert 600 <= found["pantheon_oldest_unhandled_event_seconds"] < 700
        assert 600 <= found["pantheon_last_verified_event_seconds"] < 700
        assert found["pantheon_worker_heartbeat_seconds"] == -1
        assert found["pantheon_wallets_in_debt"] == 0
        # Handled in the end, so that what the test leaves is whole.
        it.execute("UPDATE inbox_events SET state = 'ignored', outcome = 'type_not_used', handled_at = now()")


async def test_alarms_and_runbooks_speak_of_numbers_that_there_are(installation: Installation) -> None:
    root = Path(__file__).parents[2]
    alarms = root / "deploy/prometheus/alerts.yml"
    told = [path.read_text() for path in (alarms, *(root / "docs/runbooks").glob("*.md"))]
    metrics = (await installation.client.get("/metrics")).text
    shown = set(re.findall(r"^# TYPE (\S+)", metrics, re.M))

    named = {name.removesuffix("_count") for text in told for name in re.findall(r"\bpantheon_[a-z_]+", text)}

    assert len(named) > 10
    assert f'pantheon_build_info{{version="{VERSION}"}} 1.0' in metrics
    assert named <= shown
    for rule in yaml.safe_load(alarms.read_text())["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("page", "ticket")
        for page in re.findall(r"docs/\S+\.md", rule["annotations"]["summary"]):
            assert (root / page).is_file(), page


async def test_a_token_is_asked_for_where_one_is_set(install: Install) -> None:
    async with install(worker=False, metrics_token="t" * 20) as it:
        answers = [
            await it.client.get("/metrics", headers=headers)
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {'t' * 20}"})
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 200]


async def test_without_a_token_a_forwarded_request_is_refused(installation: Installation) -> None:
    answer = await installation.client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    assert answer.status_code == 404


async def test_the_counters_are_shown_while_the_database_is_away(install: Install, owner_url: str) -> None:
    async with install(worker=False, database_url="postgresql://nobody:x@127.0.0.1:1/none") as it:
        answer: httpx2.Response = await it.client.get("/metrics")
    assert answer.status_code == 200
    assert "pantheon_database_up 0.0" in answer.text
    assert "pantheon_http_request_seconds" in answer.text
