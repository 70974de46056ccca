"""Rooms, their modes, and who takes part in them in which order."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.workspace.conftest import SHARED, Desk

pytestmark = SHARED


async def test_a_room_is_what_was_asked_for(ada: Desk) -> None:
    plain = await ada.room()
    full = await ada.room(name="Plan", goal="Ship it.\nSoon.", current_mode="manual")

    assert (plain["goal"], plain["current_mode"], plain["pending_mode"]) == (None, "orchestrator", None)
    assert (full["name"], full["goal"], full["current_mode"]) == ("Plan", "Ship it.\nSoon.", "manual")
    assert full["owner_user_id"] == str(ada.person.id)
    assert await ada.get(f"/rooms/{full['id']}") == full
    assert await ada.get("/rooms?limit=1") == {"rooms": [full], "total": 2}


async def test_a_mode_waits_for_the_next_send_and_the_present_one_takes_it_back(ada: Desk) -> None:
    path = f"/rooms/{(await ada.room())['id']}"

    changed = await ada.change(f"{path}/mode", mode="manual")
    assert (changed["current_mode"], changed["pending_mode"]) == ("orchestrator", "manual")
    assert await ada.get(path) == changed

    back = await ada.change(f"{path}/mode", mode="orchestrator")
    assert (back["current_mode"], back["pending_mode"]) == ("orchestrator", None)


async def test_name_and_goal_change_apart(ada: Desk) -> None:
    made = await ada.room(goal="Ship it.")
    path = f"/rooms/{made['id']}"

    renamed = await ada.change(path, name="Plan")
    assert (renamed["name"], renamed["goal"]) == ("Plan", "Ship it.")
    aimless = await ada.change(path, goal=None)
    assert (aimless["name"], aimless["goal"]) == ("Plan", None)
    assert aimless["updated_at"] > made["updated_at"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a" * 201},
        {"name": None},
        {"goal": "a" * 10_001},
        {"goal": "\0"},
        {"current_mode": "anarchy"},
        {"pending_mode": "manual"},
    ],
)
async def test_what_no_room_can_be_is_refused(ada: Desk, wrong: dict[str, Any]) -> None:
    made = await ada.room()

    assert (await ada.refusal("POST", "/rooms", json={"name": "Plan"} | wrong))[0] == 422
    assert (await ada.refusal("PATCH", f"/rooms/{made['id']}", json=wrong))[0] == 422
    assert (await ada.refusal("PATCH", f"/rooms/{made['id']}/mode", json={"mode": "anarchy"}))[0] == 422


async def test_a_deleted_room_and_all_in_it_are_invisible_at_once(ada: Desk) -> None:
    room, agent = await ada.room(), await ada.agent()
    await ada.make(f"/rooms/{room['id']}/agents", agent_id=agent["id"])

    await ada.delete(f"/rooms/{room['id']}")

    gone = (404, "Room not found.")
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/agents"), ("DELETE", f"/agents/{agent['id']}")]:
        assert await ada.refusal(method, f"/rooms/{room['id']}{path}") == gone
    assert await ada.get("/rooms") == {"rooms": [], "total": 0}
    await ada.get(f"/agents/{agent['id']}")


async def _order(desk: Desk, room: Any) -> list[tuple[str, int]]:
    listed = await desk.get(f"/rooms/{room['id']}/agents")
    assert listed["total"] == len(listed["agents"])
    return [(assigned["agent"]["agent_key"], assigned["position"]) for assigned in listed["agents"]]


async def _with_agents(desk: Desk, *keys: str) -> tuple[Any, dict[str, str]]:
    room = await desk.room()
    ids = {key: (await desk.agent(key))["id"] for key in keys}
    for key in keys:
        await desk.make(f"/rooms/{room['id']}/agents", agent_id=ids[key])
    return room, ids


async def test_an_agent_takes_part_once_and_after_those_before_it(ada: Desk) -> None:
    room, agents = await _with_agents(ada, "a", "b")
    path = f"/rooms/{room['id']}/agents"

    assert await _order(ada, room) == [("a", 0), ("b", 1)]
    again = await ada.refusal("POST", path, json={"agent_id": agents["a"], "position": 5})
    assert again == (409, "Agent already assigned to this room.")
    assert await ada.refusal("POST", path, json={"agent_id": str(uuid4())}) == (404, "Agent not found.")

    assigned = (await ada.get(path))["agents"][0]
    assert (assigned["room_id"], assigned["agent_id"]) == (room["id"], agents["a"])
    assert assigned["agent"] == await ada.get(f"/agents/{agents['a']}")


async def test_nobody_elses_agent_takes_part(ada: Desk, bob: Desk) -> None:
    room, theirs = await ada.room(), await bob.agent("theirs")

    refused = await ada.refusal("POST", f"/rooms/{room['id']}/agents", json={"agent_id": theirs["id"]})

    assert refused == (404, "Agent not found.")
    assert await _order(ada, room) == []


async def test_a_position_is_given_as_asked_and_whoever_has_it_moves_up(ada: Desk) -> None:
    room, _ = await _with_agents(ada, "a", "b")
    path = f"/rooms/{room['id']}/agents"

    first = await ada.make(path, agent_id=(await ada.agent("first"))["id"], position=0)
    far = await ada.make(path, agent_id=(await ada.agent("far"))["id"], position=9)
    last = await ada.make(path, agent_id=(await ada.agent("last"))["id"])

    assert (first["position"], far["position"], last["position"]) == (0, 9, 10)
    assert await _order(ada, room) == [("first", 0), ("a", 1), ("b", 2), ("far", 9), ("last", 10)]


@pytest.mark.parametrize(
    ("moved", "to", "order"),
    [("a", 2, "bcad"), ("d", 0, "dabc"), ("b", 1, "abcd"), ("c", 1, "acbd"), ("a", 7, "bcda")],
)
async def test_an_agent_moves_and_those_between_step_aside(ada: Desk, moved: str, to: int, order: str) -> None:
    room, agents = await _with_agents(ada, *"abcd")

    answer = await ada.change(f"/rooms/{room['id']}/agents/{agents[moved]}", position=to)

    assert answer["position"] == to
    assert "".join(key for key, _ in await _order(ada, room)) == order


async def test_moves_and_assignments_at_once_leave_everybody_a_place(ada: Desk) -> None:
    room, agents = await _with_agents(ada, *"abcd")
    path = f"/rooms/{room['id']}/agents"
    more = [(await ada.agent(key))["id"] for key in "efg"]

    await asyncio.gather(
        *(ada.change(f"{path}/{id}", position=position) for position, id in enumerate(reversed(agents.values()))),
        *(ada.make(path, agent_id=id, position=1) for id in more),
    )

    places = [position for _, position in await _order(ada, room)]
    assert len(set(places)) == len(places) == 7


async def test_an_agent_that_leaves_can_come_back(ada: Desk) -> None:
    room, agents = await _with_agents(ada, "a", "b")
    path = f"/rooms/{room['id']}/agents"

    await ada.delete(f"{path}/{agents['a']}")
    not_there = (404, "This agent is not in the room.")
    assert await ada.refusal("DELETE", f"{path}/{agents['a']}") == not_there
    assert await ada.refusal("PATCH", f"{path}/{agents['a']}", json={"position": 0}) == not_there
    await ada.make(path, agent_id=agents["a"])

    assert await _order(ada, room) == [("b", 1), ("a", 2)]


async def test_a_deleted_agent_is_in_no_room(ada: Desk) -> None:
    room, agents = await _with_agents(ada, "a", "b")

    await ada.delete(f"/agents/{agents['a']}")

    assert await _order(ada, room) == [("b", 1)]


@pytest.mark.parametrize("position", [-1, 1_000_001, 1.5, "1", True])
async def test_what_is_no_position_is_refused(ada: Desk, position: Any) -> None:
    room, agents = await _with_agents(ada, "a")
    path = f"/rooms/{room['id']}/agents"
    other = await ada.agent("b")

    assert (await ada.refusal("POST", path, json={"agent_id": other["id"], "position": position}))[0] == 422
    assert (await ada.refusal("PATCH", f"{path}/{agents['a']}", json={"position": position}))[0] == 422


async def test_nobody_has_rooms_without_a_number_not_even_deleted_ones(ada: Desk) -> None:
    many = (
        "INSERT INTO rooms (id, user_id, name, current_mode, created_at, updated_at, deleted_at)"
        " SELECT gen_random_uuid(), %s, 'Old', 'manual', now(), now(), %s::timestamptz FROM generate_series(1, 999)"
    )
    ada.it.execute(many, ada.person.id, None)
    await ada.room()
    status, detail = await ada.refusal("POST", "/rooms", json={"name": "One more"})
    assert (status, detail[:32]) == (409, "There are 1000 rooms already. De")

    ada.it.execute("UPDATE rooms SET deleted_at = now() WHERE user_id = %s", ada.person.id)
    ada.it.execute(many, ada.person.id, "now")
    await ada.room()
    status, detail = await ada.refusal("POST", "/rooms", json={"name": "One more"})
    assert (status, detail[:27]) == (409, "Too many rooms were deleted")
