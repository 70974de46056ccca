"""Reads the form parameters of a request as strictly as Stripe does: what it does not know, it refuses.

A spec names each parameter: `amount` a single value, `metadata{}` a map, `types[]` a list. A trailing `!` requires it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pantheon.payments.stripe.sandbox.errors import ApiError, invalid

Reader = Callable[[str, str], Any]
Spec = dict[str, Reader]
Pairs = list[tuple[str, str]]


def split_pairs(encoded: bytes) -> Pairs:
    try:
        return parse_qsl(encoded.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise invalid("The request body is not a valid form.") from None


def read_params(spec: Spec, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    readers = {name.removesuffix("!"): reader for name, reader in spec.items()}
    values: dict[str, Any] = {}
    for name, raw in pairs:
        base, bracket, key = name.removesuffix("]").partition("[")
        if name in readers:
            values[name] = readers[name](name, raw)
        elif bracket and "[" not in key and f"{base}{{}}" in readers:
            values.setdefault(base, {})[key] = readers[f"{base}{{}}"](name, raw)
        elif bracket and "[" not in key and f"{base}[]" in readers:
            values.setdefault(base, []).append(readers[f"{base}[]"](name, raw))
        else:
            raise invalid(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
    for name in spec:
        if name.endswith("!") and name[:-1] not in values:
            name = name[:-1]
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return values


def integer(name: str, raw: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", raw):
        raise invalid(f"Invalid integer: {raw}", code="parameter_invalid_integer", param=name)
    return int(raw)


def boolean(name: str, raw: str) -> bool:
    if raw not in ("true", "false"):
        raise invalid(f"Invalid boolean: {raw}", param=name)
    return raw == "true"


def text(name: str, raw: str) -> str:
    if not raw:
        raise _empty(name)
    return raw


def at_most(longest: int) -> Reader:
    def read(name: str, raw: str) -> str:
        if len(raw) > longest:
            raise invalid(f"Invalid string: {raw[:20]}…; must be at most {longest} characters", param=name)
        return text(name, raw)

    return read


def one_of(*allowed: str) -> Reader:
    def read(name: str, raw: str) -> str:
        if raw not in allowed:
            raise invalid(f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)
        return raw

    return read


def email(name: str, raw: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", raw):
        raise invalid(f"Invalid email address: {raw}", code="email_invalid", param=name)
    return raw


def url(name: str, raw: str) -> str:
    try:
        parts = urlsplit(raw)
        valid = parts.scheme in ("http", "https") and re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc)
    except ValueError:
        valid = None
    if not valid or not raw.isprintable():
        raise invalid("Not a valid URL", code="url_invalid", param=name)
    return raw


def page_size(name: str, raw: str) -> int:
    value = integer(name, raw)
    if not 1 <= value <= 100:
        raise invalid(f"Invalid {name}: must be between 1 and 100", param=name)
    return value


PAGE: Spec = {
    "limit": page_size,
    "starting_after": text,
    "ending_before": text,
    "created": integer,
    "created[gt]": integer,
    "created[gte]": integer,
    "created[lt]": integer,
    "created[lte]": integer,
}
"""What every list takes."""


def _empty(name: str) -> ApiError:
    return invalid(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; "
        f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )
