"""Sets aside what a call can cost at most, before anybody is asked. Short funds make the answer shorter, or stop it."""

import asyncio
from dataclasses import dataclass

from pantheon.errors import ConflictError, DatabaseBusyError, InsufficientCreditsError, PantheonError, WalletFrozenError
from pantheon.ledger.lanes import Lanes
from pantheon.ledger.post import Posting
from pantheon.money.amounts import MAX_NANOCREDITS, format_credits
from pantheon.money.rate_card import affordable_output, most
from pantheon.turns.admit_call import Call

_TRIES = 8
"""Other calls take and give back meanwhile, so what one try was told may have gone when the next comes."""


@dataclass(frozen=True)
class Funds:
    drawn: int
    """Nanocredits that are reserved for this call; 0 where it is free, or runs at the operator's cost."""
    max_output: int
    """Tokens: what was asked for, or less where that was not affordable."""


@dataclass(frozen=True)
class _Refusal:
    posting: Posting
    left: int
    """What could be had instead of the amount."""
    by_limit: bool = False


async def fund_call(lanes: Lanes, call: Call, *, top_up_url: str) -> Funds:
    """Raises InsufficientCreditsError, WalletFrozenError, ConflictError: then nothing stays set aside."""
    if call.mode == "off":
        return Funds(0, call.max_output)
    held = call.run is not None
    output = call.max_output
    amount = needed = _needed(call, output)
    if needed == 0:
        return Funds(0, output)
    for _ in range(_TRIES):
        held, refusal = await _try(lanes, call, amount, held=held)
        if refusal is None:
            return Funds(amount, output)
        if call.mode == "warn" and not refusal.by_limit:
            # The answer stays as long as it was asked for: what the wallet lacks is the operator's.
            amount = refusal.left
            if amount == 0:
                return Funds(0, output)
            continue
        output = affordable_output(
            call.model.rate, funds=refusal.left, input_tokens=call.input_most, at_most=call.max_output
        )
        if output < call.least_output:
            await _let_go(lanes, call, held)
            raise _insufficient(call, refusal, needed, top_up_url)
        amount = _needed(call, output)
    await _let_go(lanes, call, held)
    raise DatabaseBusyError("Too many calls share this wallet just now. Please try again.", retry_after=1)


async def _try(lanes: Lanes, call: Call, amount: int, *, held: bool) -> tuple[bool, _Refusal | None]:
    """Whether there is a hold now, and what refused the draw inside it."""
    drawing = lanes.draw(
        wallet_id=call.wallet_id,
        hold_id=call.hold_id,
        draw_id=call.id,
        amount=amount,
        scopes=call.spender.scopes(call.model.alias),
    )
    if held:
        drawn = await drawing
    else:
        holding = lanes.place_hold(
            wallet_id=call.wallet_id, hold_id=call.hold_id, amount=amount, expires_at=call.hold_expires_at
        )
        # In this order in one lane, and so in one commit.
        placed, drawn = await asyncio.gather(holding, drawing)
        if placed.code not in ("ok", "duplicate"):
            return False, _refused_hold(placed)
    return True, None if drawn.code in ("ok", "duplicate") else _refused_draw(drawn)


def _refused_hold(posting: Posting) -> _Refusal:
    if posting.code == "wallet_not_active":
        raise WalletFrozenError
    return _Refusal(posting.expect("not_enough", "in_debt"), posting.available if posting.code == "not_enough" else 0)


def _refused_draw(posting: Posting) -> _Refusal:
    if posting.code == "wallet_not_active":
        raise WalletFrozenError
    if posting.code == "hold_ended":
        raise ConflictError("The time of this run is over. Send another message to go on.")
    by_limit = posting.code.startswith("over_limit:")
    return _Refusal(posting if by_limit else posting.expect("not_enough"), posting.amount, by_limit)


async def _let_go(lanes: Lanes, call: Call, held: bool) -> None:
    if held and call.run is None:
        await lanes.release(wallet_id=call.wallet_id, hold_id=call.hold_id)


def _needed(call: Call, output: int) -> int:
    # No wallet has more than the ledger can move at once.
    return min(MAX_NANOCREDITS, most(call.model.rate, input_tokens=call.input_most, max_output_tokens=output))


def _insufficient(call: Call, refusal: _Refusal, needed: int, top_up_url: str) -> PantheonError:
    """Says what is short, and of whom: the wallet, the run, or the tightest limit."""
    code, _, limit = refusal.posting.code.partition(":")
    scope, _, period = limit.partition(":")
    in_run = call.run is not None and code == "not_enough"
    # With what other calls hold this one would fit, and some of that comes back when they end.
    waits = code == "not_enough" and not in_run and refusal.posting.available + refusal.posting.held >= needed
    return InsufficientCreditsError(
        "What was set aside for this run is used up. Send another message to go on."
        if in_run
        else (f"The {_OF[scope]} has a limit for the {_FOR[period]} that does not allow this call." if limit else None),
        retry_after=2 if waits else None,
        reason={"not_enough": "insufficient_credits"}.get(code, code),
        available=format_credits(refusal.left),
        required=format_credits(needed),
        limit_source="run" if in_run else scope or "wallet",
        top_up_url=top_up_url,
        **({"limit_period": period} if limit else {}),
    )


_OF = {"wallet": "wallet", "api_key": "API key", "agent": "agent", "room": "room", "model": "model"}
_FOR = {"day": "day", "month": "month", "total": "whole time"}
