"""Which grant is spent first: the database against ten lines of Python."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pantheon.ids import uuid7
from tests.ledger.books import NEXT_YEAR, Books


@dataclass
class Given:
    amount: int
    category: str
    priority: int
    days: int | None
    """Days after NEXT_YEAR at which it ends; None for never."""


def burn(grants: list[Given], amount: int) -> list[int]:
    """What remains of each grant after `amount` was spent."""
    remaining = [grant.amount for grant in grants]
    order = sorted(
        range(len(grants)),
        key=lambda i: (grants[i].priority, grants[i].days is None, grants[i].days, grants[i].category == "paid", i),
    )
    for i in order:
        part = min(amount, remaining[i])
        remaining[i] -= part
        amount -= part
    return remaining


grants = st.lists(
    st.builds(
        Given,
        amount=st.integers(1, 20),
        category=st.sampled_from(["paid", "promotional"]),
        priority=st.sampled_from([0, 100]),
        days=st.sampled_from([None, 0, 1]),
    ),
    min_size=1,
    max_size=6,
)

_GRANT = """
    SELECT code FROM ledger_grant(%(wallet)s, %(grant)s, %(kind)s, %(grant)s::text, 'promotion', %(category)s,
                                  %(amount)s, 0, %(priority)s::smallint, %(expires_at)s, NULL, NULL, NULL)
"""


@pytest.fixture
def connection(owner_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grants=grants, data=st.data())
def test_spending_follows_priority_then_soonest_end_then_promotional_then_oldest(
    connection: psycopg.Connection, grants: list[Given], data: st.DataObject
) -> None:
    wallet, user = uuid7(), uuid7()
    connection.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [user])
    connection.execute("SELECT ledger_open_wallet(%s, %s)", [wallet, user])
    ids = [uuid4() for _ in grants]  # in no order of time, as a caller may choose them
    for id_, grant in zip(ids, grants, strict=True):
        values = {
            "wallet": wallet,
            "grant": id_,
            "kind": "admin_grant",
            "category": grant.category,
            "amount": grant.amount,
            "priority": grant.priority,
            "expires_at": None if grant.days is None else NEXT_YEAR + timedelta(days=grant.days),
        }
        assert connection.execute(_GRANT, values).fetchone() == ("ok",)
    amount = data.draw(st.integers(1, sum(grant.amount for grant in grants)))

    spend = "SELECT code FROM ledger_adjust(%s, %s, %s::bigint, NULL, NULL)"
    assert connection.execute(spend, [wallet, uuid7(), -amount]).fetchone() == ("ok",)

    remaining = dict(connection.execute("SELECT id, remaining FROM grants WHERE wallet_id = %s", [wallet]).fetchall())
    assert [remaining[id_] for id_ in ids] == burn(grants, amount)


async def test_the_moves_of_a_transfer_say_which_grants_it_drew_on(books: Books, wallet: UUID) -> None:
    first = await books.grant(wallet, 10, priority=1)
    second = await books.grant(wallet, 10, priority=2)
    untouched = await books.grant(wallet, 10, priority=3)

    spent = await books.adjust(wallet, -15)

    moves = await books.select(
        "SELECT grant_id, available, held FROM grant_moves WHERE transfer_id = :id ORDER BY available",
        id=spent.transfer_id,
    )
    assert moves == [(first.grant_id, -10, 0), (second.grant_id, -5, 0)]
    assert await books.remaining(first, second, untouched) == [0, 5, 10]
