"""What a dead worker left behind is taken up by the next one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.worker.run import working
from tests.installation import Installation, eventually

Install = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.mark.parametrize("another_waits", [False, True])
async def test_a_stalled_job_is_retried_and_never_keeps_the_worker_from_starting(
    install: Install, another_waits: bool
) -> None:
    """T-065: the job of a killed worker, alone, or beside a later job for the same event that waits for its time."""
    async with install(worker=False) as it:
        ada = await it.person()
        top_up_id = (await it.top_up(ada)).json()["top_up_id"]
        it.sandbox.play(top_up_id, "pay")

        async def stored() -> bool:
            return bool(it.rows("SELECT FROM inbox_events WHERE state = 'received'"))

        await eventually(stored)
        it.execute("UPDATE inbox_events SET next_attempt_at = now() + interval '1 hour'")
        it.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        if another_waits:
            it.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, scheduled_at)"
                " SELECT queue_name, task_name, queueing_lock, args, now() FROM procrastinate_jobs"
            )

        async with working(it.runtime):
            await it.becomes(ada, top_up_id, "credited")

        assert it.rows("SELECT FROM procrastinate_jobs WHERE status = 'doing'") == []
        assert len(it.rows("SELECT FROM transfers")) == 1
