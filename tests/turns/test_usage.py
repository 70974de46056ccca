"""Usage: whatever is added up already and whatever is not, the sums are those of the receipts."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from pantheon import clock
from pantheon.ids import uuid7
from pantheon.money.amounts import format_credits, parse_credits
from pantheon.money.rate_card import Usage
from pantheon.turns.close_days import close_days
from pantheon.users.rights import Role
from tests.installation import Installation, Person
from tests.turns.used import fund, set_books_clock, use

Install = Callable[..., AbstractAsyncContextManager[Installation]]

TODAY = clock.now().date()
MIDNIGHT = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
NEW_YEAR = datetime(2026, 1, 5, 12, tzinfo=UTC)
MODELS = ("gpt-4o", "deepseek", "claude-sonnet")


@pytest.fixture
async def quiet(install: Install) -> AsyncIterator[Installation]:
    """Without a worker, which would close days by itself."""
    async with install(worker=False, payments=False) as installation:
        yield installation


async def get(installation: Installation, by: Person, path: str, /, **query: Any) -> Any:
    answer = await installation.client.get(f"/api/v1{path}", params=query, headers=by.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def used_by_two(installation: Installation, *times: datetime) -> tuple[Person, Person]:
    """Ada and Bob, who made four calls at each time: with many models, some by an agent, some short of credits."""
    ada, bob = await installation.person(), await installation.person(email="bob@example.com")
    chance = random.Random(7)
    set_books_clock(installation, times[0])
    for person in (ada, bob):
        await fund(installation, person, 1000)
    agent = uuid7()
    for at in times:
        for number in range(4):
            output = chance.randrange(2000)
            usage = Usage(input=1000 + chance.randrange(5000), cached_input=500, output=output, reasoning=output // 2)
            await use(
                installation,
                (ada, bob)[number % 2],
                usage,
                model=chance.choice(MODELS),
                provider_cost=chance.choice([None, 1234567]),
                drawn=chance.choice([None, 1000, 0]),
                at=at,
                **{"agent_id": agent} if number < 2 else {},
            )
    set_books_clock(installation, None)
    return ada, bob


async def totals(installation: Installation, by: Person) -> dict[str, Any]:
    """All that is computed from the days, for all time."""
    span = {"start_date": "2026-01-01", "end_date": str(TODAY)}
    weeks = {"from_date": "2026-01-01", "to_date": str(TODAY), "bucket": "week"}
    return {
        "summary": await get(installation, by, "/admin/usage/summary", **weeks),
        "analytics": await get(installation, by, "/admin/analytics/usage", **span),
        "margin": {
            key: await get(installation, by, "/admin/analytics/margin", by=key, **span)
            for key in ("user", "agent", "model", "day")
        },
    }


def sum_of_receipts(installation: Installation, condition: str = "true", *arguments: object) -> dict[str, int]:
    sums = {
        "charged": "charged",
        "overrun": "overrun",
        "input": "(body #>> '{usage,input}')::bigint",
        "output": "(body #>> '{usage,output}')::bigint",
        "cost": "(body ->> 'provider_cost')::bigint",
    }
    columns = ", ".join(f"coalesce(sum({value}), 0)::bigint AS {name}" for name, value in sums.items())
    [row] = installation.rows(
        f"SELECT {columns}, count(*) AS calls, count(body ->> 'provider_cost') AS costed"
        f" FROM receipts r JOIN wallets w ON w.id = r.wallet_id WHERE {condition}",
        *arguments,
    )
    return row


def check_totals(installation: Installation, found: dict[str, Any]) -> None:
    whole = sum_of_receipts(installation)
    summary, analytics = found["summary"], found["analytics"]
    assert parse_credits(summary["total_credits_burned"]) == whole["charged"]
    assert (summary["total_llm_calls"], summary["total_output_tokens"]) == (whole["calls"], whole["output"])
    for part in (summary["breakdown"], summary["daily"]):
        assert sum(parse_credits(item["credits_burned"]) for item in part) == whole["charged"]
        assert sum(item["call_count"] for item in part) == whole["calls"]
    for row in analytics["rows"]:
        mine = sum_of_receipts(
            installation, "w.user_id = %s AND body ->> 'model_alias' = %s", row["user_id"], row["model_alias"]
        )
        assert row == {
            "user_id": row["user_id"],
            "model_alias": row["model_alias"],
            "total_input_tokens": mine["input"],
            "total_output_tokens": mine["output"],
            "total_credits_burned": format_credits(mine["charged"]),
            "event_count": mine["calls"],
        }
    assert sum(row["event_count"] for row in analytics["rows"]) == whole["calls"]
    for margin in found["margin"].values():
        rows = margin["rows"]
        assert len(rows) == margin["total"]
        assert sum(parse_credits(row["credits_burned"]) for row in rows) == whole["charged"]
        assert sum(parse_credits(row["overrun"]) for row in rows) == whole["overrun"]
        assert sum(parse_credits(row["provider_cost"]) for row in rows) == whole["cost"]
        assert sum(row["calls_with_cost"] for row in rows) == whole["costed"]


async def test_sums_are_those_of_the_receipts_with_days_open_closed_and_closed_again(quiet: Installation) -> None:
    owner = await quiet.person(Role.OWNER, "owner@example.com")
    first = MIDNIGHT - timedelta(days=9)
    just_before = MIDNIGHT - timedelta(days=7, microseconds=1)
    ada, bob = await used_by_two(quiet, first, just_before, MIDNIGHT - timedelta(days=7), MIDNIGHT)
    open_ = await totals(quiet, owner)
    check_totals(quiet, open_)

    # Four at once, as four processes might.
    await asyncio.gather(*(close_days(quiet.runtime.database) for _ in range(4)))
    closed = await totals(quiet, owner)
    assert await close_days(quiet.runtime.database) == 0

    assert closed == open_ == await totals(quiet, owner)
    # Every day from the first receipt on, but for those of which something may still come.
    days = [row["day"] for row in quiet.rows("SELECT day FROM usage_closed_days ORDER BY day")]
    last = (clock.now() - timedelta(hours=1)).date() - timedelta(days=1)
    assert days == [first.date() + timedelta(days=n) for n in range((last - first.date()).days + 1)]
    assert quiet.rows("SELECT count(DISTINCT day) AS days FROM usage_days") == [{"days": 3}]

    # What comes later is added to what is closed.
    await use(quiet, ada, Usage(input=100, output=100))
    check_totals(quiet, await totals(quiet, owner))
    for person in (ada, bob):
        mine = sum_of_receipts(quiet, "w.user_id = %s", person.id)
        listed = await get(quiet, person, "/users/me/usage", limit=200)
        assert (listed["total"], len(listed["events"])) == (mine["calls"], mine["calls"])
        assert sum(parse_credits(event["credits_burned"]) for event in listed["events"]) == mine["charged"]


async def test_usage_is_told_by_time_model_and_user(quiet: Installation) -> None:
    analyst = await quiet.person(Role.ANALYST, "analyst@example.com")
    # The last of January and the first of February are a Saturday and a Sunday.
    month_ends = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    ada, _ = await used_by_two(quiet, NEW_YEAR, month_ends, datetime(2026, 2, 1, tzinfo=UTC))
    quiet.execute("UPDATE users SET created_at = %s WHERE id = %s", NEW_YEAR, ada.id)

    async def summary(**query: Any) -> Any:
        span = {"from_date": "2026-01-01", "to_date": "2026-02-28"}
        return await get(quiet, analyst, "/admin/usage/summary", **span | query)

    async def dates(bucket: str) -> list[tuple[str, int]]:
        return [(item["date"], item["call_count"]) for item in (await summary(bucket=bucket))["daily"]]

    assert await dates("day") == [("2026-01-05", 4), ("2026-01-31", 4), ("2026-02-01", 4)]
    assert await dates("week") == [("2026-01-05", 4), ("2026-01-26", 8)]
    assert await dates("month") == [("2026-01-01", 8), ("2026-02-01", 4)]
    assert (await summary(user_id=str(ada.id)))["total_llm_calls"] == 6
    assert (await summary(user_id=str(uuid7())))["total_llm_calls"] == 0
    of_model = await summary(model_alias="deepseek")
    assert [item["model_alias"] for item in of_model["breakdown"]] == ["deepseek"]
    assert 0 < of_model["total_llm_calls"] < 12
    # Both ends are included.
    assert (await summary(from_date="2026-01-31", to_date="2026-01-31"))["total_llm_calls"] == 4

    span = {"start_date": "2026-01-01", "end_date": "2026-02-28"}
    whole = await get(quiet, analyst, "/admin/analytics/usage", **span)
    burned = [parse_credits(row["total_credits_burned"]) for row in whole["rows"]]
    second = await get(quiet, analyst, "/admin/analytics/usage", limit=1, offset=1, **span)
    assert burned == sorted(burned, reverse=True) and whole["total"] == len(burned) > 2
    assert (second["rows"], second["total"]) == ([whole["rows"][1]], whole["total"])
    beyond = await get(quiet, analyst, "/admin/analytics/usage", offset=100, **span)
    assert (beyond["rows"], beyond["total"]) == ([], whole["total"])

    async def people(window: str, as_of: str) -> tuple[int, int]:
        found = await get(quiet, analyst, "/admin/analytics/active-users", window=window, as_of=as_of)
        assert (found["window"], found["as_of"]) == (window, as_of)
        return found["active_users"], found["new_users"]

    assert await people("day", str(TODAY)) == (0, 2)
    assert await people("day", "2026-01-05") == (2, 1)
    assert await people("day", "2026-01-06") == (0, 0)
    assert await people("week", "2026-01-11") == (2, 1)
    assert await people("week", "2026-01-12") == (0, 0)
    assert await people("month", "2026-02-03") == (2, 1)
    assert await people("month", "2026-02-04") == (2, 0)
    assert (await get(quiet, analyst, "/admin/analytics/active-users"))["window"] == "day"


async def test_margin_counts_only_calls_of_which_the_cost_is_known(quiet: Installation) -> None:
    owner = await quiet.person(Role.OWNER, "owner@example.com")
    ada = await quiet.person()
    await fund(quiet, ada, 1000)
    # 7 credits each, which are 0.21 dollars.
    usage = Usage(input=100_000)
    await use(quiet, ada, usage, provider_cost=100_000_000)
    await use(quiet, ada, usage)

    [row] = (await get(quiet, owner, "/admin/analytics/margin", by="user"))["rows"]
    await use(quiet, ada, usage, model="deepseek")
    by_model = (await get(quiet, owner, "/admin/analytics/margin"))["rows"]

    assert row == {
        "key": str(ada.id),
        "call_count": 2,
        "credits_burned": "14",
        "overrun": "0",
        "value": "0.42",
        "calls_with_cost": 1,
        "value_with_cost": "0.21",
        "provider_cost": "0.1",
        "margin": "0.11",
    }
    assert {item["key"]: item["margin"] for item in by_model} == {"gpt-4o": "0.11", "deepseek": None}


async def test_margin_as_a_table_for_spreadsheets(quiet: Installation) -> None:
    owner = await quiet.person(Role.OWNER, "owner@example.com")
    ada = await quiet.person()
    await fund(quiet, ada, 1000)
    await use(quiet, ada, Usage(input=100_000), provider_cost=300_000_000)

    answer = await quiet.client.get(
        "/api/v1/admin/analytics/margin", headers=owner.headers | {"Accept": "text/csv"}, params={"limit": 1}
    )

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines() == [
        "key,call_count,credits_burned,overrun,value,calls_with_cost,value_with_cost,provider_cost,margin",
        "gpt-4o,1,7,0,0.21,1,0.21,0.3,-0.09",
    ]


async def test_what_cannot_be_asked_is_refused(quiet: Installation, subtests: pytest.Subtests) -> None:
    owner = await quiet.person(Role.OWNER)
    backwards = {"start_date": "2026-02-02", "end_date": "2026-02-01"}
    for path, query, detail in (
        ("usage/summary", {"bucket": "year"}, "bucket"),
        ("usage/summary", {"user_id": "x"}, "user_id"),
        ("usage/summary", {"model_alias": "\0"}, "model_alias"),
        ("usage/summary", {"from_date": "2026-02-30"}, "from_date"),
        ("usage/summary", {"from_date": "0001-01-01"}, "from_date"),
        ("usage/summary", {"to_date": "9999-12-31"}, "to_date"),
        (
            "usage/summary",
            {"from_date": "2026-02-02", "to_date": "2026-02-01"},
            "to_date must be on or after from_date",
        ),
        ("analytics/usage", backwards, "end_date must be on or after start_date"),
        ("analytics/usage", {"limit": "201"}, "limit"),
        ("analytics/active-users", {"window": "year"}, "window"),
        ("analytics/active-users", {"as_of": "2000-13-01"}, "as_of"),
        ("analytics/margin", {"by": "room"}, "by"),
        ("analytics/margin", backwards, "end_date must be on or after start_date"),
    ):
        with subtests.test(path=path, query=query):
            answer = await quiet.client.get(f"/api/v1/admin/{path}", params=query, headers=owner.headers)
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith(detail)


async def test_who_may_read_what(quiet: Installation) -> None:
    ada, bob = await quiet.person(), await quiet.person(email="bob@example.com")
    analyst = await quiet.person(Role.ANALYST, "analyst@example.com")
    await fund(quiet, ada, 10)
    receipt = await use(quiet, ada, Usage(input=100))

    async def key(*scopes: str) -> dict[str, str]:
        made = await quiet.client.post(
            "/api/v1/users/me/api-keys", json={"name": "k", "scopes": scopes}, headers=ada.headers
        )
        return {"Authorization": f"Bearer {made.json()['key']}"}

    async def status(path: str, headers: dict[str, str]) -> int:
        return (await quiet.client.get(f"/api/v1{path}", headers=headers)).status_code

    reading, other = await key("usage:read"), await key("wallet:read", "workspace")
    month = f"/users/me/statements/{TODAY:%Y-%m}"
    for path in ("/users/me/usage", f"/receipts/{receipt}", month):
        assert [await status(path, who) for who in ({}, ada.headers, reading, other)] == [401, 200, 200, 403]
    assert await status("/models", other) == 200
    assert await status(f"/receipts/{receipt}", bob.headers) == 404
    for name in ("usage/summary", "analytics/usage", "analytics/active-users", "analytics/margin"):
        assert [await status(f"/admin/{name}", who) for who in (ada.headers, reading, analyst.headers)] == [
            403,
            403,
            200,
        ]


async def test_usage_is_listed_newest_first_with_what_was_used(quiet: Installation) -> None:
    ada = await quiet.person()
    await fund(quiet, ada, 10)
    turn: UUID = uuid7()
    usage = Usage(input=1000, cached_input=400, cache_write=100, output=50, reasoning=20, tool_calls=1)
    first = await use(quiet, ada, Usage(input=100), turn_id=turn)
    second = await use(quiet, ada, usage, model="deepseek")

    found = await get(quiet, ada, "/users/me/usage")
    older = await get(quiet, ada, "/users/me/usage", limit=1, offset=1)

    newest = found["events"][0]
    assert newest | {"created_at": ""} == {
        "id": str(second),
        "model_alias": "deepseek",
        # (500 + 100) × 0.35 + 400 × 0.1 + 50, for ten thousand, halved
        "credits_burned": "0.015",
        "usage": {"input": 1000, "cached": 400, "cache_write": 100, "output": 50, "reasoning": 20, "tool_calls": 1},
        "quality": "provider",
        "turn_id": None,
        "receipt_id": str(second),
        "created_at": "",
    }
    assert (older["total"], older["events"][0]["id"], older["events"][0]["turn_id"]) == (2, str(first), str(turn))


async def test_models_are_those_whose_provider_is_here_with_what_they_cost(quiet: Installation) -> None:
    found = await get(quiet, await quiet.person(), "/models")

    [demo] = found["models"]
    assert (demo["model_alias"], found["typical_turn"]) == ("demo", {"input_tokens": 2000, "output_tokens": 500})
    assert demo["credits_per_million"] == {
        "input_tokens": "3.5",
        "cached_input_tokens": "1",
        "cache_write_tokens": "3.5",
        "output_tokens": "10",
        "reasoning_tokens": "10",
        "tool_calls": "0",
    }
    # 2,000 × 3.5 and 500 × 10, for a million
    assert demo["credits_per_typical_turn"] == "0.012"


async def test_models_of_a_provider_that_is_set_up_are_there_too(install: Install) -> None:
    async with install(worker=False, payments=False, openrouter_api_key="sk-or-x") as installation:
        found = await get(installation, await installation.person(), "/models")
        assert found["total"] == 8
