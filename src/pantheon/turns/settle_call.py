"""What a call cost, once it has ended: its receipt, and the posting that takes the credits."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pantheon import metrics
from pantheon.errors import OutsideError
from pantheon.ledger.lanes import Lanes
from pantheon.models.provider import Attempt
from pantheon.money.amounts import NANOCREDITS
from pantheon.money.rate_card import Charge, Usage, charge, cost
from pantheon.turns.admit_call import Call
from pantheon.turns.fund_call import Funds

Quality = Literal["provider", "provider_partial", "estimated"]
StoppedBy = Literal["caller", "credit_limit", "provider", "time_limit", "shutdown"]

_PAUSES = (0.2, 0.5, 1, 2)
"""Seconds between tries to reach the database; the last one is repeated."""


@dataclass(frozen=True, kw_only=True)
class Settlement:
    usage: Usage
    quality: Quality
    charge: Charge
    charged: int
    """Nanocredits that the wallet pays: at most what was drawn."""
    receipt: dict[str, Any]

    @property
    def used(self) -> int:
        return self.charge.total


def settlement(
    call: Call,
    funds: Funds,
    usage: Usage,
    quality: Quality,
    *,
    provider_cost: int | None = None,
    stopped_by: StoppedBy | None = None,
    attempts: Iterable[Attempt] = (),
) -> Settlement:
    """`provider_cost` is in nano-dollars, where the provider names it."""
    charged_for = charge(call.model.rate, usage)
    charged = 0 if call.mode == "off" else min(charged_for.total, funds.drawn)
    lines: list[dict[str, Any]] = [asdict(line) for line in charged_for.lines]
    if charged < charged_for.total:
        meter = "enforcement_off" if call.mode == "off" else "operator_overrun"
        difference = charged - charged_for.total
        lines.append({"meter": meter, "quantity": 1, "unit_price": 0, "amount": difference})
    listed = cost(call.model.rate, usage)
    receipt = {
        "model_alias": call.model.alias,
        "rate_card_version": call.card_version,
        "quality": quality,
        "usage": asdict(usage),
        "lines": lines,
        "provider_cost": listed if provider_cost is None else provider_cost,
        "provider_cost_source": "provider"
        if provider_cost is not None
        else "rate_card"
        if listed is not None
        else None,
        "scopes": call.spender.scopes(call.model.alias),
        "stopped_by": stopped_by,
        "attempts": [asdict(attempt) for attempt in attempts],
    }
    return Settlement(usage=usage, quality=quality, charge=charged_for, charged=charged, receipt=receipt)


async def settle_call(lanes: Lanes, call: Call, funds: Funds, settled: Settlement) -> None:
    """Takes what was used, and gives back the rest of the call's own hold.

    Waits for a database that is away, since nobody else knows the usage. Where the recovery was faster, that stays.
    """
    for pause in _pauses():
        try:
            if not funds.drawn:
                await _settle_unfunded(lanes, call, settled, settled.receipt)
                count_credits(call, used=settled.used, charged=0)
            elif (code := await _settle(lanes, call, settled)) == "draw_ended":
                await _settle_unfunded(lanes, call, settled, _at_operators_cost(settled))
                count_credits(call, used=settled.used, charged=0)
            elif code != "conflict":
                count_credits(call, used=settled.used, charged=settled.charged)
            return
        except OutsideError:
            await asyncio.sleep(pause)


def count_credits(call: Call, *, used: int, charged: int) -> None:
    """For Prometheus, which knows no integers of this size. The books are the truth."""
    metrics.CREDITS_CHARGED.inc(charged / NANOCREDITS)
    if call.mode != "off":
        metrics.CREDITS_OVERRUN.inc((used - charged) / NANOCREDITS)


async def _settle(lanes: Lanes, call: Call, settled: Settlement) -> str:
    taking = lanes.settle(wallet_id=call.wallet_id, draw_id=call.id, used=settled.used, receipt=settled.receipt)
    if call.run is not None:
        posting = await taking
    else:
        # In this order in one lane, and so in one commit.
        releasing = lanes.release(wallet_id=call.wallet_id, hold_id=call.hold_id)
        posting, _ = await asyncio.gather(taking, releasing)
    return posting.expect("ok", "duplicate", "conflict", "draw_ended").code


async def _settle_unfunded(lanes: Lanes, call: Call, settled: Settlement, receipt: Mapping[str, Any]) -> None:
    beyond = 0 if call.mode == "off" else settled.used
    posting = await lanes.settle_unfunded(wallet_id=call.wallet_id, call_id=call.id, beyond=beyond, receipt=receipt)
    posting.expect("ok", "duplicate")


async def abandon_call(lanes: Lanes, call: Call) -> None:
    """Ends a call that used nothing: all that was set aside for it goes back."""
    for pause in _pauses():
        try:
            await lanes.capture(wallet_id=call.wallet_id, draw_id=call.id, used=0)
            if call.run is None:
                await lanes.release(wallet_id=call.wallet_id, hold_id=call.hold_id)
            return
        except OutsideError:
            await asyncio.sleep(pause)


def _at_operators_cost(settled: Settlement) -> dict[str, Any]:
    """The hold expired first, so nothing of it can be taken any more."""
    lines = [line for line in settled.receipt["lines"] if line["amount"] >= 0]
    lines.append({"meter": "operator_overrun", "quantity": 1, "unit_price": 0, "amount": -settled.used})
    return settled.receipt | {"lines": lines}


def _pauses() -> Iterable[float]:
    yield from _PAUSES
    while True:
        yield _PAUSES[-1]
