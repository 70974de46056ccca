"""The state machine: Hypothesis drives the model and PostgreSQL together, and after every step they must agree.

A failure prints the one command that makes the same steps again.
"""

import os
import secrets
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pantheon.ids import uuid7
from tests.oracle.model import Books, Wallet
from tests.oracle.postgres import Postgres

SEED = "PANTHEON_ORACLE_SEED"
TIME = "PANTHEON_ORACLE_TIME"

whose = st.integers(0, 1)
latest = st.integers(1, 5)
"""Which of the ids that are known, counted from the newest."""
used_before = st.integers(0, 9).map(lambda n: max(0, n - 7))
"""Mostly 0 for a new id; else which of those that are known is used again."""
amounts = st.integers(-1, 40)
hours = st.integers(0, 6)
twice = st.integers(0, 4).map(lambda n: n == 4)
"""Whether two connections make the same call at the same moment."""


def pick(known: list[UUID], which: int) -> UUID:
    return known[-1 - (which - 1) % len(known)]


def new_or_old(known: list[UUID], which: int) -> UUID:
    return uuid7() if which == 0 or not known else pick(known, which)


class Machine(RuleBasedStateMachine):
    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.postgres = postgres
        self.books = Books()
        self.wallets = postgres.begin(2)
        self.books.wallets = {str(wallet): Wallet() for wallet in self.wallets}
        self.grants: list[UUID] = []
        self.adjustments: list[UUID] = []
        self.holds: list[UUID] = []
        self.draws: list[UUID] = []
        for whose in (0, 1):
            self.grant(whose=whose, which=0, amount=100, paid=True, priority=100, ends=None, twice=False)

    def do(self, operation: str, *arguments: Any, model: tuple[Any, ...] | None = None, twice: bool = False) -> bool:
        """The same on both sides, and whether it was done. `model` are the model's arguments where they are others."""
        method = getattr(self.books, operation)
        words = tuple(str(a) if isinstance(a, UUID) else a for a in (arguments if model is None else model))
        expected = sorted(method(*words) for _ in range(1 + twice))
        assert sorted(self.postgres.call(f"ledger_{operation}", *arguments, at_once=twice)) == expected
        return "ok" in expected

    @rule(
        whose=whose,
        which=used_before,
        amount=st.integers(-1, 100),
        paid=st.booleans(),
        priority=st.sampled_from([50, 100]),
        ends=st.none() | hours,
        twice=twice,
    )
    def grant(
        self, whose: int, which: int, amount: int, paid: bool, priority: int, ends: int | None, twice: bool
    ) -> None:
        wallet, id_ = self.wallets[whose], new_or_old(self.grants, which)
        kind, source, category = (
            ("top_up_grant", "top_up", "paid") if paid else ("promotion_grant", "promotion", "promotional")
        )
        model = (wallet, id_, f"ref_{id_}", kind, source, category, amount, priority, self.hour(ends))
        order = (wallet, id_, kind, f"ref_{id_}", source, category, amount, priority, self.postgres.when(ends))
        if self.do("grant", *order, model=model, twice=twice):
            self.grants.append(id_)

    @rule(whose=whose, ends=st.none() | st.integers(1, 6), paid=st.booleans())
    def many_small_gifts(self, whose: int, ends: int | None, paid: bool) -> None:
        """Beyond 32 open grants those that are alike merge."""
        wallet, end = self.wallets[whose], self.postgres.when(ends)
        items, expected = [], []
        for _ in range(34):
            id_ = uuid7()
            items.append(
                {
                    "wallet_id": str(wallet),
                    "grant_id": str(id_),
                    "kind": "promotion_grant",
                    "reference_id": f"ref_{id_}",
                    "source": "promotion",
                    "category": "paid" if paid else "promotional",
                    "amount": 1,
                    "expires_at": end and end.isoformat(),
                }
            )
            words = str(wallet), str(id_), f"ref_{id_}", "promotion_grant", "promotion", items[-1]["category"]
            expected.append(self.books.grant(*map(str, words), 1, 100, self.hour(ends)))
        assert self.postgres.batch("ledger_grant_batch", items) == expected

    @rule(whose=whose, which=used_before, amount=amounts, more=st.booleans(), twice=twice)
    def adjust(self, whose: int, which: int, amount: int, more: bool, twice: bool) -> None:
        id_ = new_or_old(self.adjustments, which)
        if self.do("adjust", self.wallets[whose], id_, amount if more else -amount, twice=twice):
            self.adjustments.append(id_)

    @rule(which=latest, goal=st.integers(-1, 101))
    def reverse(self, which: int, goal: int) -> None:
        self.do("reverse_to_target", pick(self.grants, which), goal)

    @rule(which=latest)
    def reverse_all(self, which: int) -> None:
        id_ = pick(self.grants, which)
        grant = self.books.grants.get(str(id_))
        self.do("reverse_to_target", id_, grant.amount if grant else 1)

    @precondition(lambda self: self.adjustments)
    @rule(which=latest, goal=st.integers(0, 5))
    def reverse_an_adjustment(self, which: int, goal: int) -> None:
        self.do("reverse_to_target", pick(self.adjustments, which), goal)

    @rule(hours=st.integers(1, 3), expire=st.sampled_from([None, 0, 1]))
    def time_passes(self, hours: int, expire: int | None) -> None:
        self.books.now += hours
        self.postgres.let_pass(hours)
        if expire is not None:
            self.do("expire", self.wallets[expire])

    @rule(whose=whose, frozen=st.integers(0, 3).map(lambda n: n == 3))
    def freeze(self, whose: int, frozen: bool) -> None:
        self.do("set_frozen", self.wallets[whose], frozen)

    @rule(whose=whose, which=used_before, amount=amounts, ends=hours, twice=twice)
    def place_hold(self, whose: int, which: int, amount: int, ends: int, twice: bool) -> None:
        wallet, id_ = self.wallets[whose], new_or_old(self.holds, which)
        model = (wallet, id_, amount, self.hour(ends))
        if self.do("place_hold", wallet, id_, amount, self.postgres.when(ends), model=model, twice=twice):
            self.holds.append(id_)

    @rule(
        whose=whose,
        amount=st.integers(1, 30),
        part=st.integers(1, 20),
        used=st.none() | st.integers(0, 24),
        then=st.sampled_from(["go on", "release", "come too late"]),
    )
    def work(self, whose: int, amount: int, part: int, used: int | None, then: str) -> None:
        """A turn of somebody who has paid, up to where it may still run: single steps seldom meet by chance."""
        self.freeze(whose=whose, frozen=False)
        self.grant(whose=whose, which=0, amount=50, paid=True, priority=100, ends=4, twice=False)
        self.place_hold(whose=whose, which=0, amount=amount, ends=3, twice=False)
        if not self.holds:
            return
        self.draw(which=1, which_draw=0, amount=part, twice=False)
        if self.draws and used is not None:
            self.capture(which=1, used=used, twice=False)
        if then == "release":
            self.release(which=1, twice=False)
        elif then == "come too late":
            self.time_passes(hours=3, expire=None)
            self.expire_hold(which=1, twice=False)
            if self.draws:
                self.capture(which=1, used=part, twice=False)

    @precondition(lambda self: self.holds)
    @rule(which=latest, which_draw=used_before, amount=st.integers(0, 20), twice=twice)
    def draw(self, which: int, which_draw: int, amount: int, twice: bool) -> None:
        id_ = new_or_old(self.draws, which_draw)
        if self.do("draw", pick(self.holds, which), id_, amount, twice=twice):
            self.draws.append(id_)

    @precondition(lambda self: self.draws)
    @rule(which=latest, used=st.integers(-1, 24), twice=twice)
    def capture(self, which: int, used: int, twice: bool) -> None:
        self.do("capture", pick(self.draws, which), used, twice=twice)

    @precondition(lambda self: self.holds)
    @rule(which=latest, twice=twice)
    def release(self, which: int, twice: bool) -> None:
        self.do("release", pick(self.holds, which), twice=twice)

    @precondition(lambda self: self.holds)
    @rule(which=latest, twice=twice)
    def expire_hold(self, which: int, twice: bool) -> None:
        self.do("expire_hold", pick(self.holds, which), twice=twice)

    @invariant()
    def both_have_the_same_books(self) -> None:
        self.postgres.steps += 1
        books, found = self.books, self.postgres.state()
        assert words(found["wallets"]) == {
            id_: (books.available(id_), books.held(id_), wallet.debt, "frozen" if wallet.frozen else "active")
            for id_, wallet in books.wallets.items()
        }
        assert words(found["grants"]) == {
            g.id: (g.amount, g.remaining, g.held, g.reversed) for g in books.grants.values()
        }
        assert words(found["holds"]) == {
            id_: (hold.amount, hold.reserved, hold.captured, hold.state) for id_, hold in books.holds.items()
        }
        assert words(found["draws"]) == {
            id_: (draw.amount, draw.captured, draw.overrun, draw.state)
            for hold in books.holds.values()
            for id_, draw in hold.draws.items()
        }
        moved = found["moved"].values()
        assert (sum(row[0] for row in moved), sum(row[1] for row in moved)) == (books.consumed, books.overrun)

    def teardown(self) -> None:
        assert self.postgres.breaks() == []

    def hour(self, ends: int | None) -> int | None:
        return None if ends is None else self.books.now + ends


def words(rows: dict[UUID, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {str(id_): row for id_, row in rows.items()}


@pytest.fixture
def postgres(owner_url: str, app_url: str) -> Iterator[Postgres]:
    postgres = Postgres(owner_url, app_url)
    yield postgres
    postgres.close()


def explore(postgres: Postgres, number: int, examples: int = 54) -> None:
    """The same number makes the same steps."""
    run = partial(Machine, postgres)
    steps = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(run), settings=steps)
    except BaseException as error:
        error.add_note(f"Again: {SEED}={number} .venv/bin/pytest tests/oracle -m 'not prove'")
        raise


@pytest.mark.timeout(600)
def test_model_and_database_agree(postgres: Postgres) -> None:
    explore(postgres, int(os.environ.get(SEED, "1")))

    assert SEED in os.environ or postgres.steps >= 2000


@pytest.mark.prove
@pytest.mark.timeout(0)
def test_model_and_database_agree_for_as_long_as_one_likes(postgres: Postgres) -> None:
    """Other steps each time, for as long as `make prove TIME=10m` says."""
    number, unit = (given := os.environ.get(TIME, "1m"))[:-1], given[-1]
    end = time.monotonic() + int(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    while time.monotonic() < end:
        explore(postgres, secrets.randbelow(2**32))
    print(f"{postgres.steps} steps")
