"""Server-sent events: nothing is kept back, and silence is filled."""

import asyncio

from starlette.types import Message

from pantheon.api.event_stream import EventStream, told_when_gone


async def test_silence_is_filled_with_comments_until_the_end() -> None:
    sent: asyncio.Queue[Message] = asyncio.Queue()
    stream = EventStream(sent.put, {"X-Own": "1"}, heartbeat_seconds=0.01)
    assert not stream.started
    async with stream.kept_alive():
        start, first, second = await sent.get(), await sent.get(), await sent.get()
        assert stream.started
        await stream.send("data: 1\n\n")
    await stream.end()

    assert start["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    assert (b"x-own", b"1") in start["headers"]
    assert first["body"] == second["body"] == b": still there\n\n"
    rest = [sent.get_nowait() for _ in range(sent.qsize())]
    assert [message["body"] for message in rest if not message["body"].startswith(b":")] == [b"data: 1\n\n", b""]
    assert [message.get("more_body", False) for message in rest][-1] is False


async def test_what_is_sent_in_time_needs_no_comment() -> None:
    sent: asyncio.Queue[Message] = asyncio.Queue()
    stream = EventStream(sent.put, {}, heartbeat_seconds=60)
    async with stream.kept_alive():
        await stream.send("data: 1\n\n")
    await stream.end()

    assert [sent.get_nowait().get("body") for _ in range(3)] == [None, b"data: 1\n\n", b""]


async def test_whoever_hangs_up_is_noticed_and_nobody_is_watched_after_the_end() -> None:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    gone = asyncio.Event()
    async with told_when_gone(messages.get, gone.set):
        messages.put_nowait({"type": "http.disconnect"})
        await gone.wait()
    gone.clear()
    async with told_when_gone(messages.get, gone.set):
        pass
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.sleep(0)

    assert not gone.is_set()
