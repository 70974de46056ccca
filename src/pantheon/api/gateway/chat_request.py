"""A request for a chat completion, as OpenAI defines it, and of that only what we know the price of.

A parameter that is not here is refused and not passed on: it may ask for another model, a search or a faster lane, each
of which costs what was not set aside. What is here is passed on exactly as it was checked.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from pantheon import exact_json
from pantheon.errors import CallerError, ModelNotFoundError
from pantheon.exact_json import NumberLiteral
from pantheon.money.amounts import parse_decimal
from pantheon.turns.rate_cards import ALIAS

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_MESSAGES = 1_000
MAX_TOOLS = 128
MAX_DEPTH = 40
"""Of a tool's parameters or an answer's schema: whoever walks through them must come back."""
MAX_PARTS = 20_000
"""Of all of them together, and soon."""
_DECIMALS = 18
_INSTEAD = {"functions": "tools", "function_call": "tool_choice"}
"""What OpenAI replaced these with."""

_IMAGE = re.compile(r"https://[^\s]{1,4096}|data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


def _text(value: Any) -> Any:
    # A number keeps its digits by being a text of a kind of its own.
    if isinstance(value, NumberLiteral):
        raise ValueError("must be a text")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[Text, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _between(least: int, most: int) -> Any:
    """A number with or without decimals, kept as it was written."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | NumberLiteral):
            raise ValueError("must be a number")
        scaled = parse_decimal(str(value), decimals=_DECIMALS)
        if not least * 10**_DECIMALS <= scaled <= most * 10**_DECIMALS:
            raise ValueError(f"must be between {least} and {most}")
        return value

    schema = {"type": "number", "minimum": least, "maximum": most}
    return Annotated[Any, BeforeValidator(check), WithJsonSchema(schema)]


def _size(value: Any) -> int:
    """The number of its parts. Raises ValueError where it is too deep or too large."""
    level, size = [value], 0
    for _ in range(MAX_DEPTH):
        level = [part for item in level for part in _parts(item)]
        size += len(level)
        if size > MAX_PARTS:
            raise ValueError(f"must not have more than {MAX_PARTS} parts")
        if not level:
            return size
    raise ValueError(f"must not be nested deeper than {MAX_DEPTH} levels")


def _of_moderate_size(value: Any) -> Any:
    _size(value)
    return value


def _parts(item: Any) -> list[Any]:
    return list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []


JsonSchema = Annotated[dict[str, Any], AfterValidator(_of_moderate_size)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class TextPart(_Strict):
    type: Literal["text"]
    text: Text


class RefusalPart(_Strict):
    type: Literal["refusal"]
    refusal: Text


class Image(_Strict):
    url: Text
    detail: Literal["auto", "low", "high"] | None = None

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if not _IMAGE.fullmatch(self.url):
            raise ValueError("must be an https address or a data: URL of a png, jpeg, webp or gif in base64")
        return self


class ImagePart(_Strict):
    type: Literal["image_url"]
    image_url: Image


def _tagged(choose: Callable[[Any], Any]) -> Discriminator:
    # In angle brackets, so that it can be told from the names of a path; see `_path`.
    return Discriminator(lambda value: f"<{choose(value)}>")


def _kind(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


def _form(value: Any) -> str:
    return "list" if isinstance(value, list) else "text"


def _content(part: Any) -> Any:
    """A text, or a list of such parts."""
    parts = Annotated[list[part], Field(min_length=1, max_length=1_000)]
    return Annotated[Annotated[Text, Tag("<text>")] | Annotated[parts, Tag("<list>")], _tagged(_form)]


UserPart = Annotated[Annotated[TextPart, Tag("<text>")] | Annotated[ImagePart, Tag("<image_url>")], _tagged(_kind)]
OwnPart = Annotated[Annotated[TextPart, Tag("<text>")] | Annotated[RefusalPart, Tag("<refusal>")], _tagged(_kind)]


class FunctionCall(_Strict):
    name: Annotated[Text, Field(min_length=1, max_length=64)]
    arguments: Text


class ThoughtSignature(_Strict):
    thought_signature: Text


class ExtraContent(_Strict):
    """What Google adds to its answers and wants to see again."""

    google: ThoughtSignature


class ToolCall(_Strict):
    id: Annotated[Text, Field(min_length=1, max_length=256)]
    type: Literal["function"]
    function: FunctionCall
    extra_content: ExtraContent | None = None
    index: Annotated[int, Field(ge=0, le=1_000)] | None = Field(None, exclude=True)


class ReasoningDetail(_Strict):
    """What a model has thought, signed by its provider, to be shown to it again."""

    type: Annotated[Text, Field(pattern=r"^reasoning\.[a-z]{1,32}$")]
    text: Text | None = None
    summary: Text | None = None
    data: Text | None = None
    signature: Text | None = None
    id: Text | None = None
    format: Text | None = None
    index: int | None = None


class InstructionMessage(_Strict):
    role: Literal["system", "developer"]
    content: _content(TextPart)  # type: ignore[valid-type]
    name: Name | None = None


class UserMessage(_Strict):
    role: Literal["user"]
    content: _content(UserPart)  # type: ignore[valid-type]
    name: Name | None = None


class AssistantMessage(_Strict):
    """Also with what answers carry and clients send back: some of it the model needs again, the rest is left out."""

    role: Literal["assistant"]
    content: _content(OwnPart) | None = None  # type: ignore[valid-type]
    refusal: Text | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_TOOLS)] | None = None
    extra_content: ExtraContent | None = None
    reasoning: Text | None = None
    reasoning_content: Text | None = None
    reasoning_details: Annotated[list[ReasoningDetail], Field(max_length=1_000)] | None = None
    annotations: list[Any] | None = Field(None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, value: Any) -> Any:
        # As in `"tool_calls": []`: some providers answer so, and others refuse to be sent it.
        if not isinstance(value, dict):
            return value
        return {name: part for name, part in value.items() if name == "content" or part not in (None, [])}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and self.tool_calls is None and self.refusal is None:
            raise ValueError("must have content or tool_calls")
        return self


class ToolMessage(_Strict):
    role: Literal["tool"]
    content: _content(TextPart)  # type: ignore[valid-type]
    tool_call_id: Annotated[Text, Field(min_length=1, max_length=256)]
    name: Name | None = Field(None, exclude=True)


def _role(value: Any) -> Any:
    role = value.get("role") if isinstance(value, dict) else getattr(value, "role", None)
    return "instruction" if role in ("system", "developer") else role


Message = Annotated[
    Annotated[InstructionMessage, Tag("<instruction>")]
    | Annotated[UserMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[ToolMessage, Tag("<tool>")],
    _tagged(_role),
]


class Function(_Strict):
    name: Name
    description: Text | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class Tool(_Strict):
    type: Literal["function"]
    function: Function


def _together_of_moderate_size(tools: list[Tool]) -> list[Tool]:
    if sum(_size(tool.function.parameters) for tool in tools) > MAX_PARTS:
        raise ValueError(f"must not have more than {MAX_PARTS} parts together")
    return tools


class FunctionName(_Strict):
    name: Name


class ToolChoice(_Strict):
    type: Literal["function"]
    function: FunctionName


class PlainFormat(_Strict):
    type: Literal["text", "json_object"]


class NamedSchema(_Strict):
    name: Name
    description: Text | None = None
    schema_: JsonSchema | None = Field(None, alias="schema")
    strict: bool | None = None


class SchemaFormat(_Strict):
    type: Literal["json_schema"]
    json_schema: NamedSchema


class StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _says_how(value: Any) -> str:
    return "choice" if isinstance(value, dict | BaseModel) else "word"


def _is_schema(value: Any) -> str:
    return "json_schema" if _kind(value) == "json_schema" else "plain"


Stop = Annotated[Text, Field(min_length=1, max_length=1_000)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Bias = Annotated[int, Field(ge=-100, le=100)]


class ChatRequest(_Strict):
    model: Text
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: _between(0, 2) | None = None  # type: ignore[valid-type]
    top_p: _between(0, 1) | None = None  # type: ignore[valid-type]
    frequency_penalty: _between(-2, 2) | None = None  # type: ignore[valid-type]
    presence_penalty: _between(-2, 2) | None = None  # type: ignore[valid-type]
    stop: (
        Annotated[
            Annotated[Stop, Tag("<text>")] | Annotated[list[Stop], Field(min_length=1, max_length=4), Tag("<list>")],
            _tagged(_form),
        ]
        | None
    ) = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    tools: (
        Annotated[list[Tool], Field(min_length=1, max_length=MAX_TOOLS), AfterValidator(_together_of_moderate_size)]
        | None
    ) = None
    tool_choice: (
        Annotated[
            Annotated[Literal["none", "auto", "required"], Tag("<word>")] | Annotated[ToolChoice, Tag("<choice>")],
            _tagged(_says_how),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    response_format: (
        Annotated[
            Annotated[PlainFormat, Tag("<plain>")] | Annotated[SchemaFormat, Tag("<json_schema>")], _tagged(_is_schema)
        ]
        | None
    ) = None
    logit_bias: (
        Annotated[dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Bias], Field(max_length=1_024)] | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = Field(None, exclude=True)
    n: Annotated[int, Field(ge=1, le=1, description="Only 1: each answer is a call, with a receipt.")] | None = Field(
        None, exclude=True
    )
    service_tier: Annotated[Literal["auto", "default"], Field(description="No other.")] | None = Field(
        None, exclude=True
    )
    modalities: list[Literal["text"]] | None = Field(None, exclude=True)
    user: Annotated[Text, Field(max_length=512)] | None = Field(None, exclude=True)
    safety_identifier: Annotated[Text, Field(max_length=512)] | None = Field(None, exclude=True)
    prompt_cache_key: Annotated[Text, Field(max_length=512)] | None = Field(None, exclude=True)
    prompt_cache_retention: Annotated[Text, Field(max_length=64)] | None = Field(None, exclude=True)
    metadata: Annotated[dict[str, Text], Field(max_length=16)] | None = Field(None, exclude=True)
    store: Annotated[bool, Field(description="Only false.")] | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams only")
        if self.tools is None and self.tool_choice not in (None, "none", "auto"):
            raise ValueError("tool_choice needs tools")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        if self.store:
            raise ValueError("store must be false: answers are not kept here")
        return self


@dataclass(frozen=True)
class Asked:
    body: dict[str, Any]
    """What is passed on."""
    streams: bool
    wants_usage: bool
    """As a chunk at the end of the stream."""


def read_chat_request(raw: bytes) -> Asked:
    """Raises CallerError, whose extra `param` names what is wrong, and ModelNotFoundError for what no model can be."""
    try:
        value = exact_json.loads(raw)
    except JSONDecodeError:
        raise CallerError("The body must be JSON, without a name that is there twice.") from None
    if not isinstance(value, dict):
        raise CallerError("The body must be a JSON object.")
    try:
        # Null is how some clients say that they ask for nothing.
        chat = ChatRequest.model_validate({name: part for name, part in value.items() if part is not None})
    except ValidationError as error:
        # Without the error itself, which knows what was written.
        raise _refusal(error) from None
    if not ALIAS.fullmatch(chat.model):
        raise ModelNotFoundError
    body = chat.model_dump(exclude_unset=True, by_alias=True)
    options = chat.stream_options
    return Asked(body, bool(chat.stream), options is not None and bool(options.include_usage))


def _refusal(error: ValidationError) -> CallerError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = _path(first["loc"])
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "extra_forbidden":
        instead = f" Use {_INSTEAD[param]}." if param in _INSTEAD else ""
        return CallerError(f"The parameter {param} is not supported here.{instead}", param=param)
    if first["type"] == "missing":
        return CallerError(f"The parameter {param} is missing.", param=param)
    if first["type"].startswith("union_tag"):
        return CallerError(f"{param}: this type or role is not supported here.", param=param)
    return CallerError(f"{param}: {said}." if param else f"{said}.", param=param)


def _path(loc: tuple[int | str, ...]) -> str | None:
    """As in `messages[0].content`. A name of the caller's own is cut, and shown only as far as it is a plain word."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(("<", "[")):
            path += "." * bool(path) + re.sub(r"[^A-Za-z0-9_.-]", "?", part[:64])
    return path or None


def description() -> dict[str, Any]:
    """The schema of the body, for the description of the API."""
    schema = ChatRequest.model_json_schema()
    parts = schema.pop("$defs")

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            named = value.get("$ref")
            return whole(parts[named.rpartition("/")[2]]) if named else {name: whole(v) for name, v in value.items()}
        return [whole(item) for item in value] if isinstance(value, list) else value

    found: dict[str, Any] = whole(schema)
    return found
