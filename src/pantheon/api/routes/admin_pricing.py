"""What work costs, and whether it needs credits, for operators."""

from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from pantheon.api.callers import AdminOwner, AdminReader
from pantheon.api.dependencies import WithRuntime
from pantheon.api.strict_json import Decimal, PlainText, RequestModel, strict_router
from pantheon.money.amounts import format_credits
from pantheon.turns.enforcement import Enforcement, Mode, set_enforcement, view_enforcement
from pantheon.turns.rate_cards import Model, RateCard, view_rate_card
from pantheon.turns.set_multiplier import format_multiplier, set_multiplier

router: APIRouter = strict_router("admin")


class SettingsAnswer(BaseModel):
    enforcement_enabled: bool
    enforcement_mode: Mode
    enforcement_source: str
    low_balance_threshold: str
    pricing_version: str


class EnforcementRequest(RequestModel):
    enabled: Annotated[bool, Field(strict=True)] | None = None
    mode: Mode | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.enabled is None) == (self.mode is None):
            raise ValueError("give either enabled or mode")
        return self

    @property
    def chosen(self) -> Mode:
        return self.mode or ("enforce" if self.enabled else "off")


class EnforcementAnswer(BaseModel):
    enforcement_enabled: bool
    enforcement_mode: Mode
    source: str


class MultiplierRequest(RequestModel):
    multiplier: Decimal = Field(description="Greater than 0 and at most 100.")
    pricing_version: Annotated[PlainText, Field(max_length=64)] = Field(description="The version that you read.")


class RateAnswer(BaseModel):
    model_alias: str
    multiplier: str
    pricing_version: str


class PricingAnswer(BaseModel):
    pricing_version: str
    items: list[RateAnswer]


@router.get("/admin/settings")
async def get_settings(runtime: WithRuntime, caller: AdminReader) -> SettingsAnswer:
    """How this installation charges."""
    found = await view_enforcement(runtime.database, runtime.settings)
    card = await view_rate_card(runtime.database)
    return SettingsAnswer(
        enforcement_enabled=found.mode == "enforce",
        enforcement_mode=found.mode,
        enforcement_source=found.source,
        low_balance_threshold=format_credits(runtime.settings.low_balance_nanocredits),
        pricing_version=str(card.version),
    )


@router.patch("/admin/settings/enforcement")
async def patch_enforcement(body: EnforcementRequest, runtime: WithRuntime, caller: AdminOwner) -> EnforcementAnswer:
    """Switches for all processes at once, whatever CREDIT_ENFORCEMENT_ENABLED says."""
    return _enforcement(await set_enforcement(runtime.database, runtime.settings, caller.actor, body.chosen))


@router.delete("/admin/settings/enforcement")
async def delete_enforcement(runtime: WithRuntime, caller: AdminOwner) -> EnforcementAnswer:
    """Lets CREDIT_ENFORCEMENT_ENABLED decide again."""
    return _enforcement(await set_enforcement(runtime.database, runtime.settings, caller.actor, None))


@router.get("/admin/pricing")
async def get_pricing(runtime: WithRuntime, caller: AdminReader) -> PricingAnswer:
    """The rate card in force."""
    card = await view_rate_card(runtime.database)
    return PricingAnswer(pricing_version=str(card.version), items=[_rate(card, model) for model in card.models])


@router.patch("/admin/pricing/{model_alias:path}")
async def patch_pricing(
    model_alias: str, body: MultiplierRequest, runtime: WithRuntime, caller: AdminOwner
) -> RateAnswer:
    """Publishes a version with this multiplier. 409 when the version that you read is no longer in force."""
    card = await set_multiplier(
        runtime.database,
        caller.actor,
        model_alias=model_alias,
        multiplier=body.multiplier,
        based_on=body.pricing_version,
    )
    model = card.find(model_alias)
    assert model is not None
    return _rate(card, model)


def _rate(card: RateCard, model: Model) -> RateAnswer:
    return RateAnswer(model_alias=model.alias, multiplier=format_multiplier(model), pricing_version=str(card.version))


def _enforcement(found: Enforcement) -> EnforcementAnswer:
    return EnforcementAnswer(
        enforcement_enabled=found.mode == "enforce", enforcement_mode=found.mode, source=found.source
    )
