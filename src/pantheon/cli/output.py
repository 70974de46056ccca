"""How commands answer: a sentence for people, or JSON for programs."""

import json
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def show(text: str, fields: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(fields, default=str) if as_json else text)
