"""The built-in demo model: no key, no network, the same answer to the same request, and it says what it is."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pantheon import exact_json
from pantheon.models.provider import Answer, Attempt, Json
from pantheon.models.tokens import text_tokens

CALL_TOOL = "[call tool]"
"""A user's message with this in it makes the demo call the first tool that it is given."""

_MOST_TOKENS = 4096


class DemoProvider:
    name = "demo"

    def __init__(self, *, pace_seconds: float = 0.02) -> None:
        self._pace = pace_seconds

    async def complete(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> Answer:
        text, calls, reason = _answer(body)
        if attempts is not None:
            attempts.append(Attempt(0.0, "answered", None))
        message = {"role": "assistant", "content": text or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return Answer(_frame(body, "chat.completion") | {"choices": [choice], "usage": _usage(body, text, calls)})

    async def stream(self, body: Mapping[str, Any], *, attempts: list[Attempt] | None = None) -> AsyncGenerator[Json]:
        text, calls, reason = _answer(body)
        frame = _frame(body, "chat.completion.chunk")
        outcome = "closed"
        try:
            yield frame | {"choices": [_delta({"role": "assistant", "content": ""})]}
            for piece in _pieces(text):
                await asyncio.sleep(self._pace)
                yield frame | {"choices": [_delta({"content": piece})]}
            if calls:
                yield frame | {"choices": [_delta({"tool_calls": [{"index": 0} | calls[0]]})]}
            yield frame | {"choices": [_delta({}, reason)]}
            outcome = "answered"
            yield frame | {"choices": [], "usage": _usage(body, text, calls)}
        finally:
            if attempts is not None:
                attempts.append(Attempt(0.0, outcome, None))


def _answer(body: Mapping[str, Any]) -> tuple[str, list[Json], str]:
    """Text, tool calls and the reason to stop."""
    question = _last_words(body)
    tools = body.get("tools")
    if CALL_TOOL in question and isinstance(tools, list) and tools and body.get("tool_choice") != "none":
        function = tools[0].get("function") or {}
        call = {"name": function.get("name", "tool"), "arguments": json.dumps(_example(function.get("parameters")))}
        return "", [{"id": f"call_{_mark(body)}", "type": "function", "function": call}], "tool_calls"
    return _cut(_text(body, question), body)


def _text(body: Mapping[str, Any], question: str) -> str:
    shown = " ".join(question.split())[:200]
    text = (
        f"This is the built-in demo model of Pantheon, not a real one. You wrote: \u201c{shown}\u201d. "
        "A real model would answer that here. Everything around this answer is real: it was streamed, metered and "
        "paid from your wallet, and its receipt shows every token. An operator connects real models by setting "
        "OPENROUTER_API_KEY or MODEL_PROVIDERS."
    )
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return text
    schema = (wanted.get("json_schema") or {}).get("schema")
    return json.dumps(_example(schema, text) if schema else {"demo": True, "answer": text}, ensure_ascii=False)


def _cut(text: str, body: Mapping[str, Any]) -> tuple[str, list[Json], str]:
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if isinstance(stop, str) and stop:
            text = text.split(stop, 1)[0]
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    most = most if type(most) is int and most > 0 else _MOST_TOKENS
    kept = ""
    for piece in _pieces(text):
        if text_tokens(kept + piece) > most:
            return kept, [], "length"
        kept += piece
    return kept, [], "stop"


def _example(schema: Any, text: str = "demo") -> Any:
    """The smallest value that fits a simple schema."""
    if not isinstance(schema, dict):
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type", "object") == "object":
        properties = schema.get("properties")
        return {name: _example(part, text) for name, part in properties.items()} if isinstance(properties, dict) else {}
    return {"string": text, "integer": 1, "number": 1, "boolean": True, "array": []}.get(str(schema["type"]))


def _last_words(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "tool":
            return "the answer of a tool"
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))
    return ""


def _usage(body: Mapping[str, Any], text: str, calls: list[Json]) -> Json:
    asked = {name: body[name] for name in ("messages", "tools", "response_format") if body.get(name)}
    prompt = text_tokens(exact_json.dumps(asked))
    answer = text_tokens(text) + sum(text_tokens(json.dumps(call["function"])) for call in calls)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost": 0,
    }


def _frame(body: Mapping[str, Any], kind: str) -> Json:
    return {"id": f"chatcmpl-demo-{_mark(body)}", "object": kind, "created": 0, "model": str(body.get("model", "demo"))}


def _delta(delta: Json, reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def _mark(body: Mapping[str, Any]) -> str:
    asked = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    return hashlib.sha256(exact_json.dumps(asked).encode(errors="replace")).hexdigest()[:16]


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+\Z", text)
