"""Tables as CSV, for spreadsheets that take a cell for a formula when it looks like one."""

import csv
import io
import re
from collections.abc import Sequence

from fastapi import Request

# The last four are the full-width forms of the first.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

MEDIA_TYPE = "text/csv; charset=utf-8"


def wants_csv(request: Request) -> bool:
    return "text/csv" in request.headers.get("accept", "").lower()


def csv_line(cells: Sequence[object]) -> str:
    """None is an empty cell. What a spreadsheet would compute is made a text by an apostrophe, as people write one."""
    line = io.StringIO()
    csv.writer(line).writerow("" if cell is None else _safe(str(cell)) for cell in cells)
    return line.getvalue()


def _safe(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
