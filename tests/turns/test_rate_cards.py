"""Versions over HTTP: read, previewed, published once, in force from when they say."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from pantheon.users.rights import Role
from tests.installation import Installation, Person
from tests.turns.price_lists import NAMES, listed, price_list

PATH = "/api/v1/admin/rate-cards"


async def get(installation: Installation, by: Person, path: str = "") -> Any:
    answer = await installation.client.get(PATH + path, headers=by.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(installation: Installation, by: Person, path: str = "", **fields: Any) -> httpx2.Response:
    body = {"based_on": 1, **({} if path else {"note": "New prices"}), **fields}
    return await installation.client.post(PATH + path, json=body, headers=by.headers)


async def models_of(installation: Installation, by: Person) -> list[dict[str, Any]]:
    """Of the first version, as they can be sent to publish another one."""
    found = (await get(installation, by, "/1"))["models"]
    return [{name: value for name, value in model.items() if name != "margin_percent"} for model in found]


def imported(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"document": price_list(*models), "margin": "30%", **more}


# 6.5 and 26 credits, where 70 and 200 were; what tool calls cost stays 0.
CHEAPER = imported(listed("openai/gpt-4o"), only=["gpt-4o"])
# 130 credits for the input, where 70 were.
DEARER = imported(listed("openai/gpt-4o", prompt="0.000003"), only=["gpt-4o"])


def from_now(**time: int) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


async def test_versions_are_read_and_previewed_by_analysts_and_published_by_owners(installation: Installation) -> None:
    user = await installation.person(Role.USER)
    analyst = await installation.person(Role.ANALYST, "analyst@example.com")

    for person, read, publish in ((user, 403, 403), (analyst, 200, 403)):
        for path in ("", "/1"):
            assert (await installation.client.get(PATH + path, headers=person.headers)).status_code == read
        assert (await post(installation, person, "/preview", **CHEAPER)).status_code == read
        assert (await post(installation, person, **CHEAPER)).status_code == publish
    for version in ("2", "0", str(2**40), "x"):
        missing = await installation.client.get(f"{PATH}/{version}", headers=analyst.headers)
        assert missing.status_code in (404, 422)

    cards = await get(installation, analyst)
    card = await get(installation, analyst, "/1")

    assert cards["total"] == 1
    assert cards["rate_cards"] == [card["version"]]
    assert (card["version"]["in_force"], card["version"]["model_count"]) == (True, 8)
    (gpt,) = [model for model in card["models"] if model["model_alias"] == "gpt-4o"]
    assert (gpt["multiplier"], gpt["prices"]["input_tokens"], gpt["prices"]["output_tokens"]) == ("2", "35", "100")
    assert gpt["costs"] is None and gpt["margin_percent"] is None

    preview = (await post(installation, analyst, "/preview", **DEARER)).json()

    (change,) = preview["changes"]
    assert (change["model_alias"], change["kind"]) == ("gpt-4o", "changed")
    assert change["prices"][0] == {
        "meter": "input_tokens",
        "old_price": "70",
        "new_price": "130",
        "change_percent": "85.7",
        "cost": "3.00",
        "margin_percent": "30",
    }
    assert preview["to_confirm"] == ["gpt-4o"]
    assert change["needs_confirmation"][0] == "input tokens +85.7 %"
    assert (await get(installation, analyst))["total"] == 1


async def test_a_steep_rise_or_a_price_of_zero_needs_the_name_of_its_model_and_nothing_else_does(
    installation: Installation,
) -> None:
    owner = await installation.person(Role.OWNER)
    free = imported(listed("openai/gpt-4o-mini", completion="0"), only=["gpt-4o-mini"])

    for body, alias in ((DEARER, "gpt-4o"), (free, "gpt-4o-mini")):
        for confirm in ([], ["demo"], [alias.upper()]):
            refused = await post(installation, owner, **body, confirm=confirm)
            assert refused.status_code == 409
            assert refused.json()["code"] == "prices_need_confirmation"
            assert [model["model_alias"] for model in refused.json()["models"]] == [alias]
            assert alias in refused.json()["detail"]
    assert (await get(installation, owner))["total"] == 1
    assert (await post(installation, owner, **DEARER, confirm=["gpt-4o"])).status_code == 201
    assert (await post(installation, owner, **free, based_on=2, confirm=["gpt-4o-mini"])).status_code == 201

    answer = await post(installation, owner, **CHEAPER, based_on=3)

    assert answer.status_code == 201
    assert answer.json()["version"]["version"] == 4
    (gpt,) = [model for model in answer.json()["models"] if model["model_alias"] == "gpt-4o"]
    assert (gpt["multiplier"], gpt["prices"]["input_tokens"], gpt["costs"]["input_tokens"]) == ("1", "6.5", "0.15")
    assert gpt["margin_percent"]["output_tokens"] == "30"
    assert len(answer.json()["models"]) == 8
    written = installation.rows("SELECT * FROM audit_log WHERE action = 'rate_card.published' ORDER BY seq")
    assert [(row["actor"], row["details"]["based_on"]) for row in written] == [
        (owner.id, 1),
        (owner.id, 2),
        (owner.id, 3),
    ]


async def test_of_many_who_publish_at_once_one_wins_and_the_others_are_told(installation: Installation) -> None:
    ada = await installation.person(Role.OWNER)
    eve = await installation.person(Role.OWNER, "eve@example.com")

    answers = await asyncio.gather(*(post(installation, who, **CHEAPER, note=who.email) for who in (ada, eve) * 3))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 5}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"rate_card_changed"}
    assert (await get(installation, ada))["total"] == 2


async def test_a_version_may_begin_later_and_others_may_come_before_it(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)
    tomorrow = from_now(days=1)

    later = await post(installation, owner, **CHEAPER, effective_at=tomorrow)
    # What is in force until then is still the first version, and that is what a version of today replaces.
    today = await post(installation, owner, **imported(listed("google/gemini-2.5-pro"), only=["gemini-pro"]))
    same_moment = await post(installation, owner, **DEARER, based_on=2, effective_at=tomorrow, confirm=["gpt-4o"])
    # The day after tomorrow the version of tomorrow is in force.
    unread = await post(installation, owner, **DEARER, based_on=3, effective_at=from_now(days=2), confirm=["gpt-4o"])
    after = await post(installation, owner, **DEARER, based_on=2, effective_at=from_now(days=2), confirm=["gpt-4o"])

    answers = (later, today, same_moment, unread, after)
    assert [answer.status_code for answer in answers] == [201, 201, 409, 409, 201]
    assert "very moment" in same_moment.json()["detail"]
    found = await get(installation, owner)
    periods = {card["version"]: (card["effective_at"], card["effective_until"]) for card in found["rate_cards"]}
    # Each ends where the next begins: the first, today's, tomorrow's, and that of the day after.
    assert [periods[older][1] for older in (1, 3, 2)] == [periods[newer][0] for newer in (3, 2, 4)]
    assert periods[4][1] is None
    assert [card["version"] for card in found["rate_cards"] if card["in_force"]] == [3]


UNPUBLISHABLE: list[dict[str, Any]] = [
    {},
    {"margin": "30"},
    {"margin": 30},
    {"margin": "30%", "document": {"data": [{"id": 5}]}},
    {"margin": "30%", "document": 1.5},
    {"margin": "30%", "models": []},
    {"models": []},
    {**CHEAPER, "effective_at": "2020-01-01T00:00:00Z"},
    {**CHEAPER, "effective_at": "9999-12-31T23:59:59-12:00"},
    {**CHEAPER, "effective_at": "2099-01-01T00:00:00"},
    {**CHEAPER, "note": ""},
    {**CHEAPER, "based_on": 2**40},
    {**CHEAPER, "only": ["nobody"]},
    {**CHEAPER, "surprise": True},
    {**CHEAPER, "provider": "x\u0000"},
]


SENSELESS: list[dict[str, Any]] = [
    {"prices": {"input_tokens": "1"}},
    {"prices": dict.fromkeys(("input_tokens", "output_tokens", "tools"), "1")},
    {"multiplier": "0"},
    {"multiplier": "100.1"},
    {"context_tokens": 0},
    {"context_tokens": 2**31},
    {"model_alias": "a b"},
    {"model_alias": "gpt-4o"},
    {"provider": "Open AI"},
    {"costs": {"input_tokens": "1"}},
    {"input": "-1"},
    {"input": "1000000001"},
    {"input": "0.0000000001"},
    {"input": "1e3"},
    {"cost": "999999999999999999"},
]


@pytest.mark.prove
async def test_a_whole_price_list_is_taken(installation: Installation) -> None:
    """OpenRouter's comes near a mebibyte, which is more than other requests may send."""
    owner = await installation.person(Role.OWNER)
    many = [listed(f"maker/model-{number}", description="x" * 3_000) for number in range(400)]
    named = [listed(name) for name in NAMES.values()]

    preview = await post(installation, owner, "/preview", **imported(*many, *named))

    assert preview.status_code == 200, preview.text
    assert Counter(change["kind"] for change in preview.json()["changes"]) == {"new": 400, "changed": 7}


async def test_what_was_read_can_be_changed_and_published_but_not_into_nonsense(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)
    models = await models_of(installation, owner)
    first, *others = models

    for change in SENSELESS:
        if "input" in change:
            change = {"prices": first["prices"] | {"input_tokens": change["input"]}}
        if "cost" in change:
            change = {"costs": dict.fromkeys(first["prices"], change["cost"])}
        assert (await post(installation, owner, models=[first | change, *others])).status_code == 422, change
    for body in UNPUBLISHABLE:
        assert (await post(installation, owner, **body)).status_code == 422, body
    assert (await get(installation, owner))["total"] == 1

    same = await post(installation, owner, models=models)

    models[0]["prices"]["tool_calls"] = "0.000000001"
    changed = await post(installation, owner, models=models, confirm=[models[0]["model_alias"]])

    assert (same.status_code, same.json()["version"]["version"]) == (200, 1)
    assert (changed.status_code, changed.json()["version"]["version"]) == (201, 2)
    assert changed.json()["models"][0]["prices"]["tool_calls"] == "0.000000001"
