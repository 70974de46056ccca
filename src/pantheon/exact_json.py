"""JSON read exactly: no number passes through a float, and NaN or a name that is there twice is refused."""

import json
from json.encoder import encode_basestring
from typing import Any

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


def dumps(value: Any) -> str:
    """Compact JSON of what `loads` gave, with every number as it was written."""
    if isinstance(value, NumberLiteral):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{encode_basestring(name)}:{dumps(item)}" for name, item in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    return json.dumps(value, allow_nan=False)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name is there twice")
    return result
