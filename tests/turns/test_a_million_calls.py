"""What operators ask of a million calls: exact, and out of the days that are added up."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, text

from pantheon.db.engine import Database
from pantheon.money.amounts import parse_credits
from pantheon.turns.close_days import close_days
from pantheon.turns.list_usage import list_usage
from pantheon.turns.usage_days import period_of, usage
from pantheon.users.rights import Role
from tests.installation import Installation

Install = Callable[..., AbstractAsyncContextManager[Installation]]

CALLS = 1_000_000
DAYS = 90
PEOPLE = 1000
ROUNDS = 20

_PEOPLE = """
    INSERT INTO users (id, role, state, created_at)
    SELECT gen_random_uuid(), 'user', 'active', now() - interval '100 days' FROM generate_series(1, %s);
"""
_WALLETS = """
    INSERT INTO wallets (id, user_id, created_at) SELECT gen_random_uuid(), id, created_at FROM users
    WHERE id NOT IN (SELECT user_id FROM wallets)
"""
# Each person has five agents, which have a model each, in two rooms. Some use a hundred times more than others.
_CALLS = """
    INSERT INTO calls (id, user_id, wallet_id, hold_id, agent_id, room_id, model_alias, rate_card_version, enforcement,
                       input_counted, max_output, state, outcome, started_at, expires_at, ended_at)
    SELECT gen_random_uuid(), w.user_id, w.id, gen_random_uuid(),
           md5(w.id::text || n %% 5)::uuid, md5(w.id::text || n %% 5 %% 2 || 'room')::uuid,
           (ARRAY['gpt-4o', 'deepseek', 'claude-haiku', 'gemini-flash'])[1 + n %% 5 %% 4], 1, 'enforce', 1000, 1000,
           'settled', 'completed', at, at + interval '10 minutes', at + interval '5 seconds'
    FROM (SELECT n, now() - n * interval '1 day' * %s / %s AS at, floor(power(random(), 3) * %s) AS person
          FROM generate_series(1, %s) n) c
    JOIN (SELECT id, user_id, row_number() OVER (ORDER BY id) - 1 AS number FROM wallets) w ON w.number = c.person
"""
_RECEIPTS = """
    INSERT INTO receipts (id, wallet_id, charged, overrun, balance_after, body, created_at)
    SELECT id, wallet_id, 1000 + abs(hashtext(id::text)) %% 1000000, 0, 0, jsonb_build_object(
               'model_alias', model_alias, 'rate_card_version', 1, 'quality', 'provider', 'stopped_by', NULL,
               'usage', jsonb_build_object('input', 900, 'cached_input', 300, 'cache_write', 0, 'output', 150,
                                           'reasoning', 0, 'tool_calls', 0),
               'lines', jsonb_build_array(
                   jsonb_build_object('meter', 'input_tokens', 'quantity', 600, 'unit_price', 7e16, 'amount', 1),
                   jsonb_build_object('meter', 'output_tokens', 'quantity', 150, 'unit_price', 2e17, 'amount', 1)),
               'provider_cost', CASE WHEN hashtext(id::text) %% 10 <> 0 THEN 123456 END,
               'provider_cost_source', 'provider', 'scopes', jsonb_build_object('model', model_alias),
               'attempts', jsonb_build_array(jsonb_build_object('seconds', 1, 'outcome', 'completed', 'status', 200))),
           ended_at
    FROM calls
"""


@pytest.mark.prove
@pytest.mark.tampers
@pytest.mark.timeout(1200)
async def test_a_million_calls_are_answered_for_out_of_added_up_days(install: Install) -> None:
    """No time is asserted: on a busy machine none means anything. Run it with -s to read them."""
    async with install(worker=False, payments=False) as installation:
        owner = await installation.person(Role.OWNER)
        installation.execute(_PEOPLE, PEOPLE)
        installation.execute(_WALLETS)
        installation.execute(_CALLS, DAYS, CALLS, PEOPLE, CALLS)
        installation.execute(_RECEIPTS)
        installation.execute("ANALYZE")
        started = time.perf_counter()
        closed = await close_days(installation.runtime.database)
        print(f"\n{closed} days closed in {time.perf_counter() - started:.1f} s")
        installation.execute("VACUUM ANALYZE usage_days")
        [rows] = installation.rows("SELECT count(*) AS days FROM usage_days")
        print(f"{CALLS:,} receipts are {rows['days']:,} rows of days")
        [whole] = installation.rows("SELECT count(*) AS calls, sum(charged)::bigint AS charged FROM receipts")

        [busiest] = installation.rows("SELECT user_id AS id FROM calls GROUP BY user_id ORDER BY count(*) DESC LIMIT 1")
        [first] = installation.rows("SELECT min(created_at)::date AS day FROM receipts")
        span, dates = {"start_date": first["day"]}, {"from_date": first["day"]}
        for path, query in (
            ("/admin/usage/summary", dates),
            ("/admin/usage/summary", dates | {"bucket": "month"}),
            ("/admin/usage/summary", {}),
            ("/admin/usage/summary", dates | {"user_id": busiest["id"]}),
            ("/admin/analytics/usage", span),
            ("/admin/analytics/usage", span | {"offset": 3000}),
            ("/admin/analytics/active-users", {"window": "day"}),
            ("/admin/analytics/active-users", {"window": "month"}),
            *(("/admin/analytics/margin", span | {"by": by}) for by in ("user", "agent", "model", "day")),
        ):

            async def ask(path: str = path, query: dict[str, Any] = query) -> Any:
                answer = await installation.client.get(f"/api/v1{path}", params=query, headers=owner.headers)
                assert answer.status_code == 200
                return answer.json()

            found = await _measure(f"{path} {query}", ask)
            if query == dates:
                assert parse_credits(found["total_credits_burned"]) == whole["charged"]
                assert found["total_llm_calls"] == whole["calls"]
        listing = partial(list_usage, installation.runtime.database, user_id=busiest["id"], limit=50)
        await _measure("the calls of who made the most", listing)
        plan = await _plan(installation.runtime.database)
        print(plan)
        assert "Seq Scan on receipts" not in plan and "Seq Scan on calls" not in plan


async def _measure(name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
    answer, times = None, []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = await ask()
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    print(f"p50 {times[ROUNDS // 2]:6.0f} ms, p95 {times[ROUNDS * 95 // 100 - 1]:6.0f} ms  {name}")
    return answer


async def _plan(database: Database) -> str:
    """Of the question of all: every day and model of the last 30 days."""
    async with database.transaction() as tx:
        days = await usage(tx, period_of(None, None, names=("from", "to")))
        query = select(days.c.day, days.c.model_alias, func.sum(days.c.charged)).group_by(
            days.c.day, days.c.model_alias
        )
        compiled = query.compile(dialect=tx.dialect, compile_kwargs={"literal_binds": True})
        return "\n".join(line for (line,) in await tx.execute(text(f"EXPLAIN ANALYZE {compiled}".replace(":", "\\:"))))
