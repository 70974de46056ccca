"""Prices: the card in force, its versions, and new prices to read before they are published. Owners also publish."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from pantheon import clock, exact_json
from pantheon.api.dependencies import WithRuntime
from pantheon.api.problems import status_of
from pantheon.errors import CallerError, InvalidInputError, NotFoundError, PricesNeedConfirmationError
from pantheon.runtime import Runtime
from pantheon.turns.compare_rate_cards import compare, confirmations
from pantheon.turns.import_rates import Proposal, RateImport, propose_import
from pantheon.turns.publish_rate_card import publish_rate_card
from pantheon.turns.rate_cards import RateCard, list_versions, view_card_to_replace, view_rate_card, view_version
from pantheon.turns.set_multiplier import set_multiplier
from pantheon.web.forms import Form, read_form, sentence
from pantheon.web.prices import METERS, change_of, row_of
from pantheon.web.rendering import is_partial, render
from pantheon.web.visitors import AdminOwner, AdminReader, Visitor

router = APIRouter()

_VERSIONS_SHOWN = 10
_LONGEST_NOTE = 256
_LONGEST_NAMES = 20_000
_MAX_VERSION = 2**31 - 1


@dataclass(frozen=True)
class _Import:
    """What the form of an import asks for. It goes back and forth between the form and the browser."""

    request: RateImport
    effective_at: datetime | None
    note: str


@router.get("/admin/prices")
async def get_prices(request: Request, visitor: AdminReader, runtime: WithRuntime) -> Response:
    return await _page(request, visitor, runtime)


@router.get("/admin/prices/versions/{number}")
async def get_version(
    request: Request, number: str, visitor: AdminReader, runtime: WithRuntime, against: str = ""
) -> Response:
    version, card = await view_version(runtime.database, _number(number))
    older = _number(against) if against else version.number - 1
    other = (await view_version(runtime.database, older))[1] if older else None
    versions, _ = await list_versions(runtime.database, limit=200)
    return render(
        request,
        "admin_price_version.html",
        visitor=visitor,
        version=version,
        versions=versions,
        other=other,
        changes=[change_of(change, runtime.settings) for change in compare(other.models if other else (), card.models)],
        rows=[row_of(model, runtime.settings) for model in card.models],
        meters=METERS,
    )


@router.post("/admin/prices/multiplier")
async def post_multiplier(request: Request, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        card = await set_multiplier(
            runtime.database,
            visitor.caller.actor,
            model_alias=form.text("model_alias"),
            multiplier=form.text("multiplier", longest=40),
            based_on=form.text("based_on", longest=40),
        )
    except CallerError as error:
        return await _page(request, visitor, runtime, problem=sentence(error), status=status_of(error))
    return await _page(request, visitor, runtime, done=f"Version {card.version} is in force.")


@router.post("/admin/prices/preview")
async def post_preview(request: Request, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        wanted = await _read_import(form)
        card = await view_card_to_replace(runtime.database, wanted.effective_at)
        proposal = await asyncio.to_thread(propose_import, card, wanted.request, runtime.settings)
    except CallerError as error:
        if is_partial(request):
            return render(
                request,
                "parts/notice.html",
                visitor=visitor,
                status=status_of(error),
                code=error.code,
                detail=sentence(error),
            )
        return await _page(request, visitor, runtime, problem=sentence(error), status=status_of(error))
    return await _preview(request, visitor, runtime, wanted, proposal)


@router.post("/admin/prices/publish")
async def post_publish(request: Request, visitor: AdminOwner, runtime: WithRuntime) -> Response:
    form = await read_form(request)
    try:
        wanted = await _read_import(form)
        card = await view_card_to_replace(runtime.database, wanted.effective_at)
        proposal = await asyncio.to_thread(propose_import, card, wanted.request, runtime.settings)
        published = await publish_rate_card(
            runtime.database,
            visitor.caller.actor,
            models=proposal.models,
            based_on=_number(form.text("based_on", longest=40)),
            note=wanted.note,
            effective_at=wanted.effective_at,
            confirmed=form.texts("confirm"),
        )
    except PricesNeedConfirmationError as error:
        return await _preview(
            request, visitor, runtime, wanted, proposal, problem=sentence(error), status=status_of(error)
        )
    except CallerError as error:
        return await _page(request, visitor, runtime, problem=sentence(error), status=status_of(error))
    since = f"begins at {wanted.effective_at:%Y-%m-%d %H:%M} UTC" if wanted.effective_at else "is in force"
    return await _page(request, visitor, runtime, done=f"Version {published.version} {since}.")


async def _read_import(form: Form) -> _Import:
    """Raises InvalidInputError."""
    bundled = form.text("source") != "file"
    margin = form.text("margin", longest=20).removesuffix("%").strip()
    provider = form.text("provider", longest=32) or "openrouter"
    # Of several lines, which a text of one field is not.
    only = form.secret("only")[:_LONGEST_NAMES].replace(",", " ").split()
    return _Import(
        RateImport(f"{margin}%", None if bundled else await _document(form), provider, only),
        _moment(form.text("effective_at", longest=40)),
        form.text("note", longest=_LONGEST_NOTE) or f"{provider} with a margin of {margin} %",
    )


async def _document(form: Form) -> Any:
    """The file that was chosen, or what is left of it in the form of the preview."""
    sent = form.data.get("document")
    written = await sent.read() if isinstance(sent, UploadFile) else (sent or "").encode()
    if not written:
        raise InvalidInputError("Choose the file of the price list.")
    try:
        return exact_json.loads(written)
    except json.JSONDecodeError:
        raise InvalidInputError("The file of the price list is not JSON.") from None


def _moment(written: str) -> datetime | None:
    if not written:
        return None
    try:
        return datetime.fromisoformat(written).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInputError("effective_at must be a date and a time") from None


def _number(written: str) -> int:
    """Raises NotFoundError for what cannot be that of a version."""
    if not (written.isascii() and written.isdecimal() and len(written) < 11 and 0 < int(written) <= _MAX_VERSION):
        raise NotFoundError("There is no such rate card.")
    return int(written)


async def _preview(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    wanted: _Import,
    proposal: Proposal,
    *,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    replaced, _ = await view_version(runtime.database, proposal.replaces.version)
    return render(
        request,
        "parts/price_preview.html" if is_partial(request) else "admin_price_preview.html",
        visitor=visitor,
        status=status,
        problem=problem,
        based_on=proposal.replaces.version,
        changes=[change_of(change, runtime.settings) for change in proposal.changes],
        to_confirm=confirmations(proposal.changes),
        refused=proposal.refused,
        asked=wanted.request,
        only=", ".join(wanted.request.only),
        effective_at=wanted.effective_at,
        until=replaced.effective_until,
        note=wanted.note,
        document=_kept(wanted.request, proposal),
    )


def _kept(wanted: RateImport, proposal: Proposal) -> str | None:
    """Of the document only what this import takes, so that the form to publish it stays small."""
    if wanted.document is None:
        return None
    taken = {model.provider_model for model in proposal.models}
    parts = ("id", "context_length", "top_provider", "pricing")
    models = [
        {name: model[name] for name in parts if name in model}
        for model in wanted.document["data"]
        if model["id"] in taken
    ]
    return exact_json.dumps({"data": models})


async def _page(
    request: Request,
    visitor: Visitor,
    runtime: Runtime,
    *,
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    card = await view_rate_card(runtime.database)
    versions, total = await list_versions(runtime.database, limit=_VERSIONS_SHOWN)
    return render(
        request,
        "admin_prices.html",
        visitor=visitor,
        status=status,
        card=card,
        rows=[row_of(model, runtime.settings) for model in card.models],
        versions=versions,
        versions_total=total,
        now=clock.now(),
        imports=runtime.settings.credits_per_dollar is not None,
        only=_names_of(card),
        done=done,
        problem=problem,
    )


def _names_of(card: RateCard) -> str:
    return ", ".join(model.alias for model in card.models if model.provider == "openrouter")
