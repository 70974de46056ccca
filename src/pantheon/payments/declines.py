"""What a payer is told of a decline: what to do next, and never what the bank said, which helps only card testers.

Source of the codes: https://docs.stripe.com/declines/codes
"""

from typing import Literal

Category = Literal["retry", "other_card", "authenticate", "contact_bank"]

_CATEGORIES: dict[str, Category] = {
    "authentication_required": "authenticate",
    "payment_intent_authentication_failure": "authenticate",
    "processing_error": "retry",
    "try_again_later": "retry",
    "reenter_transaction": "retry",
    "issuer_not_available": "retry",
    "approve_with_id": "retry",
    "call_issuer": "contact_bank",
    "do_not_honor": "contact_bank",
    "transaction_not_allowed": "contact_bank",
    "card_velocity_exceeded": "contact_bank",
    "withdrawal_count_limit_exceeded": "contact_bank",
}


def category_of(code: str | None) -> Category:
    return _CATEGORIES.get(code or "", "other_card")
