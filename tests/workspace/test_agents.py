"""Agents: made, changed in versions, deleted."""

import asyncio
from typing import Any

import pytest

from tests.workspace.conftest import SHARED, Desk

pytestmark = SHARED


async def test_an_agent_is_what_was_asked_for(ada: Desk) -> None:
    made = await ada.agent(
        "lead_writer-2", name=" Ada's writer ", role_prompt="# Role\n\tWrite 👩‍👩‍👧 well.", tool_permissions=["search"]
    )

    assert made == await ada.get(f"/agents/{made['id']}")
    assert made["owner_user_id"] == str(ada.person.id)
    assert (made["agent_key"], made["name"], made["model_alias"]) == ("lead_writer-2", "Ada's writer", "demo")
    assert (made["role_prompt"], made["tool_permissions"]) == ("# Role\n\tWrite 👩‍👩‍👧 well.", ["search"])
    assert made["version"] == 1
    assert made["created_at"] == made["updated_at"]


async def test_each_change_makes_a_version_and_leaves_the_rest(ada: Desk) -> None:
    made = await ada.agent(role_prompt="Write.")
    path = f"/agents/{made['id']}"

    renamed = await ada.change(path, name="Scribe")
    armed = await ada.change(path, tool_permissions=["file_read", "search", "search"], version=2)

    assert (renamed["name"], renamed["role_prompt"], renamed["version"]) == ("Scribe", "Write.", 2)
    assert armed["tool_permissions"] == ["file_read", "search"]
    assert armed["updated_at"] > made["updated_at"]
    assert armed["created_at"] == made["created_at"]
    stale = await ada.refusal("PATCH", path, json={"name": "Late", "version": 2})
    assert stale == (409, "This agent was changed meanwhile. Read it and try again.")
    assert await ada.get(path) == armed


async def test_changes_at_once_are_versions_one_after_the_other(ada: Desk) -> None:
    path = f"/agents/{(await ada.agent())['id']}"

    answers = await asyncio.gather(*(ada.change(path, name=f"Name {number}") for number in range(8)))

    assert sorted(answer["version"] for answer in answers) == list(range(2, 10))


async def test_a_key_belongs_to_one_living_agent_of_a_user(ada: Desk, bob: Desk) -> None:
    taken = (409, "Agent key already exists for this user.")
    first, second = await ada.agent("writer"), await ada.agent("critic")
    body = {"agent_key": "Writer", "name": "x", "model_alias": "demo"}

    # Tags are read without regard to case.
    assert await ada.refusal("POST", "/agents", json=body) == taken
    assert await ada.refusal("PATCH", f"/agents/{second['id']}", json={"agent_key": "writer"}) == taken
    await ada.change(f"/agents/{first['id']}", agent_key="WRITER")
    await bob.agent("writer")

    await ada.delete(f"/agents/{first['id']}")
    await ada.agent("writer")


async def test_of_many_agents_with_one_key_at_once_one_is_made(ada: Desk) -> None:
    body = {"agent_key": "writer", "name": "x", "model_alias": "demo"}

    answers = await asyncio.gather(*(ada.call("POST", "/agents", json=body) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


async def test_a_deleted_agent_is_gone(ada: Desk) -> None:
    made = await ada.agent()

    await ada.delete(f"/agents/{made['id']}")

    for method in ("GET", "DELETE"):
        assert await ada.refusal(method, f"/agents/{made['id']}") == (404, "Agent not found.")
    assert await ada.get("/agents") == {"agents": [], "total": 0}


async def test_the_list_is_ones_own_newest_first_and_in_pages(ada: Desk, bob: Desk) -> None:
    await bob.agent("theirs")
    made = [await ada.agent(key) for key in ("a", "b", "c")]

    assert await ada.get("/agents") == {"agents": made[::-1], "total": 3}
    assert await ada.get("/agents?limit=1&offset=1") == {"agents": [made[1]], "total": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_key": ""},
        {"agent_key": "a" * 65},
        {"agent_key": "two words"},
        {"agent_key": "émile"},
        {"agent_key": "writer\n"},
        {"agent_key": 7},
        {"name": ""},
        {"name": "  "},
        {"name": "a\nb"},
        {"name": "a" * 121},
        {"name": None},
        {"model_alias": "no-such-model"},
        {"model_alias": "a" * 65},
        {"role_prompt": "a\0b"},
        {"role_prompt": "a" * 50_001},
        {"tool_permissions": ["shell"]},
        {"tool_permissions": "search"},
        {"version": "x"},
        {"owner_user_id": "00000000-0000-0000-0000-000000000000"},
    ],
)
async def test_what_no_agent_can_be_is_refused(ada: Desk, wrong: dict[str, Any]) -> None:
    made = await ada.agent("first")
    body = {"agent_key": "second", "name": "Second", "model_alias": "demo"}

    assert (await ada.refusal("POST", "/agents", json=body | wrong))[0] == 422
    assert (await ada.refusal("PATCH", f"/agents/{made['id']}", json=wrong))[0] == 422
    assert await ada.get("/agents") == {"agents": [made], "total": 1}


async def test_a_change_of_nothing_is_refused(ada: Desk) -> None:
    made = await ada.agent()

    for body in ({}, {"version": 1}):
        refused = await ada.refusal("PATCH", f"/agents/{made['id']}", json=body)
        assert refused == (422, "give at least one field to change")
