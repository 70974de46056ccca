"""What a message would cost at most, before it is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from pantheon.db.engine import Database
from pantheon.db.tables import wallets
from pantheon.models.tokens import most_text_tokens
from pantheon.money.rate_card import most
from pantheon.settings import Settings
from pantheon.workspace.said import said_before
from pantheon.workspace.start_turn import plan_turn
from pantheon.workspace.transcript import TurnMode
from pantheon.workspace.turn import MOST_OUTPUT, Member

_ANY_TURN = 2**31 - 1


@dataclass(frozen=True)
class Estimate:
    """Amounts in nanocredits."""

    mode: TurnMode
    roster: Sequence[Member]
    most: int
    """If every agent answered once, at full length; never more than the cap."""
    cap: int
    available: int


async def estimate_turn(
    database: Database, settings: Settings, *, user_id: UUID, session_id: UUID, message: str
) -> Estimate:
    """Raises what `plan_turn` raises."""
    async with database.transaction() as tx:
        plan = await plan_turn(tx, user_id, session_id, message, None)
        summary, said = await said_before(tx, session_id, _ANY_TURN)
        available = await tx.scalar(select(wallets.c.available).where(wallets.c.user_id == user_id))
        texts = [message, *(each.text for each in said), *([summary.text] if summary else [])]
        heard = sum(map(most_text_tokens, texts))
        total = 0
        for member in plan.roster:
            said_at_most = min(MOST_OUTPUT, member.max_output_tokens)
            read = min(heard + most_text_tokens(member.role_prompt), member.context_tokens)
            total += most(member.rate, input_tokens=read, max_output_tokens=said_at_most)
            heard += said_at_most
    cap = settings.turn_cap_nanocredits
    return Estimate(plan.mode, plan.roster, min(total, cap), cap, available or 0)
