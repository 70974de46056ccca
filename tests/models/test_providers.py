"""Which providers an installation has."""

import json

import pytest

from pantheon.errors import NotFoundError
from pantheon.models.providers import Providers
from pantheon.settings import load
from tests.models.scripted_provider import ScriptedProvider, serving, whole


async def test_the_demo_is_always_there_and_the_others_where_they_are_set() -> None:
    async with Providers(load(_env_file=None, app_env="local")) as bare:
        assert bare.names == ["demo"]
        with pytest.raises(NotFoundError):
            bare.get("openrouter")
    settings = load(
        _env_file=None, app_env="local", openrouter_api_key="k", model_providers="own=http://127.0.0.1:1/v1"
    )
    async with Providers(settings) as providers:
        assert providers.names == ["demo", "openrouter", "own"]


async def test_openrouter_is_called_with_its_key_at_its_address() -> None:
    async with serving(ScriptedProvider(whole("Hello"))) as upstream:
        settings = load(_env_file=None, app_env="local", openrouter_api_key="k-1", openrouter_base_url=upstream.url)
        async with Providers(settings) as providers:
            answer = await providers.get("openrouter").complete({"model": "maker/model", "messages": []})

    assert answer.body["choices"][0]["message"]["content"] == "Hello"
    assert upstream.asked[0].headers["authorization"] == "Bearer k-1"


async def test_the_limit_of_the_output_has_the_name_that_the_provider_takes() -> None:
    async with serving(ScriptedProvider(whole("Hello"))) as upstream:
        told = json.dumps([{"name": "own", "base_url": upstream.url, "output_limit": "max_completion_tokens"}])
        async with Providers(load(_env_file=None, app_env="local", model_providers=told)) as providers:
            for named in ("max_tokens", "max_completion_tokens"):
                await providers.get("own").complete({"model": "m", "messages": [], named: 9})

    assert [set(asked.body) for asked in upstream.asked] == [
        {"model", "messages", "stream", "max_completion_tokens"}
    ] * 2
