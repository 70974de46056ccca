"""Stripe's test payment methods: what each is called, and what becomes of a payment with it.

Source: https://docs.stripe.com/testing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decline:
    code: str
    decline_code: str
    message: str
    param: str | None = None
    advice_code: str = "try_again_later"


@dataclass(frozen=True)
class Method:
    name: str
    number: str
    brand: str = "visa"
    funding: str = "credit"
    challenge: bool = False
    """The bank asks the payer to authenticate first (3-D Secure)."""
    decline: Decline | None = None
    """The bank refuses the charge, after the challenge if there is one."""
    debit: bool = False
    """A debit from a bank account: processing for days, until it is settled or returned."""

    @property
    def last4(self) -> str:
        return self.number[-4:]


_DECLINED = "Your card was declined."
GENERIC = Decline("card_declined", "generic_decline", _DECLINED)
INSUFFICIENT_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST = Decline("card_declined", "lost_card", _DECLINED, advice_code="do_not_try_again")
STOLEN = Decline("card_declined", "stolen_card", _DECLINED, advice_code="do_not_try_again")
FRAUDULENT = Decline("card_declined", "fraudulent", _DECLINED, advice_code="do_not_try_again")
VELOCITY = Decline("card_declined", "card_velocity_exceeded", _DECLINED)
EXPIRED = Decline("expired_card", "expired_card", "Your card has expired.", "exp_month", "confirm_card_data")
WRONG_CVC = Decline(
    "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "cvc", "confirm_card_data"
)
PROCESSING = Decline(
    "processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit."
)
RETURNED_DEBIT = Decline(
    "insufficient_funds",
    "insufficient_funds",
    "The customer's account has insufficient funds to cover this payment.",
)

METHODS = {
    method.name: method
    for method in (
        Method("pm_card_visa", "4242424242424242"),
        Method("pm_card_visa_debit", "4000056655665556", funding="debit"),
        Method("pm_card_mastercard", "5555555555554444", "mastercard"),
        Method("pm_card_mastercard_debit", "5200828282828210", "mastercard", "debit"),
        Method("pm_card_mastercard_prepaid", "5105105105105100", "mastercard", "prepaid"),
        Method("pm_card_amex", "378282246310005", "amex"),
        Method("pm_card_discover", "6011111111111117", "discover"),
        Method("pm_card_diners", "3056930009020004", "diners"),
        Method("pm_card_jcb", "3566002020360505", "jcb"),
        Method("pm_card_unionpay", "6200000000000005", "unionpay"),
        Method("pm_card_authenticationRequired", "4000002760003184", challenge=True),
        # On-session this card asks for authentication too; it differs only once a card is saved for later.
        Method("pm_card_authenticationRequiredOnSetup", "4000002500003155", challenge=True),
        Method("pm_card_threeDSecure2Required", "4000000000003220", challenge=True),
        Method("pm_card_threeDSecureRequiredChargeDeclined", "4000008400001629", challenge=True, decline=GENERIC),
        Method(
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "4000008260003178",
            challenge=True,
            decline=INSUFFICIENT_FUNDS,
        ),
        Method("pm_card_chargeDeclined", "4000000000000002", decline=GENERIC),
        Method("pm_card_chargeCustomerFail", "4000000000000341", decline=GENERIC),
        Method("pm_card_chargeDeclinedInsufficientFunds", "4000000000009995", decline=INSUFFICIENT_FUNDS),
        Method("pm_card_chargeDeclinedLostCard", "4000000000009987", decline=LOST),
        Method("pm_card_chargeDeclinedStolenCard", "4000000000009979", decline=STOLEN),
        Method("pm_card_chargeDeclinedFraudulent", "4100000000000019", decline=FRAUDULENT),
        Method("pm_card_chargeDeclinedVelocityLimitExceeded", "4000000000006975", decline=VELOCITY),
        Method("pm_card_chargeDeclinedExpiredCard", "4000000000000069", decline=EXPIRED),
        Method("pm_card_chargeDeclinedIncorrectCvc", "4000000000000127", decline=WRONG_CVC),
        Method("pm_card_chargeDeclinedProcessingError", "4000000000000119", decline=PROCESSING),
        Method("pm_usBankAccount_success", "000123456789", "bank", "debit", debit=True),
        Method("pm_usBankAccount_processing", "000000000077", "bank", "debit", debit=True),
    )
}

CARD_NUMBERS = {method.number: method.name for method in METHODS.values() if not method.debit}
"""The test card numbers that a form may take, and the payment method that each stands for."""


def find_method(name: str) -> Method | None:
    """The payment method called `name`. Stripe knows some by two names: with and without the brand."""
    return METHODS.get(name) or METHODS.get(name.replace("pm_card_visa_charge", "pm_card_charge", 1))


def method_name(name_or_number: str) -> str:
    """Turns a card number, with or without spaces, into its payment method's name. Leaves names alone."""
    return CARD_NUMBERS.get(name_or_number.replace(" ", ""), name_or_number)
