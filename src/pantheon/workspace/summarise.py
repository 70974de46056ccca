"""The beginning of a long conversation in short, by the model that cannot read it any more. Metered like the rest."""

from collections.abc import Sequence
from uuid import UUID

from pydantic_ai import Agent
from pydantic_ai.settings import ModelSettings
from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import chat_summaries
from pantheon.turns.metered_model import MeteredModel
from pantheon.workspace.said import Said, Summary

_AGENT: Agent[None, str] = Agent(
    instructions="Summarise this conversation for somebody who goes on with it: what was asked, found, decided and "
    "left open, with names and figures. Do not add anything. At most 400 words."
)
_MOST_OUTPUT = 800


async def summarise(
    database: Database,
    model: MeteredModel,
    *,
    session_id: UUID,
    before: Summary | None,
    left_out: Sequence[Said],
    most_characters: int,
) -> Summary:
    """Of `before` and what was left out since. Stored for all who come later."""
    parts = [f"[Earlier] {before.text}"] if before else []
    parts += [f"[{each.name or 'Person'}] {each.text}" for each in left_out]
    # A word that is too long for the model by itself can only be cut.
    result = await _AGENT.run(
        "\n\n".join(parts)[-most_characters:], model=model, model_settings=ModelSettings(max_tokens=_MOST_OUTPUT)
    )
    summary = Summary(max(each.turn_index for each in left_out), result.output)
    async with database.transaction() as tx:
        await tx.execute(
            insert(chat_summaries)
            .values(
                session_id=session_id,
                through_turn_index=summary.through_turn_index,
                content=summary.text,
                created_at=clock.now(),
            )
            .on_conflict_do_nothing()
        )
    return summary
