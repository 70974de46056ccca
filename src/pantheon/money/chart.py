"""The chart of accounts: where credits can be, and the kinds of transfers that move them.

`docs/chart_of_accounts.md` is generated from here, and a test holds the database's constraints to it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Account(StrEnum):
    AVAILABLE = "available"
    HELD = "held"
    DEBT = "debt"
    ISSUED_PAID = "issued_paid"
    ISSUED_PROMOTIONAL = "issued_promotional"
    ADJUSTED = "adjusted"
    CONSUMED = "consumed"
    EXPIRED = "expired"
    OPERATOR_OVERRUN = "operator_overrun"
    WRITTEN_OFF = "written_off"


ACCOUNTS: dict[Account, str] = {
    Account.AVAILABLE: "A wallet's credits that can be spent. A credit to it raises the balance.",
    Account.HELD: "A wallet's credits that are reserved for work under way.",
    Account.DEBT: "Credits that a wallet owes after a claw-back of credits that were spent. A debit raises it.",
    Account.ISSUED_PAID: "Credits sold. The source of every paid grant.",
    Account.ISSUED_PROMOTIONAL: "Credits given away. The source of every promotional grant.",
    Account.ADJUSTED: "Corrections by an operator, both ways.",
    Account.CONSUMED: "Credits spent on work.",
    Account.EXPIRED: "Credits that were not used in time.",
    Account.OPERATOR_OVERRUN: "Work beyond what was reserved for it: the operator's loss, never the user's.",
    Account.WRITTEN_OFF: "Debt that the operator gave up.",
}

WALLET_ACCOUNTS = (Account.AVAILABLE, Account.HELD, Account.DEBT)


class Kind(StrEnum):
    TOP_UP_GRANT = "top_up_grant"
    ADMIN_GRANT = "admin_grant"
    PROMOTION_GRANT = "promotion_grant"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"
    REVERSAL = "reversal"
    EXPIRY_REVERSED = "expiry_reversed"
    DEBT_RAISED = "debt_raised"
    DEBT_REPAID = "debt_repaid"
    RESTORE = "restore"
    HOLD_PLACED = "hold_placed"
    HOLD_CAPTURED = "hold_captured"
    HOLD_RELEASED = "hold_released"
    OVERRUN = "overrun"


@dataclass(frozen=True)
class KindRule:
    meaning: str
    debits: tuple[Account, ...]
    credits: tuple[Account, ...]
    public: str | None
    """The kind that the API shows; None for a transfer that does not change the balance and is not listed."""


_ISSUED = (Account.ISSUED_PAID, Account.ISSUED_PROMOTIONAL)

KINDS: dict[Kind, KindRule] = {
    Kind.TOP_UP_GRANT: KindRule("A payment was received.", (Account.ISSUED_PAID,), (Account.AVAILABLE,), "grant"),
    Kind.ADMIN_GRANT: KindRule("An operator gave credits.", _ISSUED, (Account.AVAILABLE,), "grant"),
    Kind.PROMOTION_GRANT: KindRule("A promotion gave credits.", _ISSUED, (Account.AVAILABLE,), "grant"),
    Kind.ADJUSTMENT: KindRule(
        "An operator corrected a balance.",
        (Account.ADJUSTED, Account.AVAILABLE),
        (Account.AVAILABLE, Account.ADJUSTED),
        "adjustment",
    ),
    Kind.EXPIRY: KindRule("A grant ran out of time.", (Account.AVAILABLE,), (Account.EXPIRED,), "expiry"),
    Kind.REVERSAL: KindRule("Unspent credits of a grant were taken back.", (Account.AVAILABLE,), _ISSUED, "reversal"),
    Kind.EXPIRY_REVERSED: KindRule(
        "Credits of a grant that ran out were taken back, which nobody owes.", (Account.EXPIRED,), _ISSUED, None
    ),
    Kind.DEBT_RAISED: KindRule("Spent credits of a grant were taken back.", (Account.DEBT,), _ISSUED, "reversal"),
    Kind.DEBT_REPAID: KindRule("Credits that came in repaid debt.", (Account.AVAILABLE,), (Account.DEBT,), None),
    Kind.RESTORE: KindRule("A reversal was undone.", _ISSUED, (Account.AVAILABLE,), "reversal"),
    Kind.HOLD_PLACED: KindRule("Credits were set aside for work.", (Account.AVAILABLE,), (Account.HELD,), None),
    Kind.HOLD_CAPTURED: KindRule("Work used credits of a hold.", (Account.HELD,), (Account.CONSUMED,), "debit"),
    Kind.HOLD_RELEASED: KindRule(
        "What a hold had left went back to its grants.", (Account.HELD,), (Account.AVAILABLE,), None
    ),
    Kind.OVERRUN: KindRule(
        "Work used more than was set aside for it.", (Account.OPERATOR_OVERRUN,), (Account.CONSUMED,), None
    ),
}
