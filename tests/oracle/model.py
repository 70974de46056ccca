"""The oracle: the books as a plain Python model, written from docs/money.md and without a look at the SQL.

It has no concurrency, no hash chain and no regard for speed; it only says what every answer and every balance must be.
Time is a whole number of hours.
"""

from dataclasses import dataclass, field

MOST = 10**18


@dataclass
class Grant:
    id: str
    wallet: str
    source: str
    category: str
    amount: int
    priority: int
    expires_at: int | None
    born: int
    """Counts up: the older of two grants has the smaller number."""
    remaining: int = 0
    held: int = 0
    reversed: int = 0
    ran_out: int = 0
    """What expired of it and was not taken back since."""

    def burn_down_order(self) -> tuple[int, float, bool, int]:
        end = float("inf") if self.expires_at is None else self.expires_at
        return self.priority, end, self.category == "paid", self.born


@dataclass
class Draw:
    amount: int
    captured: int = 0
    overrun: int = 0
    state: str = "open"


@dataclass
class Hold:
    wallet: str
    amount: int
    expires_at: int
    kept: dict[str, int]
    """What it still keeps of each grant."""
    draws: dict[str, Draw] = field(default_factory=dict)
    state: str = "placed"

    @property
    def reserved(self) -> int:
        return sum(draw.amount for draw in self.draws.values() if draw.state == "open")

    @property
    def captured(self) -> int:
        return sum(draw.captured for draw in self.draws.values())


@dataclass
class Wallet:
    debt: int = 0
    frozen: bool = False


class Books:
    def __init__(self) -> None:
        self.now = 0
        self.wallets: dict[str, Wallet] = {}
        self.grants: dict[str, Grant] = {}
        self.holds: dict[str, Hold] = {}
        self.used: dict[tuple[str, str], tuple[object, ...]] = {}
        """What each business key was used for."""
        self.consumed = self.overrun = 0

    def available(self, wallet: str) -> int:
        return sum(grant.remaining for grant in self.grants_of(wallet))

    def held(self, wallet: str) -> int:
        return sum(grant.held for grant in self.grants_of(wallet))

    def grants_of(self, wallet: str) -> list[Grant]:
        return sorted((g for g in self.grants.values() if g.wallet == wallet), key=Grant.burn_down_order)

    # Each operation answers its code.

    def grant(
        self,
        wallet: str,
        grant_id: str,
        reference: str,
        kind: str,
        source: str,
        category: str,
        amount: int,
        priority: int,
        expires_at: int | None,
    ) -> str:
        if prior := self._prior((kind, reference), (wallet, category, amount)):
            return prior
        if grant_id in self.grants:
            return "conflict"
        if not 1 <= amount <= MOST:
            return "amount_out_of_range"
        if expires_at is not None and expires_at <= self.now:
            return "already_expired"
        self.expire(wallet)
        self.used[kind, reference] = (wallet, category, amount)
        self._add(wallet, grant_id, source, category, amount, priority, expires_at)
        return "ok"

    def adjust(self, wallet: str, adjustment_id: str, amount: int) -> str:
        if prior := self._prior(("adjustment", adjustment_id), (wallet, amount)):
            return prior
        if adjustment_id in self.grants:
            return "conflict"
        if not 1 <= abs(amount) <= MOST:
            return "amount_out_of_range"
        self.expire(wallet)
        if self.available(wallet) + amount < 0:
            return "not_enough"
        self.used["adjustment", adjustment_id] = (wallet, amount)
        if amount > 0:
            self._add(wallet, adjustment_id, "adjustment", "promotional", amount, 100, None)
        else:
            self._burn(wallet, -amount)
        return "ok"

    def expire(self, wallet: str) -> str:
        due = [
            g for g in self.grants_of(wallet) if g.remaining and g.expires_at is not None and g.expires_at <= self.now
        ]
        for grant in due:
            grant.ran_out += grant.remaining
            grant.remaining = 0
        return "ok" if due else "nothing_due"

    def reverse_to_target(self, grant_id: str, target: int) -> str:
        grant = self.grants.get(grant_id)
        if grant is None:
            return "grant_not_found"
        self.expire(grant.wallet)
        if grant.source == "adjustment":
            return "not_reversible"
        if not 0 <= target <= grant.amount:
            return "amount_out_of_range"
        if target == grant.reversed:
            return "unchanged"
        more = target - grant.reversed
        grant.reversed = target
        if more > 0:
            unspent = min(more, grant.remaining)
            grant.remaining -= unspent
            ran_out = min(more - unspent, grant.ran_out)
            grant.ran_out -= ran_out
            self.wallets[grant.wallet].debt += more - unspent - ran_out
        else:
            self._give_back(grant, -more)
            self.expire(grant.wallet)
        return "ok"

    def set_frozen(self, wallet: str, frozen: bool) -> str:
        if self.wallets[wallet].frozen == frozen:
            return "unchanged"
        self.wallets[wallet].frozen = frozen
        return "ok"

    def place_hold(self, wallet: str, hold_id: str, amount: int, expires_at: int) -> str:
        if earlier := self.holds.get(hold_id):
            return "duplicate" if (earlier.wallet, earlier.amount) == (wallet, amount) else "conflict"
        self.expire(wallet)
        if not 1 <= amount <= MOST:
            return "amount_out_of_range"
        if expires_at <= self.now:
            return "already_expired"
        if self.wallets[wallet].frozen:
            return "wallet_not_active"
        if self.wallets[wallet].debt:
            return "in_debt"
        if self.available(wallet) < amount:
            return "not_enough"
        kept = self._burn(wallet, amount)
        for grant_id, part in kept.items():
            self.grants[grant_id].held += part
        self.holds[hold_id] = Hold(wallet, amount, expires_at, kept)
        return "ok"

    def draw(self, hold_id: str, draw_id: str, amount: int) -> str:
        hold = self.holds.get(hold_id)
        if hold is None:
            return "hold_not_found"
        if home := self._hold_of(draw_id):
            return "duplicate" if home is hold and hold.draws[draw_id].amount == amount else "conflict"
        if not 1 <= amount <= MOST:
            return "amount_out_of_range"
        if hold.state != "placed" or hold.expires_at <= self.now:
            return "hold_ended"
        if self.wallets[hold.wallet].frozen:
            return "wallet_not_active"
        if hold.amount - hold.captured - hold.reserved < amount:
            return "not_enough"
        hold.draws[draw_id] = Draw(amount)
        return "ok"

    def capture(self, draw_id: str, used: int) -> str:
        hold = self._hold_of(draw_id)
        if hold is None:
            return "draw_not_found"
        draw = hold.draws[draw_id]
        if draw.state == "captured":
            return "duplicate" if draw.captured + draw.overrun == used else "conflict"
        if not 0 <= used <= MOST:
            return "amount_out_of_range"
        if draw.state == "released":
            return "draw_ended"
        self.expire(hold.wallet)
        draw.state, draw.captured, draw.overrun = "captured", min(used, draw.amount), max(used - draw.amount, 0)
        self.consumed += used
        self.overrun += draw.overrun
        left = draw.captured
        for grant in self.grants_of(hold.wallet):
            part = min(left, hold.kept.get(grant.id, 0))
            if part:
                hold.kept[grant.id] -= part
                grant.held -= part
                left -= part
        if hold.captured == hold.amount:
            hold.state = "settled"
        return "ok"

    def release(self, hold_id: str) -> str:
        hold = self.holds.get(hold_id)
        if hold is None:
            return "hold_not_found"
        if hold.state != "placed":
            return "unchanged"
        if hold.reserved:
            return "draws_open"
        self._end(hold, "settled" if hold.captured else "released")
        return "ok"

    def expire_hold(self, hold_id: str) -> str:
        hold = self.holds.get(hold_id)
        if hold is None:
            return "hold_not_found"
        if hold.state != "placed":
            return "unchanged"
        if hold.expires_at > self.now:
            return "not_due"
        self._end(hold, "expired")
        return "ok"

    # What they are made of.

    def _prior(self, key: tuple[str, str], use: tuple[object, ...]) -> str | None:
        if key not in self.used:
            return None
        return "duplicate" if self.used[key] == use else "conflict"

    def _add(
        self, wallet: str, grant_id: str, source: str, category: str, amount: int, priority: int, expires_at: int | None
    ) -> None:
        grant = Grant(grant_id, wallet, source, category, amount, priority, expires_at, born=len(self.grants))
        open_ = [other for other in self.grants_of(wallet) if other.remaining]
        if category == "promotional" and source != "top_up" and len(open_) >= 32:
            like = [
                g
                for g in open_
                if (g.source, g.category, g.priority, g.expires_at) == (source, category, priority, expires_at)
            ]
            if like:
                grant = max(like, key=lambda other: other.born)
                grant.amount += amount
        self.grants[grant.id] = grant
        grant.remaining += amount
        if category == "paid":
            self._repay(grant, amount)

    def _burn(self, wallet: str, amount: int) -> dict[str, int]:
        """How much of which grant was taken."""
        parts: dict[str, int] = {}
        for grant in self.grants_of(wallet):
            part = min(amount - sum(parts.values()), grant.remaining)
            if part:
                grant.remaining -= part
                parts[grant.id] = part
        return parts

    def _give_back(self, grant: Grant, amount: int) -> None:
        grant.remaining += amount
        self._repay(grant, amount)

    def _repay(self, grant: Grant, most: int) -> None:
        part = min(self.wallets[grant.wallet].debt, most)
        grant.remaining -= part
        self.wallets[grant.wallet].debt -= part

    def _hold_of(self, draw_id: str) -> Hold | None:
        return next((hold for hold in self.holds.values() if draw_id in hold.draws), None)

    def _end(self, hold: Hold, state: str) -> None:
        for grant in self.grants_of(hold.wallet):
            if part := hold.kept.pop(grant.id, 0):
                grant.held -= part
                self._give_back(grant, part)
        for draw in hold.draws.values():
            if draw.state == "open":
                draw.state = "released"
        hold.state = state
        self.expire(hold.wallet)
