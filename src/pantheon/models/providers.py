"""Every provider of this installation: the demo, OpenRouter where it has a key, and those that the settings name."""

from typing import Self

from pantheon.errors import ModelNotFoundError
from pantheon.models.demo import DemoProvider
from pantheon.models.provider import HttpProvider, Limits, Provider, shared_client
from pantheon.settings import Settings


def provider_names(settings: Settings) -> list[str]:
    """Whose models can be called here."""
    openrouter = ["openrouter"] if settings.openrouter_api_key is not None else []
    return ["demo", *openrouter, *(told.name for told in settings.model_providers)]


class Providers:
    def __init__(self, settings: Settings, *, limits: Limits | None = None) -> None:
        self._client = shared_client(limits)
        self._by_name: dict[str, Provider] = {"demo": DemoProvider()}
        if settings.openrouter_api_key is not None:
            self._by_name["openrouter"] = HttpProvider(
                "openrouter",
                settings.openrouter_base_url,
                settings.openrouter_api_key,
                client=self._client,
                limits=limits,
            )
        for told in settings.model_providers:
            self._by_name[told.name] = HttpProvider(
                told.name,
                told.base_url,
                told.api_key,
                client=self._client,
                output_limit=told.output_limit,
                limits=limits,
            )

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def get(self, name: str) -> Provider:
        """Raises ModelNotFoundError."""
        if name not in self._by_name:
            raise ModelNotFoundError(f"The provider of this model, {name}, is not set up here. Choose another model.")
        return self._by_name[name]

    async def close(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
