"""Somebody takes along what is theirs, and leaves: nothing says any more who it was, and the books are right."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table

from pantheon.db.engine import Database
from pantheon.db.tables import metadata
from pantheon.errors import NotFoundError
from pantheon.ids import uuid7
from pantheon.ledger.verify import verify
from pantheon.money.rate_card import Usage
from pantheon.users.erase_user import erase_user
from pantheon.users.passwords import hash_password
from pantheon.wallets.grant_credits import grant_credits
from pantheon.workspace.account_rows import kinds
from pantheon.workspace.purge import purge
from tests.installation import TEST, eventually
from tests.turns.used import fund, use
from tests.workspace.conftest import SHARED, Desk
from tests.workspace.test_parsing import parse

pytestmark = SHARED

PASSWORD = "correct horse battery"
TURN = """
    INSERT INTO turns (id, session_id, turn_index, mode, roster, user_input, assistant_output, status, created_at,
                       ended_at)
    VALUES (%s, %s, 0, 'direct', '[]', %s, %s, %s, now(), CASE WHEN %s = 'completed' THEN now() END)
"""
MESSAGE = """
    INSERT INTO messages (id, session_id, turn_id, position, role, content, state, created_at)
    VALUES (%s, %s, %s, 0, 'user', %s, 'completed', now())
"""


async def live(desk: Desk, word: str, *, turn: str = "completed") -> dict[str, Any]:
    """Leaves the word wherever a person can write something."""
    it = desk.it
    room, agent = await desk.room(name=word, goal=word), await desk.agent(name=word, role_prompt=word)
    await desk.make(f"/rooms/{room['id']}/agents", agent_id=agent["id"])
    session = await desk.make(f"/rooms/{room['id']}/sessions")
    turn_id = uuid7()
    it.execute(TURN, turn_id, session["id"], word, word, turn, turn)
    it.execute(MESSAGE, uuid7(), session["id"], turn_id, word)
    it.execute("INSERT INTO turn_events VALUES (%s, 1, 'step_delta', %s, now())", turn_id, json.dumps({"text": word}))
    it.execute("INSERT INTO chat_summaries VALUES (%s, 0, %s, now())", session["id"], word)
    file = await desk.file(room, f"{word}.txt", word.encode())
    await parse(desk, file)
    key = await desk.make("/users/me/api-keys", name=word, scopes=["workspace"])
    it.execute("UPDATE sessions SET user_agent = %s WHERE user_id = %s", word, desk.person.id)
    it.execute("INSERT INTO identities VALUES ('https://issuer', %s, %s, now())", word, desk.person.id)
    it.execute(
        "INSERT INTO stripe_customers (user_id, livemode, customer_id) VALUES (%s, false, %s)", desk.person.id, word
    )
    limit = {"scope": "room", "scope_id": room["id"], "period": "day", "amount": "5"}
    assert (await desk.call("PUT", "/users/me/limits", json=limit)).status_code == 200
    await grant_credits(it.runtime.database, TEST, user_id=desk.person.id, amount="1", note=word)
    receipt = await use(it, desk.person, Usage(input=100, output=10))
    return {"room": room, "agent": agent, "session": session, "file": file, "key": key, "receipt": receipt}


def traces(desk: Desk, *words: str) -> list[str]:
    """The tables in which a word stands somewhere, and the stored objects."""
    tables = [row["tablename"] for row in desk.it.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    patterns = [f"%{word}%" for word in words]
    look = " UNION ALL ".join(
        f"SELECT '{table}' AS name WHERE EXISTS (SELECT FROM {table} t WHERE t::text ILIKE ANY (%s))"
        for table in tables
    )
    found = [row["name"] for row in desk.it.rows(look, *[patterns] * len(tables))]
    stored = [path for path in Path(desk.it.runtime.settings.storage_url or "").rglob("*") if path.is_file()]
    return found + [path.name for path in stored if any(word.encode() in path.read_bytes() for word in words)]


async def work(desk: Desk) -> None:
    """What the worker does, who is woken by the erasure."""
    await purge(desk.it.runtime.database, desk.it.runtime.storage)


async def books_are_right(database: Database) -> None:
    async with database.transaction() as tx:
        assert await verify(tx) == []


def events_about(desk: Desk, action: str) -> list[dict[str, Any]]:
    subject = f"user:{desk.person.id}"
    return desk.it.rows("SELECT * FROM audit_log WHERE action = %s AND subject = %s", action, subject)


async def leave(desk: Desk, **body: Any) -> Any:
    return await desk.call("DELETE", "/users/me", json=body)


async def test_who_is_erased_leaves_no_trace_but_in_the_books(ada: Desk, bob: Desk) -> None:
    word, others = f"lighthouse{uuid7().hex}", f"harbour{uuid7().hex}"
    made = await live(ada, word)
    await live(bob, others)
    before = {table: ada.it.rows(f"SELECT * FROM {table} ORDER BY 1") for table in ("transfers", "receipts", "grants")}
    his_traces = traces(bob, others)
    assert set(traces(ada, word)) >= {"agents", "rooms", "turns", "messages", "files", "identities", "transfer_notes"}
    assert len(his_traces) >= 13

    answer = await leave(ada, forfeit=True)

    assert answer.status_code == 202, answer.text
    # The account is closed before the worker comes: nothing lets anybody in.
    assert (await ada.call("GET", "/auth/me")).status_code == 401
    by_key = {"Authorization": f"Bearer {made['key']['key']}"}
    assert (await ada.it.client.get("/api/v1/rooms", headers=by_key)).status_code == 401
    assert len(ada.it.rows("SELECT FROM procrastinate_jobs WHERE queueing_lock = 'purge' AND status = 'todo'")) == 1
    await work(ada)
    assert traces(ada, word, ada.person.email) == []
    assert sorted(traces(bob, others)) == sorted(his_traces)

    [user] = ada.it.rows("SELECT email, password_hash, role, state FROM users WHERE id = %s", ada.person.id)
    assert user == {"email": None, "password_hash": None, "role": "user", "state": "deleted"}
    [wallet] = ada.it.rows("SELECT available, held, state FROM wallets WHERE user_id = %s", ada.person.id)
    assert wallet == {"available": 0, "held": 0, "state": "closed"}
    await books_are_right(ada.it.runtime.database)
    # What was booked stays, and what was forfeited is booked as well.
    for table, rows in before.items():
        after = ada.it.rows(f"SELECT * FROM {table} ORDER BY 1")
        assert {row["id"] for row in rows} <= {row["id"] for row in after}
    [audited] = events_about(ada, "user.erased")
    assert audited["ip"] is None and audited["details"] == {"forfeited": answer.json()["forfeited"]}
    assert float(audited["details"]["forfeited"]) > 0


async def test_credits_that_are_left_are_only_given_up_by_who_says_so(ada: Desk) -> None:
    await fund(ada.it, ada.person, 3)

    status, detail = await ada.refusal("DELETE", "/users/me", json={})

    assert (status, detail[:20]) == (409, "3 credits are left. ")
    assert (await ada.get("/users/me/wallet"))["balance"] == "3"
    assert events_about(ada, "user.erased") == []
    assert (await leave(ada, forfeit=True)).json() == {"forfeited": "3"}


@pytest.mark.parametrize("left", ["turn", "hold", "top-up", "event"])
async def test_nobody_is_erased_while_something_is_under_way(ada: Desk, left: str) -> None:
    if left == "turn":
        await live(ada, "running", turn="running")
        ada.it.execute("UPDATE turns SET leased_until = now() + interval '1 hour' WHERE status = 'running'")
    elif left == "hold":
        await fund(ada.it, ada.person, 1)
        wallet = "SELECT id FROM wallets WHERE user_id = %s"
        hold = f"SELECT ledger_place_hold(({wallet}), gen_random_uuid(), 5, now() + interval '1 hour')"
        ada.it.execute(hold, ada.person.id)
    else:
        top_up = (await ada.it.top_up(ada.person)).json()["top_up_id"]
        if left == "event":
            await ada.call("POST", f"/users/me/wallet/top-ups/{top_up}/cancel")
            ada.it.execute(
                "INSERT INTO inbox_events (id, event_id, type, livemode, body, body_hash, verified, secret_index,"
                " received_at, next_attempt_at, top_up_id) VALUES (gen_random_uuid(), %s, 't', false, '', '', true, 0,"
                " now(), now() + interval '1 hour', %s)",
                f"evt_{uuid7().hex}",
                top_up,
            )

    status, detail = await ada.refusal("DELETE", "/users/me", json={"forfeit": True})

    assert status == 409
    assert detail.startswith("A payment" if left in ("top-up", "event") else "Something")
    assert (await ada.get("/auth/me"))["email"] == ada.person.email
    ada.it.execute("UPDATE turns SET status = 'stopped', ended_at = now() WHERE status = 'running'")


async def test_what_stripe_said_about_the_payer_is_dropped(ada: Desk) -> None:
    top_up = (await ada.it.top_up(ada.person)).json()["top_up_id"]
    await ada.call("POST", f"/users/me/wallet/top-ups/{top_up}/cancel")
    told = (
        "SELECT length(body) > 0 AS says_something FROM inbox_events WHERE top_up_id = %s AND type LIKE '%%.canceled'"
    )

    async def told_by_stripe() -> bool:
        return bool(ada.it.rows(told, top_up))

    await eventually(told_by_stripe)
    ada.it.execute(
        "UPDATE inbox_events SET state = 'done', outcome = 'x', handled_at = now()"
        " WHERE state = 'received' AND top_up_id = %s",
        top_up,
    )
    assert ada.it.rows(told, top_up) == [{"says_something": True}]

    assert (await leave(ada)).status_code == 202

    assert ada.it.rows(told, top_up) == [{"says_something": False}]


async def test_an_erasure_asks_for_the_password(ada: Desk) -> None:
    ada.it.execute("UPDATE users SET password_hash = %s WHERE id = %s", await hash_password(PASSWORD), ada.person.id)

    for wrong in ({}, {"current_password": "wrong horse battery"}):
        assert await ada.refusal("DELETE", "/users/me", json=wrong) == (422, "current_password is wrong")
    assert (await leave(ada, current_password=PASSWORD)).status_code == 202


async def test_who_has_no_password_signs_in_anew(ada: Desk) -> None:
    ada.it.execute("UPDATE sessions SET created_at = now() - interval '16 minutes' WHERE user_id = %s", ada.person.id)

    assert (await ada.refusal("DELETE", "/users/me", json={}))[0] == 409
    ada.it.execute("UPDATE sessions SET created_at = now() - interval '14 minutes' WHERE user_id = %s", ada.person.id)
    assert (await leave(ada)).status_code == 202


async def test_an_api_key_neither_exports_nor_erases(ada: Desk) -> None:
    key = (await ada.make("/users/me/api-keys", name="k", scopes=["workspace", "wallet:read"]))["key"]
    headers = {"Authorization": f"Bearer {key}"}

    for method, path in (("GET", "/users/me/export"), ("DELETE", "/users/me")):
        answer = await ada.it.client.request(method, f"/api/v1{path}", headers=headers, json={})
        assert answer.status_code == 403


async def test_an_erasure_is_made_once(ada: Desk) -> None:
    database = ada.it.runtime.database
    await fund(ada.it, ada.person, 2)

    first = await erase_user(database, user_id=ada.person.id, actor=TEST, forfeit=True)
    second = await erase_user(database, user_id=ada.person.id, actor=TEST, forfeit=True)

    assert (first, second) == (2 * 10**9, 0)
    assert len(events_about(ada, "user.erased")) == 1
    with pytest.raises(NotFoundError):
        await erase_user(database, user_id=uuid7(), actor=TEST)
    # Nobody can be given anything any more, but money that was paid would find the wallet.
    with pytest.raises(NotFoundError):
        await grant_credits(database, TEST, user_id=ada.person.id, amount="1", note="x")
    await fund(ada.it, ada.person, 1)
    await books_are_right(database)


async def test_what_is_still_on_its_way_at_the_erasure_goes_once_it_has_arrived(ada: Desk) -> None:
    """An upload, a text that is being read, and a room that a request of before has made meanwhile."""
    room = await ada.room()
    uploading, parsing = await ada.file(room, "a.txt"), await ada.file(room, "b.txt")
    ada.it.execute("UPDATE files SET stored_at = NULL WHERE id = %s", uploading["id"])
    ada.it.execute(
        "UPDATE files SET parse_status = 'parsing', parse_leased_until = now() + interval '3 minutes' WHERE id = %s",
        parsing["id"],
    )
    await leave(ada)
    late = uuid7()
    ada.it.execute(
        "INSERT INTO rooms (id, user_id, name, current_mode, created_at, updated_at)"
        " VALUES (%s, %s, 'Late', 'manual', now(), now())",
        late,
        ada.person.id,
    )

    await work(ada)

    theirs = "SELECT id FROM files WHERE user_id = %s ORDER BY id"
    assert [str(row["id"]) for row in ada.it.rows(theirs, ada.person.id)] == [uploading["id"], parsing["id"]]
    assert ada.it.rows("SELECT FROM rooms WHERE id = %s", late) == []
    ada.it.execute("UPDATE files SET parse_leased_until = now() WHERE id = %s", parsing["id"])
    ada.it.execute("UPDATE files SET created_at = now() - interval '16 minutes' WHERE id = %s", uploading["id"])
    await work(ada)
    assert ada.it.rows(theirs, ada.person.id) == []
    assert ada.it.rows("SELECT FROM rooms WHERE user_id = %s", ada.person.id) == []


def opened(content: bytes) -> tuple[zipfile.ZipFile, dict[str, list[Any]]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    names = [name for name in archive.namelist() if name.endswith(".jsonl")]
    return archive, {
        name.removesuffix(".jsonl"): [json.loads(line) for line in archive.read(name).splitlines()] for name in names
    }


async def test_an_export_holds_all_that_is_stored_about_oneself_and_nothing_of_others(ada: Desk, bob: Desk) -> None:
    word, others = f"lighthouse{uuid7().hex}", f"harbour{uuid7().hex}"
    made = await live(ada, word)
    await live(bob, others)
    await ada.it.top_up(ada.person)

    answer = await ada.call("GET", "/users/me/export")

    assert answer.headers["content-type"] == "application/zip"
    archive, told = opened(answer.content)
    assert {name for name, lines in told.items() if not lines} == {"missing_files"}
    assert told["profile"][0]["email"] == ada.person.email
    assert [told[kind][0]["id"] for kind in ("rooms", "agents", "sessions", "files")] == [
        made[kind]["id"] for kind in ("room", "agent", "session", "file")
    ]
    assert told["messages"][0]["content"] == told["summaries"][0]["content"] == word
    assert [move["amount"] for move in told["transactions"] if move["kind"] == "grant"] == ["1"]
    [receipt] = told["receipts"]
    assert receipt["id"] == str(made["receipt"])
    assert told["top_ups"][0]["amount"] == "10.00"
    assert [call["id"] for call in told["calls"]] == [receipt["id"]]
    assert (told["limits"][0]["scope_id"], told["limits"][0]["amount"]) == (made["room"]["id"], "5")
    assert [line["action"] for line in told["audit"]][:1] == ["user.created"]
    assert told["audit"][-1]["action"] == "account.exported"
    assert archive.read(f"files/{made['file']['id']}.txt") == word.encode()
    assert archive.read(f"files/{made['file']['id']}.text.txt") == word.encode()
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert others.encode() not in everything
    assert b"hash" not in everything and b"provider_cost" not in everything


async def test_an_export_knows_every_table_that_is_about_somebody() -> None:
    """A new one is either given to them or has a reason here."""
    about = {table.name for table in metadata.tables.values() if {"user_id", "wallet_id"} & set(table.c.keys())}
    given = {
        table.name for kind in kinds(uuid7()) for table in kind.query.columns_clause_froms if isinstance(table, Table)
    }

    assert about - given == {
        "idempotency_keys",  # answers that the rest of the archive says as well
        "one_time_links",  # proofs of who somebody is
        "wallets", "grants", "holds", "usage_days",  # what follows from the transactions and receipts
    }  # fmt: skip


async def test_an_export_goes_on_after_each_page(ada: Desk) -> None:
    """More than a page of messages in more sessions than are read at once, and none twice."""
    room = await ada.room()
    ada.it.execute(
        "INSERT INTO chat_sessions (id, user_id, room_id, created_at)"
        " SELECT gen_random_uuid(), %s, %s, now() FROM generate_series(1, 120)",
        ada.person.id,
        room["id"],
    )
    ada.it.execute(
        "INSERT INTO turns (id, session_id, turn_index, mode, roster, user_input, status, created_at, ended_at)"
        " SELECT gen_random_uuid(), id, n, 'manual', '[]', n::text, 'completed', now(), now()"
        " FROM chat_sessions, generate_series(1, 6) n WHERE room_id = %s",
        room["id"],
    )

    _, told = opened((await ada.call("GET", "/users/me/export")).content)

    turns = {turn["id"] for turn in told["turns"]}
    assert len(turns) == len(told["turns"]) == 720
    assert len({session["id"] for session in told["sessions"]}) == 120


async def test_a_file_that_the_storage_lost_is_named(ada: Desk) -> None:
    file = await ada.file(await ada.room())
    assert ada.it.runtime.storage is not None
    await ada.it.runtime.storage.delete(f"files/{file['id']}")

    _, told = opened((await ada.call("GET", "/users/me/export")).content)

    assert told["missing_files"] == [{"name": f"files/{file['id']}.txt"}]


async def test_exports_are_counted_and_audited(ada: Desk) -> None:
    answers = [await ada.call("GET", "/users/me/export") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert len(events_about(ada, "account.exported")) == 3
    assert UUID(str(events_about(ada, "account.exported")[0]["actor"])) == ada.person.id
