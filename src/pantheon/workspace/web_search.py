"""Search in the web for agents, through Tavily's API, or in a local installation through a stand-in that says so."""

from dataclasses import dataclass
from json import JSONDecodeError
from typing import Protocol

import httpx2

from pantheon.settings import Settings

_SECONDS = 15
_MOST_RESULTS = 5
_MOST_CHARACTERS = 1500
"""Of one result: what is read costs tokens."""


@dataclass(frozen=True)
class Found:
    title: str
    url: str
    text: str


class SearchFailedError(Exception):
    """Told to the agent, which can go on without."""


class WebSearch(Protocol):
    async def search(self, query: str) -> list[Found]:
        """Raises SearchFailedError."""
        ...

    async def close(self) -> None: ...


def web_search(settings: Settings) -> WebSearch | None:
    """None where nothing is set up: then agents are told so."""
    if settings.tavily_api_key is not None:
        return Tavily(settings.tavily_base_url, settings.tavily_api_key.get_secret_value())
    return DemoSearch() if settings.app_env == "local" else None


class Tavily:
    def __init__(self, base_url: str, key: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=_SECONDS, follow_redirects=False
        )

    async def search(self, query: str) -> list[Found]:
        asked = {"query": query[:400], "max_results": _MOST_RESULTS, "search_depth": "basic"}
        try:
            answer = await self._client.post("/search", json=asked)
            results = answer.json()["results"] if answer.status_code == 200 else None
            if results is None:
                raise SearchFailedError(f"The search engine answered {answer.status_code}.")
            return [Found(str(r["title"]), str(r["url"]), str(r["content"])[:_MOST_CHARACTERS]) for r in results]
        except httpx2.HTTPError:
            raise SearchFailedError("The search engine cannot be reached just now.") from None
        except (JSONDecodeError, KeyError, TypeError):
            raise SearchFailedError("The search engine's answer could not be read.") from None

    async def close(self) -> None:
        await self._client.aclose()


class DemoSearch:
    async def search(self, query: str) -> list[Found]:
        asked = query[:200]
        text = f"Nothing was searched for \u201c{asked}\u201d. An operator connects a real search with TAVILY_API_KEY."
        return [Found("Pantheon's demo search", "https://pantheon.invalid/demo-search", text)]

    async def close(self) -> None:
        return None
