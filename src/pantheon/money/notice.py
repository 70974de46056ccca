"""When people are told that their credits go down: at shares of what they topped up last."""

LEVELS = (25, 10, 0)
"""Percent of the last top-up."""


def reached(*, left: int, top_up: int) -> list[int]:
    """The levels that what is left has come down to, the last of them where it is now.

    It is at 0 below one percent: a wallet is hardly ever empty to the last nanocredit, but left with too little for any
    call.
    """
    return [level for level in LEVELS if left * 100 <= level * top_up or (level == 0 and left * 100 < top_up)]
