"""Calls that were made and settled, at any time: the books of the test's own database are told what time it is."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from pantheon import clock
from pantheon.db.tables import calls
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.chart import Kind
from pantheon.money.rate_card import Usage, charge
from pantheon.turns.admit_call import LONGEST_CALL, Call
from pantheon.turns.enforcement import Mode
from pantheon.turns.fund_call import Funds
from pantheon.turns.rate_cards import view_rate_card
from pantheon.turns.settle_call import settlement
from pantheon.turns.spender import Spender
from tests.installation import Installation, Person

CREDIT = 10**9

_CLOCK = (
    "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE"
    " SET search_path = public, pg_temp AS $$ SELECT {} $$"
)


def set_books_clock(installation: Installation, at: datetime | None) -> None:
    """From now on the ledger writes this time; with None the right one again."""
    installation.execute(_CLOCK.format("clock_timestamp()" if at is None else f"'{at.isoformat()}'::timestamptz"))


def wallet_of(installation: Installation, person: Person) -> UUID:
    [wallet] = installation.rows("SELECT id FROM wallets WHERE user_id = %s", person.id)
    return UUID(str(wallet["id"]))


async def fund(installation: Installation, person: Person, credits: int, **changes: Any) -> UUID:
    """The id of the grant."""
    arguments: dict[str, Any] = {
        "kind": Kind.TOP_UP_GRANT,
        "reference_id": f"ref_{uuid7().hex}",
        "source": "top_up",
        "category": "paid",
    }
    async with installation.runtime.database.transaction() as tx:
        granted = await post.grant(
            tx,
            wallet_id=wallet_of(installation, person),
            grant_id=uuid7(),
            amount=credits * CREDIT,
            **arguments | changes,
        )
    assert granted.expect("ok").grant_id is not None
    return granted.grant_id


async def use(
    installation: Installation,
    person: Person,
    usage: Usage,
    *,
    model: str = "gpt-4o",
    drawn: int | None = None,
    mode: Mode = "enforce",
    provider_cost: int | None = None,
    at: datetime | None = None,
    **spender: UUID,
) -> UUID:
    """A call that was begun, drew what it needed (or `drawn` nanocredits) and was settled. Its id is its receipt's.

    With `at` the clock of the books stays at that time.
    """
    database = installation.runtime.database
    card = await view_rate_card(database)
    found = card.find(model)
    assert found is not None
    call = Call(
        id=uuid7(),
        spender=Spender(user_id=person.id, **spender),
        wallet_id=wallet_of(installation, person),
        mode=mode,
        card_version=card.version,
        model=found,
        input_counted=usage.input,
        input_most=usage.input,
        max_output=usage.output,
        run=None,
        started_at=at or clock.now(),
    )
    amount = charge(found.rate, usage).total if drawn is None else drawn
    settled = settlement(call, Funds(amount, usage.output), usage, "provider", provider_cost=provider_cost)
    if at is not None:
        set_books_clock(installation, at)
    async with database.transaction() as tx:
        await tx.execute(insert(calls).values(_row(call)))
        if amount == 0 or mode == "off":
            beyond = settled.used if mode != "off" else 0
            unfunded = await post.settle_unfunded(
                tx, wallet_id=call.wallet_id, call_id=call.id, beyond=beyond, receipt=settled.receipt
            )
            unfunded.expect("ok")
            return call.id
        ends = call.started_at + LONGEST_CALL
        hold = await post.place_hold(tx, wallet_id=call.wallet_id, hold_id=call.id, amount=amount, expires_at=ends)
        hold.expect("ok")
        (await post.draw(tx, hold_id=call.id, draw_id=call.id, amount=amount)).expect("ok")
        (await post.settle(tx, draw_id=call.id, used=settled.used, receipt=settled.receipt)).expect("ok")
    return call.id


def _row(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "user_id": call.spender.user_id,
        "wallet_id": call.wallet_id,
        "hold_id": call.hold_id,
        "api_key_id": call.spender.api_key_id,
        "turn_id": call.spender.turn_id,
        "agent_id": call.spender.agent_id,
        "room_id": call.spender.room_id,
        "model_alias": call.model.alias,
        "rate_card_version": call.card_version,
        "enforcement": call.mode,
        "input_counted": call.input_counted,
        "max_output": call.max_output,
        "state": "settled",
        "outcome": "completed",
        "started_at": call.started_at,
        "expires_at": call.expires_at,
        "ended_at": call.started_at,
    }
