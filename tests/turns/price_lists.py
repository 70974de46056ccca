"""Price lists shaped like OpenRouter's, and installations' cards, for tests."""

from typing import Any

NAMES = {
    "deepseek": "deepseek/deepseek-chat",
    "gemini-flash": "google/gemini-2.5-flash",
    "gemini-pro": "google/gemini-2.5-pro",
    "gpt-4o-mini": "openai/gpt-4o-mini",
    "gpt-4o": "openai/gpt-4o",
    "claude-haiku": "anthropic/claude-haiku-4.5",
    "claude-sonnet": "anthropic/claude-sonnet-4.5",
}
"""The models of the first card, by their aliases."""


def listed(model: str, prompt: str = "0.00000015", completion: str = "0.0000006", **more: Any) -> dict[str, Any]:
    """A model of a price list: 0.15 and 0.60 dollars for a million, which is 5 and 20 credits without a margin."""
    pricing = {"prompt": prompt, "completion": completion, **more.pop("pricing", {})}
    return {"id": model, "context_length": 128_000, "pricing": pricing, **more}


def price_list(*models: dict[str, Any]) -> dict[str, Any]:
    return {"data": list(models)}
