"""`pantheon rates`: what models cost, what a new price list would change, and what it would have cost."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pantheon.cli.connect import connect, errors_shown
from pantheon.cli.output import AsJson, show
from pantheon.cli.rate_tables import card_text, diff_text, refused_text, versions_text, what_if_fields, what_if_text

if TYPE_CHECKING:
    from pantheon.api.rate_card_answers import DiffAnswer, RateCardAnswer, VersionAnswer
    from pantheon.settings import Settings
    from pantheon.turns.import_rates import Proposal, RateImport
    from pantheon.turns.rate_cards import RateCard
    from pantheon.turns.what_if import WhatIf

app = typer.Typer(no_args_is_help=True)

_MAX_VERSION = 2**31 - 1
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
_VERSIONS_SHOWN = 10
_LONGEST_NOTE = 256

VersionNumber = Annotated[int, typer.Argument(metavar="VERSION", min=1, max=_MAX_VERSION)]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|genai-prices",
        help="A JSON file shaped like OpenRouter's list of models, or the list that comes with this release.",
    ),
]
Margin = Annotated[str, typer.Option(help="What is put on top of the provider's cost, such as 30%.")]
Provider = Annotated[str, typer.Option(help="Who is called, by the name in the settings.")]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Aliases or ids in the list, comma separated. Default: it replaces all of the provider's."),
]


@app.callback()
def rates() -> None:
    """What models cost. Prices are credits for a million tokens or tool calls."""


@app.command("list")
def list_(
    version: Annotated[int | None, typer.Option(min=1, max=_MAX_VERSION, help="Default: the one in force.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the latest versions of the rate card, and the prices of one of them.

    Example: pantheon rates list --version 3
    """
    from pantheon.turns.rate_cards import list_versions, view_rate_card, view_version

    async def found() -> "tuple[list[VersionAnswer], int, RateCardAnswer]":
        from pantheon.api.rate_card_answers import RateCardAnswer, VersionAnswer

        async with connect() as (settings, database):
            versions, total = await list_versions(database, limit=_VERSIONS_SHOWN)
            number = version or (await view_rate_card(database)).version
            shown = RateCardAnswer.of_card(*await view_version(database, number), settings.credits_per_dollar)
            return [VersionAnswer.of(item) for item in versions], total, shown

    versions, total, card = asyncio.run(found())
    fields = {
        "versions": [item.model_dump(mode="json") for item in versions],
        "total": total,
        **card.model_dump(mode="json"),
    }
    more = f"\nThe last {len(versions)} of {total} versions." if total > len(versions) else ""
    show(f"{versions_text(versions)}{more}\n\n{card_text(card)}", fields, as_json=as_json)


@app.command("import")
def import_(
    source: Source,
    margin: Margin,
    only: Only = None,
    provider: Provider = "openrouter",
    effective_at: Annotated[
        datetime | None, typer.Option(formats=_TIMES, help="When the prices begin, UTC. Default: at once.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Why. Operators read it.")] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="Alias of a model whose price rises by more than 30 % or becomes zero. Again for each."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the changes and publish nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. What needs --confirm needs it all the same.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish the prices of a provider's list with a margin on top, after showing what they change.

    Example: pantheon rates import openrouter.json --margin 30% --only gpt-4o,claude-haiku
    """
    from pantheon.turns.import_rates import RateImport

    with errors_shown():
        request = RateImport(margin=margin, document=_document(source), provider=provider, only=_names(only))
        written = _note(note) or f"{provider} from {Path(source).name} with a margin of {margin}"[:_LONGEST_NOTE]
    begins = effective_at and effective_at.replace(tzinfo=UTC)
    decide = _nothing if dry_run else _Decision(set(_names(confirm)), yes=yes)
    asyncio.run(_import(request, begins, written, decide, as_json=as_json))


@app.command()
def diff(old: VersionNumber, new: VersionNumber, as_json: AsJson = False) -> None:
    """Show what one version changes in another.

    Example: pantheon rates diff 1 2
    """
    from pantheon.turns.rate_cards import view_version

    async def compared() -> "DiffAnswer":
        from pantheon.api.rate_card_answers import DiffAnswer

        async with connect() as (settings, database):
            before, after = [(await view_version(database, number))[1] for number in (old, new)]
            return DiffAnswer.between(before, after, settings.credits_per_dollar)

    found = asyncio.run(compared())
    show(diff_text(found), found.model_dump(mode="json"), as_json=as_json)


@app.command("what-if")
def what_if(
    source: Annotated[
        str, typer.Argument(metavar="FILE|genai-prices|VERSION", help="The prices to try: a list or a version.")
    ],
    start: Annotated[datetime, typer.Option("--from", formats=_TIMES, help="First moment, UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=_TIMES, help="The moment before which it ends, UTC.")],
    margin: Annotated[str | None, typer.Option(help="For a list: what is put on top of its costs.")] = None,
    provider: Provider = "openrouter",
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """Price the calls of the past at other prices. Nothing is changed.

    Example: pantheon rates what-if openrouter.json --margin 30% --from 2026-11-01 --to 2026-12-01
    """
    from pantheon.errors import InvalidInputError
    from pantheon.turns.import_rates import RateImport

    with errors_shown():
        if end <= start:
            raise InvalidInputError("--to must be later than --from")
        request = None
        if not source.isdecimal():
            request = RateImport(margin=margin or "", document=_document(source), provider=provider, only=_names(only))
    period = (start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    found, name = asyncio.run(_what_if(request or int(source), *period))
    show(what_if_text(found, name), what_if_fields(found, name, *period), as_json=as_json)


async def _import(
    request: "RateImport",
    effective_at: datetime | None,
    note: str,
    decide: "Callable[[Proposal], set[str] | None]",
    *,
    as_json: bool,
) -> None:
    from pantheon.api.rate_card_answers import PreviewAnswer
    from pantheon.audit import Actor
    from pantheon.turns.import_rates import propose_import
    from pantheon.turns.publish_rate_card import publish_rate_card
    from pantheon.turns.rate_cards import view_card_to_replace, view_version

    async with connect() as (settings, database):
        card = await view_card_to_replace(database, effective_at)
        proposal = propose_import(card, request, settings)
        preview = PreviewAnswer.of(proposal, settings.credits_per_dollar)
        fields: dict[str, Any] = {**preview.model_dump(mode="json"), "published": None}
        text = f"{diff_text(preview)}{refused_text(preview.refused)}"
        if request.provider not in {"demo", "openrouter", *(known.name for known in settings.model_providers)}:
            text += f"\n\nNobody is called yet for these: MODEL_PROVIDERS has no {request.provider}."
        if not as_json:
            typer.echo(text)
        # Asked outside of any transaction: people read as long as they like.
        confirmed = decide(proposal)
        if confirmed is not None and proposal.changes:
            published = await publish_rate_card(
                database,
                Actor(None, "cli"),
                models=proposal.models,
                based_on=card.version,
                note=note,
                effective_at=effective_at,
                confirmed=confirmed,
            )
            fields["published"] = published.version
            version, _ = await view_version(database, published.version)
            until = version.effective_until and f"{version.effective_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if as_json:
        show("", fields, as_json=True)
    elif fields["published"]:
        since = f"from {effective_at:%Y-%m-%d %H:%M} UTC" if effective_at else "now"
        ends = f" The version that begins at {until} takes over then, and does not have these changes." if until else ""
        typer.echo(f"\nPublished version {fields['published']}, in force {since}.{ends}")
    else:
        typer.echo("\nNothing was published.")
    if confirmed is None and decide is not _nothing:
        raise typer.Exit(1)


class _Decision:
    """Whether to publish, by those who look at the changes; and which models they have confirmed by name."""

    def __init__(self, confirmed: set[str], *, yes: bool) -> None:
        self._confirmed = confirmed
        self._yes = yes

    def __call__(self, proposal: "Proposal") -> set[str] | None:
        from pantheon.turns.compare_rate_cards import confirmations

        if self._yes or not proposal.changes:
            return self._confirmed
        missing = [alias for alias in confirmations(proposal.changes) if alias not in self._confirmed]
        if missing:
            question = f"\nTo confirm {', '.join(missing)}, type the names, comma separated"
            self._confirmed |= set(_names([typer.prompt(question, default="", show_default=False, err=True)]))
            if not set(missing) <= self._confirmed:
                return None
        return self._confirmed if typer.confirm("Publish these prices?", err=True) else None


def _nothing(_: "Proposal") -> None:
    """What a dry run decides."""


async def _what_if(prices: "RateImport | int", start: datetime, end: datetime) -> "tuple[WhatIf, str]":
    from pantheon.turns.rate_cards import view_rate_card, view_version
    from pantheon.turns.what_if import what_if

    async with connect() as (settings, database):
        if isinstance(prices, int):
            _, card = await view_version(database, min(prices, _MAX_VERSION))
            name = f"version {card.version}"
        else:
            card, name = _imported(await view_rate_card(database), prices, settings), "the list"
        with typer.progressbar(length=100, label="Pricing", file=_stderr()) as bar:
            shown = 0

            def advance(done: int, total: int) -> None:
                nonlocal shown
                percent = 100 * done // total
                bar.update(percent - shown)
                shown = percent

            return await what_if(database, card, start=start, end=end, progress=advance), name


def _imported(card: "RateCard", request: "RateImport", settings: "Settings") -> "RateCard":
    from pantheon.turns.import_rates import propose_import
    from pantheon.turns.rate_cards import RateCard

    return RateCard(card.version, propose_import(card, request, settings).models)


_BUNDLED = "genai-prices"


def _document(source: str) -> Any:
    """Raises InvalidInputError."""
    import json

    from pantheon import exact_json
    from pantheon.errors import InvalidInputError

    if source == _BUNDLED:
        return None
    try:
        return exact_json.loads(Path(source).read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{source} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{source} is not JSON: {error.msg}") from None


def _note(note: str | None) -> str | None:
    from pantheon.errors import InvalidInputError

    if note is not None and not (1 <= len(note) <= _LONGEST_NOTE and note.isprintable()):
        raise InvalidInputError(f"--note must say why, in one line of at most {_LONGEST_NOTE} characters")
    return note


def _names(given: list[str] | None) -> tuple[str, ...]:
    return tuple(name.strip() for part in given or [] for name in part.split(",") if name.strip())


def _stderr() -> Any:
    import sys

    return sys.stderr
