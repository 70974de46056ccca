"""What we read of Stripe's objects, converted once where they come in.

Fields that we do not know are dropped; a status that we do not know becomes `unknown`, which never grants anything.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from pantheon.money.top_up import Facts, PaymentStatus

_VISIBLE = r"^[\x21-\x7e]{1,255}$"
_MAX_AMOUNT = 10**15

_STATUSES = frozenset(PaymentStatus)


def _known_status(value: Any) -> Any:
    return value if value in _STATUSES else PaymentStatus.UNKNOWN


def _id_of(value: Any) -> Any:
    """A field that can be expanded holds an id or the whole object."""
    return value.get("id") if isinstance(value, dict) else value


class _StripeObject(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class PaymentError(_StripeObject):
    """Why the last attempt to pay failed. The code goes to the operator and never to the payer."""

    code: StrictStr | None = None
    decline_code: StrictStr | None = None


class NamedPayment(_StripeObject):
    """What every version of the API says in the same way of a PaymentIntent."""

    id: StrictStr = Field(pattern=r"^pi_[A-Za-z0-9_]{1,250}$")
    metadata: dict[str, str]


class Payment(NamedPayment):
    """A PaymentIntent."""

    status: Annotated[PaymentStatus, BeforeValidator(_known_status)]
    amount: StrictInt = Field(ge=0, le=_MAX_AMOUNT)
    amount_received: StrictInt = Field(ge=0, le=_MAX_AMOUNT)
    currency: StrictStr = Field(pattern="^[a-z]{3}$")
    livemode: StrictBool
    customer: Annotated[StrictStr | None, BeforeValidator(_id_of)] = None
    client_secret: StrictStr | None = Field(None, repr=False)
    last_payment_error: PaymentError | None = None
    next_action: dict[str, Any] | None = None

    @property
    def next_action_url(self) -> str | None:
        """Where the payer has to go next, as for 3-D Secure."""
        redirect = (self.next_action or {}).get("redirect_to_url")
        return redirect.get("url") if isinstance(redirect, dict) else None

    def facts(self, account: str | None) -> Facts:
        return Facts(
            payment_id=self.id,
            status=self.status,
            received_minor=self.amount_received,
            currency=self.currency,
            livemode=self.livemode,
            account=account,
            customer=self.customer,
        )


class Event(_StripeObject):
    """A snapshot event: `data.object` is the object as it was when the event was made."""

    id: StrictStr = Field(pattern=_VISIBLE)
    object: StrictStr = Field(pattern="^event$")
    type: StrictStr = Field(pattern=r"^[a-z0-9_.]{1,100}$")
    livemode: StrictBool
    account: StrictStr | None = Field(None, pattern=_VISIBLE)
    api_version: StrictStr | None = Field(None, pattern=_VISIBLE)
    data: dict[str, Any]

    @property
    def payload(self) -> Any:
        return self.data.get("object")
