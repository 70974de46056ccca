"""Two small applications that hold and settle over HTTP, served as the product is. Only for the benchmark.

`ledger` is a lean route over the lanes: one parse, a hand-made answer. `for_update` is the same with the ORM pattern.
Run: python -m benchmarks.http_app 8001 ledger postgresql://…
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from benchmarks import ledger
from benchmarks.database import wallet_id
from benchmarks.peers import AMOUNT, Movement, Wallet
from pantheon.api.server import bind, serving
from pantheon.db.engine import sqlalchemy_url
from pantheon.ledger.lanes import Lanes

Hold = Callable[[int], Awaitable[str]]
Settle = Callable[[int, str], Awaitable[None]]


def app_over(hold: Hold, settle: Settle) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.post("/hold")
    async def post_hold(request: Request) -> Response:
        asked = json.loads(await request.body())
        return Response(b'{"id":"%s"}' % (await hold(asked["wallet"])).encode(), 201, media_type="application/json")

    @app.post("/settle")
    async def post_settle(request: Request) -> Response:
        asked = json.loads(await request.body())
        await settle(asked["wallet"], asked["id"])
        return Response(b'{"status":"settled"}', media_type="application/json")

    return app


@asynccontextmanager
async def over_ledger(url: str) -> AsyncIterator[FastAPI]:
    async with Lanes(url) as lanes:

        async def hold(wallet: int) -> str:
            return str(await ledger.hold(lanes, wallet_id(wallet)))

        async def settle(wallet: int, draw_id: str) -> None:
            await ledger.settle(lanes, wallet_id(wallet), UUID(draw_id))

        yield app_over(hold, settle)


@asynccontextmanager
async def over_for_update(url: str) -> AsyncIterator[FastAPI]:
    engine = create_async_engine(sqlalchemy_url(url), pool_size=20, max_overflow=0, pool_timeout=60)

    async def move(wallet_number: int, kind: str, available: int, held: int) -> str:
        async with AsyncSession(engine) as session, session.begin():
            wallet = (await session.scalars(select(Wallet).where(Wallet.id == wallet_number).with_for_update())).one()
            wallet.balance += available
            wallet.held += held
            movement = Movement(wallet_id=wallet_number, kind=kind, amount=AMOUNT)
            session.add(movement)
            await session.flush()
            return str(movement.id)

    async def hold(wallet: int) -> str:
        return await move(wallet, "hold", -AMOUNT, AMOUNT)

    async def settle(wallet: int, _: str) -> None:
        await move(wallet, "settle", 0, -AMOUNT)

    try:
        yield app_over(hold, settle)
    finally:
        await engine.dispose()


async def main(port: int, pattern: str, url: str) -> None:
    apps = {"ledger": over_ledger, "for_update": over_for_update}
    async with apps[pattern](url) as app, serving(app, bind("127.0.0.1", port)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
