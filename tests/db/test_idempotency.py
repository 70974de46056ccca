import asyncio
from typing import Any
from uuid import UUID

import pytest

from pantheon.db.engine import Database
from pantheon.db.idempotency import Replay, Request, claim, store_answer
from pantheon.errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from pantheon.ids import uuid7


def request(user_id: UUID, **changes: Any) -> Request:
    usual: dict[str, Any] = {"key": "k", "route": "/top-up", "body": {"amount_usd": "10"}}
    return Request(user_id=user_id, **usual | changes)


async def test_the_first_use_claims_and_a_repeat_gets_the_stored_answer(database: Database, user_id: UUID) -> None:
    resource = uuid7()
    async with database.transaction() as tx:
        assert await claim(tx, request(user_id), resource_id=resource) is None
        await store_answer(tx, request(user_id), {"credits": "333.33"})

    async with database.transaction() as tx:
        assert await claim(tx, request(user_id)) == Replay(resource, {"credits": "333.33"})


@pytest.mark.parametrize("changes", [{"body": {"amount_usd": "11"}}, {"body": {}}, {"route": "/grant"}])
async def test_the_key_with_another_request_is_refused(
    database: Database, user_id: UUID, changes: dict[str, Any]
) -> None:
    async with database.transaction() as tx:
        await claim(tx, request(user_id))

    with pytest.raises(IdempotencyKeyReusedError):
        async with database.transaction() as tx:
            await claim(tx, request(user_id, **changes))


async def test_the_order_of_fields_is_not_another_request(database: Database, user_id: UUID) -> None:
    async with database.transaction() as tx:
        await claim(tx, request(user_id, body={"a": "1", "b": "2"}))

    async with database.transaction() as tx:
        assert await claim(tx, request(user_id, body={"b": "2", "a": "1"})) is not None


async def test_a_first_request_that_failed_leaves_the_key_free(database: Database, user_id: UUID) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await claim(tx, request(user_id))
            raise ZeroDivisionError

    async with database.transaction() as tx:
        assert await claim(tx, request(user_id, body={})) is None


async def test_nobody_waits_for_a_first_request_that_still_runs(database: Database, user_id: UUID) -> None:
    async with database.transaction() as first:
        await claim(first, request(user_id))
        with pytest.raises(IdempotencyInProgressError) as refused:
            async with database.transaction() as second:
                await claim(second, request(user_id))
        assert refused.value.retry_after == 1


async def test_keys_of_two_users_are_two_keys(database: Database, user_id: UUID) -> None:
    async with database.transaction() as tx:
        await tx.exec_driver_sql("INSERT INTO users (id, created_at) VALUES (%s, now())", (other := uuid7(),))
        assert await claim(tx, request(user_id)) is None
        assert await claim(tx, request(other)) is None


async def test_of_many_at_once_exactly_one_is_first(database: Database, user_id: UUID) -> None:
    async def attempt() -> str:
        try:
            async with database.transaction() as tx:
                return "first" if await claim(tx, request(user_id)) is None else "replay"
        except IdempotencyInProgressError:
            return "in progress"

    outcomes = await asyncio.gather(*(attempt() for _ in range(15)))

    assert outcomes.count("first") == 1
