"""JSON bodies read exactly: no number passes through a float, and NaN or a name that is there twice is refused."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from pantheon.money.amounts import parse_decimal

_LONGEST_INTEGER = 30


class NumberLiteral(str):
    """A JSON number as it was written, where Python's own types would change it."""

    __slots__ = ()


def loads(raw: bytes) -> Any:
    """The value of a JSON text. Raises json.JSONDecodeError for everything that is not exactly one."""
    try:
        text = raw.decode()
        value = json.loads(
            text,
            parse_float=NumberLiteral,
            parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_INTEGER else NumberLiteral(digits),
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_duplicates,
        )
        # A lone surrogate can be written as an escape, but neither stored nor answered.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error) if type(error) is ValueError else "unreadable", "", 0) from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name is there twice")
    return result


class _StrictRequest(Request):
    async def json(self) -> Any:
        return loads(await self.body())


class StrictJSONRoute(APIRoute):
    """Routes of the API read their bodies through `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def strict_router(tag: str) -> APIRouter:
    return APIRouter(tags=[tag], route_class=StrictJSONRoute)


class RequestModel(BaseModel):
    """Base of every request body: an unknown field is an error and not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _decimal(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a decimal string or a number")
    parse_decimal(str(value), decimals=18)
    return str(value)


Decimal = Annotated[
    str,
    BeforeValidator(_decimal),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$"}, {"type": "number"}]}
    ),
]
"""An exact amount, sent as a decimal string or as a number literal."""


def _plain_text(value: Any) -> Any:
    if isinstance(value, NumberLiteral):
        raise ValueError("must be a text")
    if isinstance(value, str) and not all(character.isprintable() or character == "\n" for character in value):
        raise ValueError("must not contain control or invisible characters")
    return value


PlainText = Annotated[str, BeforeValidator(_plain_text)]
"""Text of a person: no control characters, which neither PostgreSQL nor a page can show."""
