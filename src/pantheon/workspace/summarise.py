"""The beginning of a long conversation in short, by the model that cannot read it any more. Metered like the rest."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from pydantic_ai import Agent
from pydantic_ai.settings import ModelSettings
from sqlalchemy.dialects.postgresql import insert

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import chat_summaries
from pantheon.models.tokens import most_text_tokens
from pantheon.turns.metered_model import MeteredModel
from pantheon.workspace.said import Said, Summary

_AGENT: Agent[None, str] = Agent(
    instructions="Summarise this conversation for somebody who goes on with it: what was asked, found, decided and "
    "left open, with names and figures. Do not add anything. At most 400 words."
)
_MOST_OUTPUT = 800
_LEAST_READ = 500
"""Tokens of new words in each summary, however long the one before it is."""


async def summarise(
    database: Database,
    model: MeteredModel,
    *,
    session_id: UUID,
    before: Summary | None,
    left_out: Sequence[Said],
    tokens: int,
) -> Summary:
    """Of `before` and of all that was left out since, in as many steps as it takes. Stored for all who come later.

    Each step that comes to the end of a turn is stored by itself, so that no work is done twice.
    """
    text = before.text if before else None
    last = left_out[-1].turn_index
    waiting = [piece for each in left_out for piece in _pieces(each, max(_LEAST_READ, tokens // 2))]
    while waiting:
        room = max(_LEAST_READ, tokens - (most_text_tokens(text) if text else 0))
        part = list(_fitting(waiting, room))
        waiting = waiting[len(part) :]
        told = [f"[Earlier] {text}"] if text else []
        told += [f"[{each.name or 'Person'}] {each.text}" for each in part]
        result = await _AGENT.run("\n\n".join(told), model=model, model_settings=ModelSettings(max_tokens=_MOST_OUTPUT))
        text = result.output
        done = waiting[0].turn_index - 1 if waiting else last
        if done >= part[0].turn_index:
            await _store(database, session_id, Summary(done, text))
    assert text is not None
    return Summary(last, text)


def _fitting(said: Sequence[Said], tokens: int) -> Iterator[Said]:
    """The first of them that are within `tokens`, and one at the least."""
    left = tokens
    for n, each in enumerate(said):
        left -= most_text_tokens(each.text) + most_text_tokens(each.name or "Person") + 8
        if left < 0 and n > 0:
            return
        yield each


def _pieces(said: Said, tokens: int) -> list[Said]:
    """What is too long to be read at once is taken apart."""
    if most_text_tokens(said.text) <= tokens:
        return [said]
    # Not within a word or a figure, where there is a space.
    middle = said.text.rfind(" ", 0, len(said.text) // 2) + 1 or len(said.text) // 2
    halves = (replace(said, text=said.text[:middle]), replace(said, text=said.text[middle:]))
    return [piece for half in halves for piece in _pieces(half, tokens)]


async def _store(database: Database, session_id: UUID, summary: Summary) -> None:
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
