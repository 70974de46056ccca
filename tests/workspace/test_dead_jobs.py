"""Work that was given up, wherever it was done: operators see it, owners let it be done once more."""

from typing import Any
from uuid import uuid4

import pytest

from pantheon.db.jobs import PURGE
from pantheon.users.rights import Role
from tests.installation import Installation
from tests.workspace.conftest import SHARED, Desk
from tests.workspace.test_leaving import TURN
from tests.workspace.test_parsing import parse

pytestmark = SHARED

EVENT = """
    INSERT INTO inbox_events (id, event_id, type, livemode, body, body_hash, verified, secret_index, received_at,
                              next_attempt_at, state, outcome, handled_at)
    VALUES (%s, %s, 'payment_intent.succeeded', false, '{}', '', true, 0, now(), now(), %s, 'top_up_unknown', now())
"""
JOB = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, status, attempts)
    VALUES ('default', %s, %s, %s, 1) RETURNING id
"""


async def new_owner(it: Installation) -> Desk:
    return Desk(it, await it.person(Role.OWNER, email=f"{uuid4().hex}@example.com"))


async def retry(owner: Desk, job_id: object) -> Any:
    answer = await owner.call("POST", f"/admin/jobs/{job_id}/retry")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(owner: Desk, **filters: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in {"limit": "200", **filters}.items())
    return {job["id"]: job for job in (await owner.get(f"/admin/jobs?{query}"))["jobs"]}


def audited(it: Installation, subject: str) -> list[str]:
    return [row["action"] for row in it.rows("SELECT action FROM audit_log WHERE subject = %s", subject)]


async def test_a_file_that_was_given_up_is_read_once_more(ada: Desk) -> None:
    owner = await new_owner(ada.it)
    file = await ada.file(await ada.room())
    ada.it.execute(
        "UPDATE files SET parse_status = 'failed', error_message = 'Tried 3 times.', parse_attempts = 3 WHERE id = %s",
        file["id"],
    )

    shown = (await listed(owner, kind="file"))[file["id"]]
    assert (shown["kind"], shown["what"], shown["reason"], shown["attempts"]) == ("file", "txt", "Tried 3 times.", 3)
    assert await retry(owner, file["id"]) == {"kind": "file", "retried": True}

    assert file["id"] not in await listed(owner)
    assert (await parse(ada, file))["parse_status"] == "parsed"
    assert await retry(owner, file["id"]) == {"kind": "file", "retried": False}
    assert audited(ada.it, f"file:{file['id']}") == ["job.retried"]


async def test_a_file_that_cannot_be_read_is_nothing_for_operators(ada: Desk) -> None:
    owner = await new_owner(ada.it)
    file = await ada.file(await ada.room())
    ada.it.execute(
        "UPDATE files SET parse_status = 'failed', error_message = 'x', parse_attempts = 1 WHERE id = %s", file["id"]
    )

    assert file["id"] not in await listed(owner)
    assert await retry(owner, file["id"]) == {"kind": "file", "retried": False}


async def test_an_event_that_was_given_up_is_handled_once_more(it: Installation) -> None:
    owner, dead, done = await new_owner(it), uuid4(), uuid4()
    it.execute(EVENT, dead, f"evt_{dead.hex}", "dead")
    it.execute(EVENT, done, f"evt_{done.hex}", "done")

    shown = await listed(owner, kind="event")
    assert (shown[str(dead)]["reason"], str(done) in shown) == ("top_up_unknown", False)
    assert await retry(owner, dead) == {"kind": "event", "retried": True}
    assert await retry(owner, done) == {"kind": "event", "retried": False}

    assert it.rows("SELECT state FROM inbox_events WHERE id = %s", dead) == [{"state": "received"}]
    assert audited(it, f"event:{dead}") == ["event.replayed"]


async def test_a_job_of_the_queue_is_done_once_more(it: Installation) -> None:
    owner, lock = await new_owner(it), uuid4().hex
    [first], [second] = it.rows(JOB, PURGE, lock, "failed"), it.rows(JOB, PURGE, lock, "failed")
    assert (await listed(owner, kind="job"))[str(first["id"])]["what"] == PURGE

    assert await retry(owner, first["id"]) == {"kind": "job", "retried": True}
    # The first one waits for the same, and does the work of both.
    assert await retry(owner, second["id"]) == {"kind": "job", "retried": True}
    assert await retry(owner, first["id"]) == {"kind": "job", "retried": False}

    left = it.rows("SELECT id, status, attempts FROM procrastinate_jobs WHERE queueing_lock = %s", lock)
    assert left == [{"id": first["id"], "status": "todo", "attempts": 2}]
    assert audited(it, f"job:{first['id']}") == ["job.retried"]


async def test_an_interrupted_turn_is_shown_and_left_to_its_user(ada: Desk) -> None:
    owner = await new_owner(ada.it)
    agent = await ada.agent()
    session, turn = await ada.make(f"/agents/{agent['id']}/sessions"), uuid4()
    ada.it.execute(TURN, turn, session["id"], "Secret", None, "completed", "completed")
    ada.it.execute("UPDATE turns SET status = 'failed', error_code = 'turn_interrupted' WHERE id = %s", turn)

    shown = (await listed(owner, kind="turn"))[str(turn)]
    assert (shown["what"], shown["reason"]) == ("direct", "turn_interrupted")
    assert "Secret" not in str(shown)
    assert (await owner.refusal("POST", f"/admin/jobs/{turn}/retry"))[0] == 409
    ada.it.execute("UPDATE turns SET ended_at = now() - interval '8 days' WHERE id = %s", turn)
    assert str(turn) not in await listed(owner)


@pytest.mark.parametrize("job_id", ["999999999999999999", "9" * 40, "-1", "x", "00000000-0000-7000-8000-000000000000"])
async def test_what_is_not_there_is_not_found(it: Installation, job_id: str) -> None:
    assert (await (await new_owner(it)).refusal("POST", f"/admin/jobs/{job_id}/retry")) == (404, "Job not found.")


async def test_analysts_look_and_only_owners_retry(ada: Desk) -> None:
    analyst = Desk(ada.it, await ada.it.person(Role.ANALYST, email=f"{uuid4().hex}@example.com"))

    assert (await ada.call("GET", "/admin/jobs")).status_code == 403
    assert (await analyst.call("GET", "/admin/jobs")).status_code == 200
    assert (await analyst.call("POST", "/admin/jobs/1/retry")).status_code == 403


async def test_pages_of_it_add_up(it: Installation) -> None:
    owner = await new_owner(it)
    for _ in range(3):
        event = uuid4()
        it.execute(EVENT, event, f"evt_{event.hex}", "parked")

    total = (await owner.get("/admin/jobs"))["total"]
    pages = [(await owner.get(f"/admin/jobs?limit=2&offset={offset}"))["jobs"] for offset in range(0, total, 2)]

    shown = [job for page in pages for job in page]
    assert len({job["id"] for job in shown}) == len(shown) == total >= 3
    assert [job["since"] for job in shown] == sorted((job["since"] for job in shown), reverse=True)
