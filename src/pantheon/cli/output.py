"""How commands answer: a sentence or a table for people, or JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pantheon.payments.explain import Explanation

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def show(text: str, fields: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(fields, default=str) if as_json else text)


def show_explanation(explanation: "Explanation", *, as_json: bool) -> None:
    """The conclusion first, then the rows that led to it."""
    parts = [f"{explanation.kind} {explanation.id}\n{_plain(explanation.conclusion)}"]
    for section in explanation.sections:
        if len(section.rows) == 1:
            parts.append(f"{section.title}\n{table(None, list(section.rows[0].items()))}")
        elif section.rows:
            rows = [list(row.values()) for row in section.rows]
            parts.append(f"{section.title}\n{table(list(section.rows[0]), rows)}")
    show("\n\n".join(parts), asdict(explanation), as_json=as_json)


def table(heads: Sequence[str] | None, rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what stands in them. Nothing that others wrote may move the cursor or change colours."""
    cells = [["–" if cell is None else _plain(str(cell)) for cell in row] for row in rows]
    lines = [*([list(heads)] if heads else []), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
