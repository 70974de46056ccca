"""What agents are told of a long conversation: nothing is lost silently, and the question never is."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from pydantic_ai.messages import ModelRequest, ModelResponse

from pantheon.ids import uuid7
from pantheon.models.tokens import most_text_tokens
from pantheon.workspace.conversation import Told, told_to
from pantheon.workspace.said import Said, Summary
from tests.installation import Installation
from tests.models.scripted_provider import streamed, whole
from tests.workspace.test_turns import heard, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]

ADA, BOB = uuid7(), uuid7()
LONG = "word " * 200


def said(turn: int, who: UUID | None, text: str) -> Said:
    return Said(turn, who, {ADA: "Ada", BOB: "Bob"}.get(who) if who else None, text)


def lines(told: Told) -> list[tuple[str, str]]:
    found = []
    for message in told.history:
        assert isinstance(message, ModelRequest | ModelResponse)
        [part] = message.parts
        found.append(("own" if isinstance(message, ModelResponse) else "user", str(getattr(part, "content", ""))))
    return [*found, ("user", told.prompt)]


def test_what_fits_is_told_whole_and_begins_with_a_persons_word() -> None:
    told = told_to(ADA, [said(0, None, "Hi"), said(0, ADA, "Yes."), said(1, None, "And?")], tokens=1000, summary=None)

    assert lines(told) == [("user", "Hi"), ("own", "Yes."), ("user", "And?")]
    assert told.left_out == []


def test_the_latest_is_told_and_the_rest_is_left_to_a_summary() -> None:
    words = [said(0, None, LONG), said(0, ADA, LONG), said(1, None, "And?")]
    told = told_to(ADA, words, tokens=most_text_tokens(LONG) + 100, summary=Summary(-1, "Before."))

    assert told.left_out == words[:1]
    assert lines(told)[0] == ("user", "[Summary of what was said before]\nBefore.")
    assert (lines(told)[1:], told.prompt) == ([("own", LONG), ("user", "And?")], "And?")


def test_the_question_is_never_crowded_out_by_what_others_answered() -> None:
    words = [
        said(0, None, "Before?"),
        said(1, None, "Why?"),
        said(1, ADA, LONG),
        said(1, ADA, LONG),
        said(1, ADA, LONG),
    ]
    told = told_to(BOB, words, tokens=2 * most_text_tokens(LONG) - 100, summary=None)

    [(role, text)] = lines(told)
    assert role == "user"
    assert text.startswith("Why?\n\n[Some of what agents said here is left out, because it is too long.]\n\n[Ada] word")
    assert text.count("[Ada]") == 1
    assert told.left_out == [words[0], *words[2:4]]
    assert told.tokens <= 2 * most_text_tokens(LONG) - 100


def test_many_short_words_are_summarised_too_and_not_forgotten() -> None:
    words = [said(turn, who, "x") for turn in range(300) for who in (None, ADA)]
    told = told_to(ADA, [*words, said(300, None, "And?")], tokens=10**6, summary=None)

    assert len(told.left_out) == 601 - 400
    assert told.left_out[0] == words[0]


async def test_each_word_that_is_left_out_is_read_by_whoever_summarises_it(install: Install) -> None:
    """With more to read than its model can take at once."""
    first, second = ("word " * 2500 + mark for mark in ("FIRST", "SECOND"))
    async with workplace(install, streamed("Noted.")) as w:
        session = await w.room("roundtable", "ada", "bob")
        # Bob can read both, and Ada, whose role is long, cannot.
        agents = [agent["id"] for agent in (await w.get("/agents")).json()["agents"] if agent["agent_key"] == "ada"]
        w.m.provider.scripts[:] = [streamed("Noted.")]
        await w.send(session, first)
        path = f"/api/v1/agents/{agents[0]}"
        role = "role " * 1200
        assert (await w.client.patch(path, json={"role_prompt": role}, headers=w.headers)).status_code == 200
        w.m.provider.asked.clear()
        w.m.provider.scripts[:] = [whole("Part one."), whole("All of it."), streamed("Yes.")]
        turn = (await w.send(session, second)).json()

        assert turn["status"] == "completed", turn
        calls = [heard(w.m, number) for number in range(len(w.m.provider.asked))]
        summaries = [call[-1][1] for call in calls if call[0][1].startswith("Summarise this")]
        assert len(summaries) == 2
        assert "".join(summaries).count("word ") == 2500 and "FIRST" in "".join(summaries)
        assert summaries[1].startswith("[Earlier] Part one.\n\n")
        assert "[Summary of what was said before]\nAll of it." in calls[2][1][1]
        assert len(turn["receipt_ids"]) == len(w.m.provider.asked)
        rows = w.m.installation.rows("SELECT through_turn_index, content FROM chat_summaries")
        assert rows == [{"through_turn_index": 0, "content": "All of it."}]
