"""Agents and rooms under OpenAI's API: they answer as a model does, and keep nothing of the conversation."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from tests.installation import Installation
from tests.models.scripted_provider import answered, streamed
from tests.workspace.test_turns import Workplace, heard, workplace

Install = Callable[..., AbstractAsyncContextManager[Installation]]


def client_of(w: Workplace) -> openai.AsyncOpenAI:
    token = w.headers["Authorization"].removeprefix("Bearer ")
    return openai.AsyncOpenAI(base_url=f"{w.m.installation.url}/v1", api_key=token, max_retries=0)


def conversation() -> list[Any]:
    return [
        {"role": "user", "content": "My name is Eve."},
        {"role": "assistant", "content": "Hello Eve."},
        {"role": "user", "content": "Who am I?"},
    ]


async def test_an_agent_answers_as_a_model(install: Install) -> None:
    async with workplace(install, streamed("You are ", "Eve.")) as w, client_of(w) as client:
        await w.agent("ada")
        answer = await client.chat.completions.create(model="agent/Ada", messages=conversation())

        assert answer.choices[0].message.content == "You are Eve."
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 3)
        assert answer.usage.model_extra == {"cost": 0.000000039}
        assert heard(w.m, 0)[1] == ("user", "[user] My name is Eve.\n\n[assistant] Hello Eve.\n\nWho am I?")
        assert w.m.balances == (10**6 - 39, 0)
        # The conversation is the caller's to keep.
        [agent] = (await w.get("/agents")).json()["agents"]
        assert (await w.get(f"/agents/{agent['id']}/sessions")).json()["total"] == 0


async def test_a_room_streams_what_each_of_its_agents_says(install: Install) -> None:
    async with workplace(install, streamed("One."), streamed("Two.")) as w, client_of(w) as client:
        await w.room("roundtable", "ada", "bob")
        [room] = w.m.installation.rows("SELECT id FROM rooms")
        stream = await client.chat.completions.create(
            model=f"room/{room['id']}",
            messages=conversation(),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "[Ada] One.\n\n[Bob] Two."
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 6
        assert w.m.balances == (10**6 - 78, 0)


async def test_who_is_not_there_and_what_agents_decide_for_themselves_is_refused(install: Install) -> None:
    async with workplace(install, streamed("x")) as w, client_of(w) as client:
        await w.agent("ada")
        for model in ("agent/nobody", "room/nowhere", "room/0197f0a0-0000-7000-8000-000000000000"):
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model=model, messages=conversation())
        with pytest.raises(openai.BadRequestError, match="temperature"):
            await client.chat.completions.create(model="agent/ada", messages=conversation(), temperature=0.5)
        with pytest.raises(openai.BadRequestError, match="last message"):
            await client.chat.completions.create(model="agent/ada", messages=conversation()[:2])
        assert w.m.provider.asked == []


async def test_an_agent_whose_model_fails_is_an_error_and_not_an_empty_answer(install: Install) -> None:
    async with workplace(install, answered({}, status=500)) as w, client_of(w) as client:
        await w.agent("ada")
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError, match="cannot be reached"):
                await client.chat.completions.create(model="agent/ada", messages=conversation(), stream=stream)
