"""Rate cards: nothing published changes, versions never overlap, and nobody overwrites what they have not read."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from pantheon.users.rights import Role
from tests.installation import Installation, Person

MULTIPLIERS = {
    "deepseek": "0.5",
    "gemini-flash": "0.8",
    "gemini-pro": "1.2",
    "gpt-4o-mini": "1",
    "gpt-4o": "2",
    "claude-haiku": "0.8",
    "claude-sonnet": "1.5",
    "demo": "0.1",
}


async def pricing(installation: Installation, by: Person) -> Any:
    answer = await installation.client.get("/api/v1/admin/pricing", headers=by.headers)
    return answer.json()


async def patch(
    installation: Installation, by: Person, alias: str, multiplier: object, version: object = "1"
) -> httpx2.Response:
    return await installation.client.patch(
        f"/api/v1/admin/pricing/{alias}",
        json={"multiplier": multiplier, "pricing_version": version},
        headers=by.headers,
    )


async def test_an_installation_begins_with_the_usual_card(installation: Installation) -> None:
    analyst = await installation.person(Role.ANALYST)

    found = await pricing(installation, analyst)

    assert found["pricing_version"] == "1"
    assert {item["model_alias"]: item["multiplier"] for item in found["items"]} == MULTIPLIERS
    assert {item["pricing_version"] for item in found["items"]} == {"1"}


async def test_a_multiplier_is_changed_by_publishing_another_version(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)

    answer = await patch(installation, owner, "gpt-4o", "2.5")

    assert answer.status_code == 200
    assert answer.json() == {"model_alias": "gpt-4o", "multiplier": "2.5", "pricing_version": "2"}
    found = await pricing(installation, owner)
    assert {item["model_alias"]: item["multiplier"] for item in found["items"]} == MULTIPLIERS | {"gpt-4o": "2.5"}
    # The first version is there as it was, and ended where the second began.
    cards = installation.rows("SELECT * FROM rate_cards ORDER BY version")
    assert cards[0]["effective_until"] == cards[1]["effective_at"]
    assert cards[1]["effective_until"] is None
    assert installation.rows("SELECT multiplier FROM rates WHERE (version, model_alias) = (1, 'gpt-4o')") == [
        {"multiplier": 2_000_000}
    ]
    (written,) = installation.rows("SELECT * FROM audit_log WHERE action = 'rate_card.published'")
    assert (written["actor"], written["subject"]) == (owner.id, "rate_card:2")


async def test_nobody_replaces_a_version_that_they_have_not_read(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)

    answers = await asyncio.gather(*(patch(installation, owner, "gpt-4o", f"3.{n}") for n in range(1, 9)))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 7}
    assert (await patch(installation, owner, "gpt-4o", "9")).json()["code"] == "rate_card_changed"
    assert len(installation.rows("SELECT FROM rate_cards")) == 2
    assert (await patch(installation, owner, "gpt-4o", "9", "2")).json()["pricing_version"] == "3"


async def test_what_changes_nothing_publishes_nothing(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)

    answer = await patch(installation, owner, "gpt-4o", "2.0")

    assert answer.json()["pricing_version"] == "1"


@pytest.mark.parametrize(
    "multiplier", ["0", "-1", "100.000001", "1e2", "0.0000001", "NaN", "", None, True, [], "1_0", 10**300]
)
async def test_a_multiplier_that_cannot_be_is_refused(installation: Installation, multiplier: object) -> None:
    owner = await installation.person(Role.OWNER)

    assert (await patch(installation, owner, "gpt-4o", multiplier)).status_code == 422


async def test_who_may_read_and_who_may_change(installation: Installation) -> None:
    user = await installation.person(Role.USER)
    analyst = await installation.person(Role.ANALYST, "analyst@example.com")
    owner = await installation.person(Role.OWNER, "owner@example.com")
    get = [
        (await installation.client.get(path, headers=person.headers)).status_code
        for path in ("/api/v1/admin/pricing", "/api/v1/admin/settings")
        for person in (user, analyst, owner)
    ]

    assert get == [403, 200, 200] * 2
    assert [(await patch(installation, who, "demo", "0.2")).status_code for who in (user, analyst)] == [403, 403]
    assert (await patch(installation, owner, "no-such-model", "1")).status_code == 404
    assert (await patch(installation, owner, "demo", "0.2", "7")).status_code == 409
    assert (await patch(installation, owner, "demo", "0.2", "x" * 65)).status_code == 422


async def test_the_switch_of_enforcement_is_one_for_all_processes_and_written_down(installation: Installation) -> None:
    owner = await installation.person(Role.OWNER)

    async def call(method: str, body: Any = None) -> Any:
        path = "/api/v1/admin/settings/enforcement"
        answer = await installation.client.request(method, path, json=body, headers=owner.headers)
        assert answer.status_code == 200
        settings = (await installation.client.get("/api/v1/admin/settings", headers=owner.headers)).json()
        assert settings["enforcement_mode"] == answer.json()["enforcement_mode"]
        assert settings["enforcement_source"] == answer.json()["source"]
        return tuple(answer.json()[name] for name in ("enforcement_enabled", "enforcement_mode", "source"))

    assert await call("PATCH", {"enabled": False}) == (False, "off", "override")
    assert await call("PATCH", {"mode": "warn"}) == (False, "warn", "override")
    assert await call("PATCH", {"enabled": True}) == (True, "enforce", "override")
    assert await call("DELETE") == (True, "enforce", "config")
    assert len(installation.rows("SELECT FROM audit_log WHERE action = 'enforcement.set'")) == 4


@pytest.mark.parametrize("body", [{}, {"enabled": True, "mode": "warn"}, {"mode": "on"}, {"enabled": "yes"}, {"x": 1}])
async def test_a_switch_that_says_nothing_or_two_things_is_refused(installation: Installation, body: Any) -> None:
    owner = await installation.person(Role.OWNER)

    answer = await installation.client.patch("/api/v1/admin/settings/enforcement", json=body, headers=owner.headers)

    assert answer.status_code == 422


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


_CARD = "INSERT INTO rate_cards (version, effective_at, effective_until, note) VALUES "


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (_CARD + "(2, now() + interval '1 day', NULL, 'x')", "rate_cards_never_overlap"),
        (_CARD + "(2, now() - interval '1 day', now() - interval '1 hour', 'x')", "never change for the past"),
        (_CARD + "(2, now() + interval '1 day', now(), 'x')", "rate_cards_end_after_they_begin"),
        ("UPDATE rate_cards SET note = 'x'", "can only be ended"),
        ("UPDATE rate_cards SET effective_at = now()", "can only be ended"),
        ("UPDATE rate_cards SET effective_until = now() - interval '1 hour'", "can only be ended"),
        ("DELETE FROM rate_cards", "append-only"),
        ("UPDATE rates SET multiplier = 1", "append-only"),
        ("DELETE FROM rates", "append-only"),
        (
            'INSERT INTO rates SELECT (jsonb_populate_record(r, \'{"model_alias": "new"}\')).* FROM rates r LIMIT 1',
            "publish another version",
        ),
    ],
)
def test_the_database_refuses_to_change_what_was_published(
    owner: psycopg.Connection, statement: str, message: str
) -> None:
    """As the database's owner, who has every right that there is short of switching triggers off."""
    with pytest.raises(psycopg.errors.IntegrityError, match=message):
        owner.execute(statement.encode())
