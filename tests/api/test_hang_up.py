"""Clients that hang up."""

import asyncio
from urllib.parse import urlsplit

from structlog.testing import capture_logs

from tests.installation import Installation, eventually


async def test_who_hangs_up_before_the_request_is_whole_is_no_error_of_ours(installation: Installation) -> None:
    address = urlsplit(installation.url)
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

        async def over() -> bool:
            return any(line["event"] == "request" for line in logs)

        await eventually(over)
    assert [line["event"] for line in logs if line["log_level"] in ("warning", "error")] == []
