"""What a model call costs: usage and a rate in, receipt lines out. Integers and one rounding per line, upwards.

A price is nanocredits for a million units (tokens or tool calls), which is exact for every published price.
A multiplier is in millionths. A provider's cost is in nano-dollars for a million units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

UNITS = 10**6
"""The units that a price is for."""

MULTIPLIER_ONE = 10**6
MULTIPLIER_DECIMALS = 6
MAX_MULTIPLIER = 100 * MULTIPLIER_ONE

MAX_PRICE = 10**18
"""A thousand credits for one token: beyond any price that is meant, and far from where sums leave `bigint`."""

MAX_QUANTITY = 10**9
"""The most tokens of one kind that one call is believed to have used."""


class Meter(StrEnum):
    """What is measured of a call. Input and output are here without the parts that have a meter of their own."""

    INPUT = "input_tokens"
    CACHED_INPUT = "cached_input_tokens"
    CACHE_WRITE = "cache_write_tokens"
    OUTPUT = "output_tokens"
    REASONING = "reasoning_tokens"
    TOOL_CALL = "tool_calls"


INPUT_METERS = (Meter.INPUT, Meter.CACHED_INPUT, Meter.CACHE_WRITE)
OUTPUT_METERS = (Meter.OUTPUT, Meter.REASONING)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a call used, in inclusive buckets: `cached_input` and `cache_write` are in `input`, `reasoning` in `output`.

    Raises ValueError for counts that contradict each other.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    tool_calls: int = 0

    def __post_init__(self) -> None:
        counts = (self.input, self.cached_input, self.cache_write, self.output, self.reasoning, self.tool_calls)
        if not all(0 <= count <= MAX_QUANTITY for count in counts):
            raise ValueError("a count must be between 0 and a thousand million")
        if self.cached_input + self.cache_write > self.input:
            raise ValueError("cached input cannot be more than the input")
        if self.reasoning > self.output:
            raise ValueError("reasoning cannot be more than the output")

    def quantities(self) -> dict[Meter, int]:
        """Each token once, under the meter that prices it."""
        return {
            Meter.INPUT: self.input - self.cached_input - self.cache_write,
            Meter.CACHED_INPUT: self.cached_input,
            Meter.CACHE_WRITE: self.cache_write,
            Meter.OUTPUT: self.output - self.reasoning,
            Meter.REASONING: self.reasoning,
            Meter.TOOL_CALL: self.tool_calls,
        }


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The prices of one model in one version of the rate card."""

    model_alias: str
    prices: Mapping[Meter, int]
    """For every meter, before the multiplier."""
    multiplier: int = MULTIPLIER_ONE
    costs: Mapping[Meter, int] | None = None
    """What the provider takes, where it is known: None is not zero."""

    def __post_init__(self) -> None:
        if set(self.prices) != set(Meter):
            raise ValueError("a rate has a price for every meter")
        if not all(0 <= price <= MAX_PRICE for price in self.prices.values()):
            raise ValueError("a price is never negative, and at most a thousand credits for one unit")
        if not 0 < self.multiplier <= MAX_MULTIPLIER:
            raise ValueError("a multiplier is greater than 0 and at most 100")

    def unit_price(self, meter: Meter) -> int:
        """Millionths of a nanocredit for a million units, so that the multiplier has no rounding of its own."""
        return self.prices[meter] * self.multiplier


@dataclass(frozen=True)
class Line:
    meter: Meter
    quantity: int
    unit_price: int
    """As of `Rate.unit_price`."""
    amount: int
    """Nanocredits."""


@dataclass(frozen=True)
class Charge:
    lines: tuple[Line, ...]

    @property
    def total(self) -> int:
        """Nanocredits: exactly the sum of the lines."""
        return sum(line.amount for line in self.lines)


def charge(rate: Rate, usage: Usage) -> Charge:
    """A line for everything that was used, also where it is free."""
    return Charge(
        tuple(
            Line(meter, quantity, rate.unit_price(meter), _priced(quantity, rate.unit_price(meter)))
            for meter, quantity in usage.quantities().items()
            if quantity > 0
        )
    )


def most(rate: Rate, *, input_tokens: int, max_output_tokens: int, tool_calls: int = 0) -> int:
    """Nanocredits that no call within these bounds can exceed, however its tokens fall on the meters."""
    return (
        _most_of(rate, INPUT_METERS, input_tokens)
        + _most_of(rate, OUTPUT_METERS, max_output_tokens)
        + _priced(tool_calls, rate.unit_price(Meter.TOOL_CALL))
    )


def affordable_output(rate: Rate, *, funds: int, input_tokens: int, tool_calls: int = 0, at_most: int) -> int:
    """The most output tokens, up to `at_most`, with which `most` is within `funds`. -1 where the input alone is not."""
    if most(rate, input_tokens=input_tokens, max_output_tokens=0, tool_calls=tool_calls) > funds:
        return -1
    low, high = 0, at_most
    while low < high:
        middle = (low + high + 1) // 2
        if most(rate, input_tokens=input_tokens, max_output_tokens=middle, tool_calls=tool_calls) <= funds:
            low = middle
        else:
            high = middle - 1
    return low


def cost(rate: Rate, usage: Usage) -> int | None:
    """Nano-dollars that the provider takes by its price list, rounded up; None where that is not known."""
    if rate.costs is None:
        return None
    total = sum(quantity * rate.costs[meter] for meter, quantity in usage.quantities().items())
    return -(-total // UNITS)


def _priced(quantity: int, unit_price: int) -> int:
    return -(-quantity * unit_price // (UNITS * MULTIPLIER_ONE))


def _most_of(rate: Rate, meters: tuple[Meter, ...], quantity: int) -> int:
    """Each further line that the tokens are split into may round up once more."""
    dearest = max(rate.unit_price(meter) for meter in meters)
    if quantity == 0 or dearest == 0:
        return 0
    return _priced(quantity, dearest) + len(meters) - 1
