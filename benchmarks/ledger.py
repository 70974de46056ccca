"""One paid call in the books: a hold, a draw inside it and its capture, which uses all of it and so ends the hold.

Two transfers and two grant moves, with every constraint, the hash chain, and grants to burn down.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from random import randint
from uuid import UUID

from benchmarks.database import wallet_id
from benchmarks.rounds import Sample, run_callers
from pantheon.ids import uuid7
from pantheon.ledger.lanes import Lanes

AMOUNT = 1000


async def hold(lanes: Lanes, wallet: UUID) -> UUID:
    """Holds and draws; the id of the draw, which is that of the hold."""
    id_ = uuid7()
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    # As the product's calls do it: both at once, which a lane does in this order and in one commit.
    holding = lanes.place_hold(wallet_id=wallet, hold_id=id_, amount=AMOUNT, expires_at=expires_at)
    drawing = lanes.draw(wallet_id=wallet, hold_id=id_, draw_id=id_, amount=AMOUNT)
    for posting in await asyncio.gather(holding, drawing):
        posting.expect("ok")
    return id_


async def settle(lanes: Lanes, wallet: UUID, draw_id: UUID) -> None:
    (await lanes.capture(wallet_id=wallet, draw_id=draw_id, used=AMOUNT)).expect("ok")


async def pairs(lanes: Lanes, *, callers: int, wallets: int, seconds: float) -> Sample:
    """Pairs of hold and capture by `callers` tasks; `wallets=1` is one hot wallet."""

    async def pair(_: int) -> None:
        wallet = wallet_id(randint(1, wallets))
        await settle(lanes, wallet, await hold(lanes, wallet))

    return await run_callers(pair, callers=callers, seconds=seconds)
