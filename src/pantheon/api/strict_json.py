"""Request bodies: read exactly, without unknown fields, with amounts and texts that are what they should be."""

import unicodedata
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from pantheon.exact_json import NumberLiteral, loads
from pantheon.money.amounts import parse_decimal


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
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


PlainText = Annotated[str, BeforeValidator(_plain_text)]
"""Text of a person, in Unicode's form C: no control characters, which neither PostgreSQL nor a page can show."""


def _one_line(value: str) -> str:
    if "\n" in value or not value.strip():
        raise ValueError("must be one line that is not blank")
    return value.strip()


OneLine = Annotated[PlainText, AfterValidator(_one_line)]
"""A name or the like."""


def _long_text(value: Any) -> Any:
    if isinstance(value, NumberLiteral):
        raise ValueError("must be a text")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not contain the character NUL")
    return value


LongText = Annotated[str, BeforeValidator(_long_text)]
"""What is written for a model, kept as it is: tabs, joined emoji and all. PostgreSQL cannot store NUL."""
