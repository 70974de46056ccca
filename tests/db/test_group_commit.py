"""Many items in one commit, and each has an answer of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from pantheon.db.group_commit import GroupCommit
from pantheon.errors import DatabaseUnavailableError


class Writer:
    """Writes a batch when it is let to, and none that has a bad item."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = asyncio.Event()
        self.is_down = False

    async def __call__(self, items: Sequence[int]) -> list[str]:
        self.batches.append(list(items))
        await self.may_go_on.wait()
        if self.is_down:
            raise DatabaseUnavailableError(retry_after=5)
        if -1 in items:
            raise ValueError("a bad item")
        return [f"wrote {item}" for item in items]


@pytest.fixture
async def writer() -> Writer:
    return Writer()


async def put_all(writer: Writer, items: list[int]) -> list[str | BaseException]:
    group = GroupCommit(writer)
    puts = [asyncio.create_task(group.put(item)) for item in items]
    while not writer.batches:
        await asyncio.sleep(0)
    puts += [asyncio.create_task(group.put(item)) for item in items]
    await asyncio.sleep(0)
    writer.may_go_on.set()
    return await asyncio.gather(*puts, return_exceptions=True)


async def test_what_arrives_while_a_batch_commits_is_the_next_batch(writer: Writer) -> None:
    answers = await put_all(writer, [1, 2, 3])

    assert writer.batches == [[1, 2, 3], [1, 2, 3]]
    assert answers == ["wrote 1", "wrote 2", "wrote 3"] * 2


async def test_one_that_cannot_be_written_does_not_spoil_the_others(writer: Writer) -> None:
    answers = await put_all(writer, [1, -1, 3])

    assert [str(answer) for answer in answers] == ["wrote 1", "a bad item", "wrote 3"] * 2
    assert isinstance(answers[1], ValueError)


async def test_a_database_that_is_away_is_not_asked_for_each_of_them(writer: Writer) -> None:
    writer.is_down = True

    answers = await put_all(writer, [1, 2, 3])

    assert all(isinstance(answer, DatabaseUnavailableError) for answer in answers)
    assert len(writer.batches) == 2


async def test_a_caller_that_went_away_takes_nothing_with_him(writer: Writer) -> None:
    group = GroupCommit(writer)
    gone, stays = asyncio.create_task(group.put(1)), asyncio.create_task(group.put(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    writer.may_go_on.set()

    assert await stays == "wrote 2"
    assert await group.put(3) == "wrote 3"
