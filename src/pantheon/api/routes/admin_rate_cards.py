"""Versions of the rate card: read, previewed and published by operators."""

import asyncio
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Response
from pydantic import AwareDatetime, BaseModel, Field, model_validator

from pantheon.api.callers import AdminOwner, AdminReader
from pantheon.api.dependencies import WithPage, WithRuntime
from pantheon.api.rate_card_answers import PreviewAnswer, RateCardAnswer, VersionAnswer
from pantheon.api.strict_json import Decimal, PlainText, RequestModel, strict_router
from pantheon.errors import InvalidInputError, RateCardChangedError
from pantheon.money.amounts import CREDIT_DECIMALS, parse_decimal
from pantheon.money.rate_card import MAX_PRICE, MULTIPLIER_DECIMALS, Meter, Rate
from pantheon.runtime import Runtime
from pantheon.turns.import_rates import Proposal, RateImport, propose_import
from pantheon.turns.publish_rate_card import MOST_MODELS, publish_rate_card
from pantheon.turns.rate_cards import Model, list_versions, view_card_to_replace, view_version

router: APIRouter = strict_router("admin")

PATH = "/api/v1/admin/rate-cards"
MAX_BODY_BYTES = 4 * 1024 * 1024
"""OpenRouter's whole list is nearly a mebibyte."""

_MAX_INTEGER = 2**31 - 1
_DOLLAR_DECIMALS = 9

Number = Annotated[int, Field(ge=1, le=_MAX_INTEGER)]
Alias = Annotated[PlainText, Field(min_length=1, max_length=200)]


class VersionsAnswer(BaseModel):
    rate_cards: list[VersionAnswer]
    total: int


class CardModelRequest(RequestModel):
    model_alias: str = Field(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")
    provider: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    provider_model: Annotated[PlainText, Field(min_length=1, max_length=200)]
    context_tokens: Number
    max_output_tokens: Number
    multiplier: Decimal = "1"
    prices: dict[Meter, Decimal] = Field(description="Credits for a million units of each meter.")
    costs: dict[Meter, Decimal] | None = Field(
        None, description="Dollars that the provider takes for a million units of each meter."
    )

    def model(self) -> Model:
        """Raises InvalidInputError."""
        try:
            rate = Rate(
                model_alias=self.model_alias,
                prices=_integers(self.prices, decimals=CREDIT_DECIMALS),
                multiplier=parse_decimal(self.multiplier, decimals=MULTIPLIER_DECIMALS),
                costs=None if self.costs is None else _integers(self.costs, decimals=_DOLLAR_DECIMALS),
            )
        except ValueError as error:
            raise InvalidInputError(f"{self.model_alias}: {error}") from None
        return Model(rate, self.provider, self.provider_model, self.context_tokens, self.max_output_tokens)


class PreviewRequest(RequestModel):
    based_on: Number = Field(description="The version that you read and that this one replaces.")
    models: Annotated[list[CardModelRequest], Field(min_length=1, max_length=MOST_MODELS)] | None = Field(
        None, description="All models of the version. Instead of a margin."
    )
    margin: Annotated[PlainText, Field(max_length=20)] | None = Field(
        None, description="What is put on top of the costs of a price list, such as 30%."
    )
    document: Any = Field(
        None, description="A price list shaped like OpenRouter's. Left out: the one that this release brings along."
    )
    provider: Annotated[PlainText, Field(max_length=32)] = "openrouter"
    only: Annotated[list[Alias], Field(max_length=MOST_MODELS)] = Field(
        default_factory=list, description="Aliases or ids in the list. Empty: the list replaces all of the provider's."
    )
    effective_at: AwareDatetime | None = Field(None, description="Left out: at once.")
    note: Annotated[PlainText, Field(max_length=256)] = ""
    confirm: Annotated[list[Alias], Field(max_length=MOST_MODELS)] = Field(
        default_factory=list, description="Models whose price rises by more than 30 % or becomes zero, by alias."
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.models is None) == (self.margin is None):
            raise ValueError("give either models or a margin")
        if self.models is not None and (self.document is not None or self.only):
            raise ValueError("document and only belong to a margin")
        return self


class PublishRequest(PreviewRequest):
    note: Annotated[PlainText, Field(min_length=1, max_length=256)] = Field(description="Why. Operators read it.")


@router.get("/admin/rate-cards")
async def get_rate_cards(runtime: WithRuntime, caller: AdminReader, page: WithPage) -> VersionsAnswer:
    """All versions, newest first."""
    found, total = await list_versions(runtime.database, limit=page.limit, offset=page.offset)
    return VersionsAnswer(rate_cards=[VersionAnswer.of(version) for version in found], total=total)


@router.get("/admin/rate-cards/{version}")
async def get_rate_card(
    version: Annotated[int, Path(ge=1, le=_MAX_INTEGER)], runtime: WithRuntime, caller: AdminReader
) -> RateCardAnswer:
    """A version with all its prices. Its models, without the margins, can be sent to publish another one."""
    return await _answer(runtime, version)


@router.post("/admin/rate-cards/preview")
async def post_preview(body: PreviewRequest, runtime: WithRuntime, caller: AdminReader) -> PreviewAnswer:
    """What publishing this would change, and what it would have to confirm. Nothing is published."""
    return PreviewAnswer.of(await _propose(runtime, body), runtime.settings.credits_per_dollar, body.confirm)


@router.post("/admin/rate-cards", status_code=201, responses={200: {"description": "Nothing differs."}})
async def post_rate_card(
    body: PublishRequest, response: Response, runtime: WithRuntime, caller: AdminOwner
) -> RateCardAnswer:
    """Publishes a version.

    409 `rate_card_changed` when another version than `based_on` would be replaced; 409 `prices_need_confirmation`, with
    the models and the reasons, when a price rises by more than 30 % or becomes zero and `confirm` does not name its
    model.
    """
    proposal = await _propose(runtime, body)
    card = await publish_rate_card(
        runtime.database,
        caller.actor,
        models=proposal.models,
        based_on=body.based_on,
        note=body.note,
        effective_at=body.effective_at,
        confirmed=body.confirm,
    )
    if card.version == body.based_on:
        response.status_code = 200
    return await _answer(runtime, card.version)


async def _propose(runtime: Runtime, body: PreviewRequest) -> Proposal:
    """Raises RateCardChangedError: an import is computed from the card that the caller has read, and no other."""
    card = await view_card_to_replace(runtime.database, body.effective_at)
    if card.version != body.based_on:
        raise RateCardChangedError
    if body.models is not None:
        return Proposal(card, tuple(model.model() for model in body.models), {})
    assert body.margin is not None
    request = RateImport(margin=body.margin, document=body.document, provider=body.provider, only=body.only)
    # Nearly a thousand models take a while, in which other requests want to be answered.
    return await asyncio.to_thread(propose_import, card, request, runtime.settings)


async def _answer(runtime: Runtime, version: int) -> RateCardAnswer:
    found, card = await view_version(runtime.database, version)
    return RateCardAnswer.of_card(found, card, runtime.settings.credits_per_dollar)


def _integers(amounts: dict[Meter, str], *, decimals: int) -> dict[Meter, int]:
    found = {meter: parse_decimal(amount, decimals=decimals) for meter, amount in amounts.items()}
    if set(found) != set(Meter):
        raise ValueError(f"prices and costs have to name each of {', '.join(Meter)}")
    if not all(0 <= amount <= MAX_PRICE for amount in found.values()):
        raise ValueError("prices and costs are never negative, and at most a thousand million for a million units")
    return found
