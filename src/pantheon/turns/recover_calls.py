"""Ends calls whose process died or lost its way: what is known of them is settled, and the rest goes back.

Runs before the holds of such calls expire, so what their people were given is paid for out of what was set aside.
"""

from uuid import UUID

import structlog
from sqlalchemy import Row, exists, func, select, update

from pantheon import clock, failpoints, metrics
from pantheon.db.engine import Database, Tx
from pantheon.db.tables import calls, draws, receipts
from pantheon.errors import DatabaseBusyError
from pantheon.ledger import post
from pantheon.money.rate_card import Usage
from pantheon.turns.admit_call import Call, Run
from pantheon.turns.fund_call import Funds
from pantheon.turns.rate_cards import model_of_version
from pantheon.turns.settle_call import count_credits, settlement
from pantheon.turns.spender import Spender
from pantheon.wallets.notice_balance import notice_balance

_BATCH = 200

_logger = structlog.get_logger(__name__)


async def recover_calls(database: Database) -> int:
    """Answers how many were ended."""
    async with database.transaction() as tx:
        due = select(calls.c.id).where(calls.c.state == "open", calls.c.expires_at <= clock.now())
        ids = list(await tx.scalars(due.order_by(calls.c.expires_at).limit(_BATCH)))
    failpoints.reach("recovery.found")
    recovered = 0
    for call_id in ids:
        # A transaction each: a locked wallet, or a call that cannot be ended, keeps no other waiting.
        try:
            async with database.transaction() as tx:
                recovered += await recover_call(tx, call_id)
        except DatabaseBusyError:
            pass
        except Exception as error:
            _logger.error("call_not_recovered", call_id=str(call_id), exc_info=error)
    return recovered


async def recover_call(tx: Tx, call_id: UUID) -> bool:
    """Whether it was still open, and nobody else is ending it."""
    query = select(calls).where(calls.c.id == call_id, calls.c.state == "open").with_for_update(skip_locked=True)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        return False
    if not await _has_receipt(tx, call_id):
        await _end(tx, row)
    failpoints.reach("recovery.posted")
    # Only now: its own process may have been faster while this one waited for the wallet.
    state = "settled" if await _has_receipt(tx, call_id) else "released"
    await tx.execute(
        update(calls).where(calls.c.id == call_id).values(state=state, outcome="recovered", ended_at=func.now())
    )
    if state == "settled":
        await notice_balance(tx, row.wallet_id)
    failpoints.reach("recovery.recorded")
    metrics.CALLS.labels("recovered").inc()
    return True


async def _has_receipt(tx: Tx, call_id: UUID) -> bool:
    return bool(await tx.scalar(select(exists().where(receipts.c.id == call_id))))


async def _end(tx: Tx, row: Row[tuple[object, ...]]) -> None:
    """Settles what was delivered by our own count, where anything was."""
    call = await _call(tx, row)
    drawn = int(await tx.scalar(select(draws.c.amount).where(draws.c.id == call.id, draws.c.state == "open")) or 0)
    if row.delivered_output > 0:
        usage = Usage(input=call.input_counted, output=row.delivered_output)
        settled = settlement(call, Funds(drawn, call.max_output), usage, "estimated")
        if drawn:
            posting = await post.settle(tx, draw_id=call.id, used=settled.used, receipt=settled.receipt)
        else:
            beyond = 0 if call.mode == "off" else settled.used
            posting = await post.settle_unfunded(
                tx, wallet_id=call.wallet_id, call_id=call.id, beyond=beyond, receipt=settled.receipt
            )
        # What else there is, such as a hold that expired this moment, is another case for the next run.
        if posting.expect("ok", "duplicate", "conflict").code == "ok":
            count_credits(call, used=settled.used, charged=settled.charged)
    elif drawn:
        await post.capture(tx, draw_id=call.id, used=0)
    if call.run is None:
        await post.release(tx, hold_id=call.hold_id)


async def _call(tx: Tx, row: Row[tuple[object, ...]]) -> Call:
    model = await model_of_version(tx, row.rate_card_version, row.model_alias)
    own_hold = row.hold_id == row.id
    return Call(
        id=row.id,
        spender=Spender(
            user_id=row.user_id,
            api_key_id=row.api_key_id,
            agent_id=row.agent_id,
            room_id=row.room_id,
            turn_id=row.turn_id,
        ),
        wallet_id=row.wallet_id,
        mode=row.enforcement,
        card_version=row.rate_card_version,
        model=model,
        input_counted=row.input_counted,
        input_most=row.input_counted,
        max_output=row.max_output,
        run=None if own_hold else Run(hold_id=row.hold_id, wallet_id=row.wallet_id, expires_at=row.expires_at),
        started_at=row.started_at,
    )
