"""One hold for a whole piece of work, in which its calls draw: the most that it may cost, or all that there is."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from pantheon import clock, ids
from pantheon.db.engine import Database
from pantheon.db.tables import wallets
from pantheon.errors import DatabaseBusyError, InsufficientCreditsError, OutsideError, WalletFrozenError
from pantheon.ledger.lanes import Lanes
from pantheon.money.amounts import format_credits
from pantheon.settings import Settings
from pantheon.turns.admit_call import Run
from pantheon.turns.enforcement import enforcement

_TRIES = 5
_PAUSE = 0.5


async def open_run(
    database: Database,
    settings: Settings,
    lanes: Lanes,
    *,
    user_id: UUID,
    cap: int,
    least: int,
    expires_at: datetime,
    top_up_url: str,
    abandon: Callable[[Run], None],
) -> Run | None:
    """Holds `cap` nanocredits, or all there is if that is at least `least`.

    None where work needs no credits, or may begin without any: then each call decides for itself. `abandon` gives back
    what may be held although nobody was told so. Raises InsufficientCreditsError, WalletFrozenError.
    """
    async with database.transaction() as tx:
        wallet_id = await tx.scalar(select(wallets.c.id).where(wallets.c.user_id == user_id))
        mode = (await enforcement(tx, settings)).mode
    assert wallet_id is not None
    if mode == "off":
        return None
    amount = cap
    for _ in range(_TRIES):
        run = Run(hold_id=ids.uuid7(), wallet_id=wallet_id, expires_at=expires_at)
        try:
            posting = await lanes.place_hold(
                wallet_id=wallet_id, hold_id=run.hold_id, amount=amount, expires_at=expires_at
            )
        except OutsideError:
            # It may have been set aside all the same, or will be.
            abandon(run)
            raise
        if posting.code in ("ok", "duplicate"):
            return run
        if posting.code == "wallet_not_active":
            raise WalletFrozenError
        in_debt = posting.expect("not_enough", "in_debt").code == "in_debt"
        amount = 0 if in_debt else posting.available
        if amount < least:
            if mode == "warn":
                return None
            raise InsufficientCreditsError(
                reason="in_debt" if in_debt else "insufficient_credits",
                available=format_credits(posting.available),
                required=format_credits(least),
                limit_source="wallet",
                top_up_url=top_up_url,
            )
        if amount == 0:
            return None
    raise DatabaseBusyError("Too much work shares this wallet just now. Please try again.", retry_after=1)


async def close_run(lanes: Lanes, run: Run) -> None:
    """Gives back what is left of it. Waits until its calls are settled; else the hold ends with its time."""
    while clock.now() < run.expires_at:
        try:
            posting = await lanes.release(wallet_id=run.wallet_id, hold_id=run.hold_id)
            if posting.code != "draws_open":
                return
        except OutsideError:
            pass
        await asyncio.sleep(_PAUSE)
