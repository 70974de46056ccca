"""Server-sent events read from bytes, within a limit."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A carriage return at the very end of what was received may be half of a pair."""


class EventTooLargeError(Exception):
    pass


async def events(received: AsyncIterator[bytes], most: int) -> AsyncGenerator[tuple[str, bytes]]:
    """Name and data of each event that has data. Raises EventTooLargeError for one of more than `most` bytes."""
    name, size = "", 0
    data: list[bytes] = []
    async with aclosing(_lines(received, most)) as lines:
        async for line in lines:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                if data:
                    yield name, b"\n".join(data)
                name, data, size = "", [], 0
            elif field == b"data":
                size += len(value)
                if size > most:
                    raise EventTooLargeError
                data.append(value)
            elif field == b"event":
                name = value.decode(errors="replace")
    # An event whose blank line is missing is whole all the same where the server closed after its last line.
    if data:
        yield name, b"\n".join(data)


async def _lines(received: AsyncIterator[bytes], most: int) -> AsyncGenerator[bytes]:
    rest = bytearray()
    async for part in received:
        searched = max(0, len(rest) - 1)
        rest += part
        if _LINE_END.search(rest, searched) is not None:
            *lines, tail = _LINE_END.split(rest)
            for line in lines:
                yield bytes(line)
            rest = bytearray(tail)
        if len(rest) > most + 8:
            raise EventTooLargeError
    if rest:
        yield bytes(rest).rstrip(b"\r")
