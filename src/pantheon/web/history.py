"""Movements of a wallet as lines of a table."""

from dataclasses import dataclass
from uuid import UUID

from pantheon.db.engine import Database
from pantheon.payments.fulfil import NOTE as TOP_UP_NOTE
from pantheon.wallets.list_transactions import Transaction, list_transactions

LINES_ON_A_PAGE = 20
_LAST_PAGE = 100_000

KINDS = {
    "grant": "Credits added",
    "debit": "Usage",
    "refund": "Refunds",
    "expiry": "Expired",
    "adjustment": "Corrections",
    "reversal": "Taken back",
}


@dataclass(frozen=True)
class Line:
    transaction: Transaction
    what: str
    note: str | None


@dataclass(frozen=True)
class History:
    lines: list[Line]
    page: int
    pages: int
    total: int


def page_number(written: str) -> int:
    """Lenient, as addresses are edited and shortened by hand: whatever is no page is the first one."""
    is_number = written.isascii() and written.isdigit() and len(written) < 10
    return min(max(int(written), 1), _LAST_PAGE) if is_number else 1


async def read_history(
    database: Database, *, user_id: UUID, kind: str | None = None, page: int = 1, size: int = LINES_ON_A_PAGE
) -> History:
    listed, total = await list_transactions(database, user_id=user_id, kind=kind, limit=size, offset=(page - 1) * size)
    return History([_line(item) for item in listed], page, max(1, -(-total // size)), total)


def _line(item: Transaction) -> Line:
    if item.kind == "grant" and item.actor is None and item.note == TOP_UP_NOTE:
        return Line(item, "Top-up", None)
    return Line(item, _what(item), item.note)


def _what(item: Transaction) -> str:
    match item.kind:
        case "grant":
            return "Credits from the operator" if item.actor else "Credits added"
        case "debit":
            return "Usage"
        case "refund":
            return "Refund"
        case "expiry":
            return "Expired"
        case "adjustment":
            return "Correction"
        case _:
            return "Given back" if item.amount > 0 else "Taken back"
