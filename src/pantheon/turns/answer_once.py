"""Answers that are kept under an Idempotency-Key: whoever asks again gets the same one, and does not pay again."""

from contextlib import suppress
from typing import Any

from pantheon import clock
from pantheon.db import idempotency
from pantheon.db.engine import Database
from pantheon.db.idempotency import Request
from pantheon.errors import IdempotencyInProgressError, OutsideError
from pantheon.turns.admit_call import LONGEST_CALL


async def claim_answer(database: Database, request: Request | None) -> dict[str, Any] | None:
    """The answer that was kept, or None for the first who asks, who then calls `keep_answer` or `forget_answer`.

    Raises IdempotencyInProgressError while the first one is under way, and IdempotencyKeyReusedError.
    """
    if request is None:
        return None
    async with database.transaction() as tx:
        # A process that died has left its key behind.
        await idempotency.drop_unanswered(tx, request, before=clock.now() - LONGEST_CALL)
        replay = await idempotency.claim(tx, request)
        if replay is None:
            return None
        if replay.answer is None:
            raise IdempotencyInProgressError(retry_after=2)
        answer: dict[str, Any] = replay.answer
        return answer


async def keep_answer(database: Database, request: Request | None, answer: dict[str, Any]) -> None:
    if request is None:
        return
    # The call is paid for: it is answered whether or not it can be kept.
    with suppress(OutsideError):
        async with database.transaction() as tx:
            await idempotency.store_answer(tx, request, answer)


async def forget_answer(database: Database, request: Request | None) -> None:
    """Nothing came of it, so the key is free again."""
    if request is None:
        return
    with suppress(OutsideError):
        async with database.transaction() as tx:
            await idempotency.drop_unanswered(tx, request, before=clock.now())
