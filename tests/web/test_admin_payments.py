"""Payments that need a decision, events that are stuck, and why: over the pages and the API, by role."""

import asyncio
from html import unescape
from typing import Any

from pantheon.ledger import post
from pantheon.turns.spender import Spender
from pantheon.users.rights import Role
from pantheon.wallets.adjust_credits import adjust_credits
from pantheon.wallets.grant_credits import grant_credits
from tests.installation import TEST, Installation, Person
from tests.payments.events import event_for, signed, succeeded
from tests.web.conftest import Visit

HOSTILE = "<script>alert(1)</script>"


async def in_review(installation: Installation) -> tuple[Person, str]:
    """A top-up of 10.00 of which 5.00 came in."""
    ada = await installation.person()
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    body = event_for(succeeded(installation.sandbox.payments.find(top_up_id), amount_received=500))
    await installation.post_event(body, signed(body))
    await installation.becomes(ada, top_up_id, "review")
    return ada, top_up_id


async def stuck(installation: Installation, **fields: Any) -> str:
    """Our id of an event whose top-up nobody knows."""
    environment = installation.rows("SELECT id FROM installation")[0]["id"]
    metadata = {"top_up_id": "0198c0de-0000-7000-8000-000000000000", "environment_id": str(environment)}
    ada = await installation.person(email="eve@example.com")
    payment = installation.sandbox.payments.find((await installation.top_up(ada)).json()["top_up_id"])
    body = event_for(succeeded(payment, metadata=metadata), **fields)
    await installation.post_event(body, signed(body))
    await installation.all_events_handled()
    (row,) = installation.rows("SELECT id FROM inbox_events WHERE state = 'parked'")
    return str(row["id"])


async def test_users_see_nothing_and_analysts_only_look(installation: Installation, visit: Visit) -> None:
    ada, top_up_id = await in_review(installation)
    event_id = await stuck(installation, id="evt_stuck")
    analyst = await installation.person(Role.ANALYST, "analyst@example.com")
    read = ("/admin/top-ups?state=review", "/admin/events?state=stuck", f"/admin/explain/{top_up_id}")
    decide = {
        f"/admin/top-ups/{top_up_id}/resolve": {"action": "credit", "reason": "x"},
        f"/admin/events/{event_id}/replay": None,
    }

    for person, reads in ((ada, 403), (analyst, 200)):
        for path in read:
            assert (await installation.client.get(f"/api/v1{path}", headers=person.headers)).status_code == reads
        for path, body in decide.items():
            answer = await installation.client.post(f"/api/v1{path}", json=body, headers=person.headers)
            assert answer.status_code == 403
        visitor = await visit(person)
        for path in ("/admin/payments", f"/admin/explain/{top_up_id}", "/admin/explain/evt_stuck"):
            assert (await visitor.get(path)).status_code == reads
        for path, body in decide.items():
            page_path = path.replace("/admin/", "/admin/payments/")
            assert (await visitor.post(page_path, **(body or {}))).status_code == 403

    page = (await visitor.get("/admin/payments")).text
    assert "Only an owner can decide." in page and 'method="post"' not in page.split("</header>")[1]
    assert await installation.balance(ada) == "0"
    assert not installation.rows("SELECT FROM audit_log WHERE action IN ('top_up.resolved', 'event.replayed')")


async def test_an_owner_decides_on_the_page(installation: Installation, visit: Visit) -> None:
    ada, top_up_id = await in_review(installation)
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    path = f"/admin/payments/top-ups/{top_up_id}/resolve"

    page = (await owner.get("/admin/payments")).text
    assert "received less" in page and f'href="/admin/explain/{top_up_id}"' in page
    for fields in (
        {"action": "credit", "reason": ""},
        {"action": "", "reason": "x"},
        {"action": "gift", "reason": "x"},
    ):
        refused = await owner.post(path, **fields)
        assert refused.status_code == 422 and 'role="alert"' in refused.text
    decided = await owner.post(path, action="credit-received", reason="A fee")
    again = await owner.post(path, action="credit-received", reason="A fee")
    other = await owner.post(path, action="credit", reason="A fee")

    assert "The top-up is credited now." in decided.text and "Nothing to decide." in decided.text
    assert "The top-up is credited already, by the same decision." in again.text
    assert other.status_code == 409 and "This top-up is not in review" in other.text
    assert await installation.balance(ada) == "166.67"
    (audited,) = installation.rows("SELECT actor, details FROM audit_log WHERE action = 'top_up.resolved'")
    assert audited["actor"] == owner.person.id and audited["details"]["reason"] == "A fee"
    why = (await owner.get(f"/admin/explain/{top_up_id}")).text
    assert "because an operator decided so" in why and "A fee" in why


async def test_an_owner_replays_and_what_stripe_wrote_stays_text(installation: Installation, visit: Visit) -> None:
    """T-214."""
    event_id = await stuck(installation, id=f"evt_{HOSTILE}")
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))

    for path in ("/admin/payments", f"/admin/explain/{event_id}"):
        page = (await owner.get(path)).text
        assert HOSTILE not in page and "evt_&lt;script&gt;" in page
    replayed = await owner.post(f"/admin/payments/events/{event_id}/replay")

    assert "The event was parked; the worker handles it now." in replayed.text
    await installation.all_events_handled()
    (audited,) = installation.rows("SELECT actor FROM audit_log WHERE action = 'event.replayed'")
    assert audited["actor"] == owner.person.id
    missing = await owner.get("/admin/explain/nothing")
    assert missing.status_code == 404 and "Nothing has this id" in missing.text


async def test_two_owners_at_once_come_to_one_outcome(installation: Installation) -> None:
    ada, top_up_id = await in_review(installation)
    owner = await installation.person(Role.OWNER, "owner@example.com")

    async def decide(action: str) -> int:
        answer = await installation.client.post(
            f"/api/v1/admin/top-ups/{top_up_id}/resolve",
            json={"action": action, "reason": "x"},
            headers=owner.headers,
        )
        return answer.status_code

    statuses = await asyncio.gather(*(decide(action) for action in ("credit", "credit-received") * 3))

    assert sorted(statuses) == [200, 200, 200, 409, 409, 409]
    assert await installation.balance(ada) in ("333.33", "166.67")
    assert len(installation.rows("SELECT FROM audit_log WHERE action = 'top_up.resolved'")) == 1


async def test_nothing_to_decide_is_said_kindly(installation: Installation, visit: Visit) -> None:
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    page = (await owner.get("/admin/payments")).text
    assert "Nothing to decide." in page and "Nothing is stuck." in page
    assert 'href="/admin/payments"' in (await owner.get("/admin")).text


async def test_an_owner_retries_other_work_that_was_given_up(installation: Installation, visit: Visit) -> None:
    (job,) = installation.rows(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('default', 'close_days', 'failed')"
        " RETURNING id"
    )
    owner = await visit(await installation.person(Role.OWNER, "owner@example.com"))
    assert "Other work that was given up" in (await owner.get("/admin/payments")).text

    page = await owner.post(f"/admin/payments/jobs/{job['id']}/retry")

    assert (page.status_code, "The worker does this job now." in page.text) == (200, True)
    assert (await owner.post(f"/admin/payments/jobs/{10**17}/retry")).status_code == 404


async def test_every_top_up_event_grant_and_transfer_can_be_asked_why(installation: Installation, visit: Visit) -> None:
    ada, runtime = await installation.person(), installation.runtime
    top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
    installation.sandbox.play(top_up_id, "pay")
    await installation.becomes(ada, top_up_id, "credited")
    (bought,) = installation.rows("SELECT id FROM grants")
    await grant_credits(runtime.database, TEST, user_id=ada.id, amount="5", note="For the report")
    await adjust_credits(runtime.database, TEST, user_id=ada.id, amount="-1", note="A mistake")
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    call = await runtime.meter.start(Spender(user_id=ada.id), body)
    assert [chunk async for chunk in call.chunks()]
    await call.ended.wait()
    async with runtime.database.transaction() as tx:
        await post.reverse_to_target(tx, grant_id=bought["id"], target=10**9)
    analyst = await visit(await installation.person(Role.ANALYST, "analyst@example.com"))

    told: dict[str, str] = {}
    for table in ("top_ups", "inbox_events", "grants", "transfers", "holds"):
        rows = installation.rows(f"SELECT id FROM {table}")
        assert rows
        for row in rows:
            answer = await installation.client.get(f"/api/v1/admin/explain/{row['id']}", headers=analyst.person.headers)
            assert answer.status_code == 200 and answer.json()["sections"][0]["rows"]
            page = await analyst.get("/admin/explain", params={"name": f" {row['id']} "})
            assert answer.json()["conclusion"] in unescape(page.text)
            told[str(row["id"])] = answer.json()["conclusion"]

    transfers = {row["kind"]: str(row["id"]) for row in installation.rows("SELECT id, kind FROM transfers")}
    assert told[transfers["hold_captured"]].endswith(
        f"from held to consumed, because of a call of demo, with receipt {call.call.id}. Work used credits of a hold."
    )
    for kind, note in {"admin_grant": "For the report", "adjustment": "A mistake"}.items():
        assert note in (await analyst.get(f"/admin/explain/{transfers[kind]}")).text
    page = (await analyst.get(f"/admin/users/{ada.id}")).text
    assert all(f'href="/admin/explain/{transfers[kind]}"' in page for kind in ("top_up_grant", "hold_captured"))
