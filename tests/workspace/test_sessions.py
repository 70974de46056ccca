"""Sessions: conversations in a room or with one agent, and what was said in them."""

from typing import Any
from uuid import uuid4

import pytest

from tests.workspace.conftest import SHARED, Desk

pytestmark = SHARED


async def _place(desk: Desk, kind: str) -> tuple[str, Any]:
    place = await (desk.room() if kind == "room" else desk.agent(f"a{uuid4().hex[:8]}"))
    return f"/{kind}s/{place['id']}", place


@pytest.mark.parametrize("kind", ["room", "agent"])
async def test_a_session_is_held_in_a_room_or_with_an_agent(ada: Desk, kind: str) -> None:
    path, place = await _place(ada, kind)
    other, _ = await _place(ada, kind)

    first, second = [await ada.make(f"{path}/sessions") for _ in range(2)]

    assert first[f"{kind}_id"] == place["id"]
    assert [first["room_id"], first["agent_id"]].count(None) == 1
    assert await ada.get(f"/sessions/{first['id']}") == first
    assert await ada.get(f"{path}/sessions") == {"sessions": [second, first], "total": 2}
    assert await ada.get(f"{path}/sessions?limit=1&offset=1") == {"sessions": [first], "total": 2}
    assert await ada.get(f"{other}/sessions") == {"sessions": [], "total": 0}


@pytest.mark.parametrize("kind", ["room", "agent"])
async def test_a_deleted_session_is_gone_and_leaves_the_others(ada: Desk, kind: str) -> None:
    path, _ = await _place(ada, kind)
    other, _ = await _place(ada, kind)
    first, second = [await ada.make(f"{path}/sessions") for _ in range(2)]
    gone = (404, "Session not found.")

    # From elsewhere it cannot be deleted.
    assert await ada.refusal("DELETE", f"{other}/sessions/{first['id']}") == gone
    await ada.delete(f"{path}/sessions/{first['id']}")

    assert await ada.refusal("DELETE", f"{path}/sessions/{first['id']}") == gone
    for ending in ("", "/turns", "/messages"):
        assert await ada.refusal("GET", f"/sessions/{first['id']}{ending}") == gone
    assert await ada.get(f"{path}/sessions") == {"sessions": [second], "total": 1}


@pytest.mark.parametrize("kind", ["room", "agent"])
async def test_a_session_goes_with_its_place(ada: Desk, kind: str) -> None:
    path, _ = await _place(ada, kind)
    session = await ada.make(f"{path}/sessions")

    await ada.delete(path)

    for method in ("GET", "POST"):
        assert await ada.refusal(method, f"{path}/sessions") == (404, f"{kind.title()} not found.")
    for ending in ("", "/turns", "/messages"):
        assert await ada.refusal("GET", f"/sessions/{session['id']}{ending}") == (404, "Session not found.")


TURN = """
    INSERT INTO turns (id, session_id, turn_index, mode, roster, user_input, status, created_at, ended_at)
    VALUES (gen_random_uuid(), %s, %s, 'manual', '[]', %s, 'completed', now(), now()) RETURNING id
"""
MESSAGE = """
    INSERT INTO messages (id, session_id, turn_id, position, role, agent_name, content, state, created_at)
    VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, 'completed', now() - interval '1 hour')
"""


async def test_what_was_said_is_shown_oldest_first(ada: Desk) -> None:
    session = await ada.make(f"/rooms/{(await ada.room())['id']}/sessions")
    path = f"/sessions/{session['id']}"
    assert await ada.get(f"{path}/turns") == {"turns": [], "total": 0}
    assert await ada.get(f"{path}/messages") == {"messages": [], "total": 0}

    # Written in another order than they were said in.
    for index, text in ((1, "Sure?"), (0, "Really?")):
        [turn] = ada.it.rows(TURN, session["id"], index, text)
        ada.it.execute(MESSAGE, session["id"], turn["id"], 1, "assistant", "Writer", "Yes.")
        ada.it.execute(MESSAGE, session["id"], turn["id"], 0, "user", None, text)

    turns = await ada.get(f"{path}/turns")
    assert [(turn["turn_index"], turn["user_input"], turn["status"]) for turn in turns["turns"]] == [
        (0, "Really?", "completed"),
        (1, "Sure?", "completed"),
    ]
    messages = await ada.get(f"{path}/messages")
    assert [message["content"] for message in messages["messages"]] == ["Really?", "Yes.", "Sure?", "Yes."]
    assert [message["agent_name"] for message in messages["messages"][:2]] == [None, "Writer"]
    second_page = await ada.get(f"{path}/messages?limit=1&offset=2")
    assert (second_page["messages"], second_page["total"]) == ([messages["messages"][2]], 4)
