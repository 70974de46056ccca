"""A small generator of load: HTTP/1.1 over kept connections, each with one request under way, and nothing else.

Run: python -m benchmarks.http_load PORT CONNECTIONS SECONDS WALLETS; it prints a Sample as JSON.
"""

import asyncio
import json
import sys
import time
from random import randint


class Connection(asyncio.Protocol):
    """Understands as much of HTTP as our own server sends: a head with a Content-Length, then the body."""

    def __init__(self) -> None:
        self.received = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if not gap:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self.answer is not None:
            self.received = b""
            self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the server hung up"))

    async def post(self, path: str, body: bytes, headers: str = "") -> tuple[int, bytes]:
        self.answer = asyncio.get_running_loop().create_future()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.transport.write(head.encode() + body)
        return await self.answer


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def load(port: int, *, connections: int, seconds: float, wallets: int) -> dict[str, object]:
    latencies: list[float] = []
    begun = time.perf_counter()

    async def keep_going() -> None:
        connection = await connect(port)
        while (start := time.perf_counter()) < begun + seconds:
            wallet = randint(1, wallets)
            status, body = await connection.post("/hold", b'{"wallet":%d}' % wallet)
            assert status == 201, body
            held = json.loads(body)["id"]
            status, body = await connection.post("/settle", b'{"wallet":%d,"id":"%s"}' % (wallet, held.encode()))
            assert status == 200, body
            latencies.append(time.perf_counter() - start)
        connection.transport.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(keep_going())
    return {"count": len(latencies), "seconds": time.perf_counter() - begun, "latencies": latencies}


if __name__ == "__main__":
    port, connections, seconds, wallets = sys.argv[1:]
    found = load(int(port), connections=int(connections), seconds=float(seconds), wallets=int(wallets))
    print(json.dumps(asyncio.run(found)))
