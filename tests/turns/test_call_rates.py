"""How many calls one user may begin in a minute and an hour, and have under way, in all processes together."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from pantheon.api.problems import problem_of
from pantheon.errors import TooManyRequestsError
from pantheon.runtime import open_runtime
from pantheon.turns.meter import Meter
from pantheon.turns.metered_call import MeteredCall
from tests.installation import Installation, eventually
from tests.models.scripted_provider import Script
from tests.turns.metering import ALIAS, HELLO, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]


def never(times: int) -> list[Script]:
    """Answers that do not begin, so that their calls stay under way."""
    return [Script([asyncio.Event()]) for _ in range(times)]


async def started(m: Metering, many: int, *meters: Meter) -> tuple[list[MeteredCall], list[TooManyRequestsError]]:
    """All at once, in turns through each of the meters."""
    body = {"model": ALIAS, "messages": HELLO, "stream": True, "max_tokens": 10}
    starting = [meters[number % len(meters)].start(m.spender, body) for number in range(many)]
    ended = await asyncio.gather(*starting, return_exceptions=True)
    calls = [one for one in ended if isinstance(one, MeteredCall)]
    refused = [one for one in ended if isinstance(one, TooManyRequestsError)]
    assert len(calls) + len(refused) == many
    return calls, refused


async def leave(m: Metering, *calls: MeteredCall) -> None:
    for call in calls:
        call.leave()
    await m.ended()


@pytest.mark.parametrize(
    ("setting", "bucket", "seconds"),
    [("rate_limit_calls_per_minute", "calls:{}", 60), ("rate_limit_calls_per_hour", "calls:{}:hour", 3600)],
)
async def test_of_calls_at_once_no_more_begin_than_the_rate_allows(
    install: Install, setting: str, bucket: str, seconds: int
) -> None:
    async with metering(install, *never(9), **{setting: 4}) as m, open_runtime(m.installation.runtime.settings) as b:
        meters = m.installation.runtime.meter, b.meter
        calls, refused = await started(m, 12, *meters)
        # Where a window ended in between, each of the two has its own four.
        windows = m.installation.rows("SELECT hits FROM rate_limits WHERE bucket = %s", bucket.format(m.user_id))
        assert max(row["hits"] for row in windows) == 4
        assert len(calls) == sum(row["hits"] for row in windows)
        for error in refused:
            answer = problem_of(error)
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= seconds
        await leave(m, *calls)

        assert len(m.calls) == len(calls)
        # Somebody else is not held up.
        other = await m.another(10**6)
        others, _ = await started(other, 1, *meters)
        assert len(others) == 1
        await leave(m, *others)


async def test_no_more_calls_are_under_way_than_allowed_and_each_that_ends_makes_room(install: Install) -> None:
    async with (
        metering(install, *never(6), calls_max_open=5) as m,
        open_runtime(m.installation.runtime.settings) as b,
    ):
        meters = m.installation.runtime.meter, b.meter
        calls, refused = await started(m, 20, *meters)

        assert (len(calls), len(refused)) == (5, 15)
        assert {problem_of(error).headers["Retry-After"] for error in refused} == {"1"}
        assert "5 calls are under way already" in refused[0].message
        assert len(m.installation.rows("SELECT FROM calls WHERE state = 'open'")) == 5
        # None of the fifteen has set anything aside.
        assert len(m.installation.rows("SELECT FROM holds")) == 5

        async def all_are_under_way() -> bool:
            return len(m.provider.asked) == 5

        async def one_has_ended() -> bool:
            return len(m.installation.rows("SELECT FROM calls WHERE state = 'open'")) == 4

        # Whose provider cannot be reached ends by itself.
        await eventually(all_are_under_way)
        calls[0].leave()
        await eventually(one_has_ended)
        more, refused = await started(m, 3, *meters)
        assert (len(more), len(refused)) == (1, 2)
        await leave(m, *calls, *more)
