"""Statements: opening balance and movements are the closing balance, in every month, whatever is in flight."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from pantheon import clock
from pantheon.api.csv import csv_line
from pantheon.ids import uuid7
from pantheon.ledger import post
from pantheon.money.amounts import parse_credits
from pantheon.wallets.grant_credits import grant_credits
from tests.installation import TEST, Installation, Person
from tests.turns.used import CREDIT, fund, set_books_clock, wallet_of

Install = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture
async def quiet(install: Install) -> AsyncIterator[Installation]:
    """Without a worker, which would end holds and grants by itself."""
    async with install(worker=False, payments=False) as installation:
        yield installation


async def ask(installation: Installation, person: Person, month: str, **headers: str) -> httpx2.Response:
    return await installation.client.get(f"/api/v1/users/me/statements/{month}", headers=person.headers | headers)


async def statement(installation: Installation, person: Person, month: str) -> Any:
    answer = await ask(installation, person, month)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    balance = parse_credits(found["opening_balance"])
    for movement in found["movements"]:
        balance += parse_credits(movement["amount"])
        assert balance == parse_credits(movement["balance_after"])
    assert balance == parse_credits(found["closing_balance"])
    return found


async def test_months_add_up_and_lead_into_each_other_with_holds_and_debt_at_their_edges(quiet: Installation) -> None:
    person, database = await quiet.person(), quiet.runtime.database
    wallet = wallet_of(quiet, person)
    quiet.execute("UPDATE wallets SET created_at = '2026-01-20T12:00:00Z' WHERE id = %s", wallet)

    set_books_clock(quiet, datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC))
    sold = await fund(quiet, person, 100)
    ends = datetime(2026, 3, 15, tzinfo=UTC)
    await fund(quiet, person, 10, expires_at=ends, priority=200)
    captured, released = uuid7(), uuid7()
    async with database.transaction() as tx:
        for hold, amount in ((captured, 40), (released, 20)):
            await post.place_hold(
                tx, wallet_id=wallet, hold_id=hold, amount=amount * CREDIT, expires_at=clock.now() + timedelta(days=1)
            )
        await post.draw(tx, hold_id=captured, draw_id=captured, amount=40 * CREDIT)
    # The edge of the month, with 60 on hold.
    set_books_clock(quiet, datetime(2026, 2, 1, tzinfo=UTC))
    async with database.transaction() as tx:
        await post.capture(tx, draw_id=captured, used=30 * CREDIT)
        await post.release(tx, hold_id=captured)
        await post.release(tx, hold_id=released)
        # More is taken back than is left of it: the rest is debt, which the next grant repays.
        await post.reverse_to_target(tx, grant_id=sold, target=100 * CREDIT)
    set_books_clock(quiet, datetime(2026, 3, 20, tzinfo=UTC))
    async with database.transaction() as tx:
        await post.expire(tx, wallet_id=wallet)
    set_books_clock(quiet, datetime(2026, 4, 1, tzinfo=UTC))
    await fund(quiet, person, 50)

    found = [await statement(quiet, person, f"2026-0{month}") for month in range(1, 6)]
    assert [(item["opening_balance"], item["closing_balance"]) for item in found] == [
        ("0", "110"),
        ("110", "-20"),
        ("-20", "-30"),
        ("-30", "20"),
        ("20", "20"),
    ]
    assert all(one["closing_balance"] == next_["opening_balance"] for one, next_ in pairwise(found))
    kinds = [[(item["kind"], item["amount"]) for item in month["movements"]] for month in found]
    assert kinds == [
        [("grant", "100"), ("grant", "10")],
        [("debit", "-30"), ("reversal", "-70"), ("reversal", "-30")],
        [("expiry", "-10")],
        [("grant", "50")],
        [],
    ]
    now = await statement(quiet, person, f"{clock.now():%Y-%m}")
    assert now["closing_balance"] == await quiet.balance(person)
    for month in (
        "2025-12",
        "1999-01",
        f"{clock.now() + timedelta(days=32):%Y-%m}",
        "9999-12",
        "2026-13",
        "2026-1",
        "x",
    ):
        assert (await ask(quiet, person, month)).status_code == 404


async def test_a_month_stays_as_it_was_where_the_clock_of_the_books_went_back(quiet: Installation) -> None:
    person = await quiet.person()
    quiet.execute("UPDATE wallets SET created_at = '2026-01-20T12:00:00Z' WHERE id = %s", wallet_of(quiet, person))
    middle = datetime(2026, 2, 1, tzinfo=UTC)
    seen = set()
    for seconds in (-2, 1, -1, 2, -3, 3, -1, -1):
        set_books_clock(quiet, middle + timedelta(seconds=seconds))
        await fund(quiet, person, 1)
    for _ in range(20):
        january, february = [await statement(quiet, person, month) for month in ("2026-01", "2026-02")]
        assert january["closing_balance"] == february["opening_balance"]
        seen.add(january["closing_balance"])
        set_books_clock(quiet, middle + timedelta(days=1))
        await fund(quiet, person, 1)
    assert len(seen) == 1


async def test_a_statement_for_spreadsheets_computes_nothing(quiet: Installation) -> None:
    person = await quiet.person()
    note = '=HYPERLINK("http://example.com","a\nb")'
    await grant_credits(quiet.runtime.database, TEST, user_id=person.id, amount="2.5", note=note)

    answer = await ask(quiet, person, f"{clock.now():%Y-%m}", Accept="text/csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    head, opening, grant, closing = csv.reader(io.StringIO(answer.text, newline=""))
    assert head == ["created_at", "kind", "amount", "balance_after", "note", "reference_id", "initiated_by", "id"]
    assert (opening[1:4], closing[1:4]) == (["opening_balance", "", "0"], ["closing_balance", "", "2.5"])
    assert grant[1:5] == ["grant", "2.5", "2.5", f"'{note}"]


def test_a_cell_is_a_text_unless_it_is_a_number() -> None:
    for cell in ("=1", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\uff1d1", "-", "--1"):
        assert csv_line([cell]) == csv_line([f"'{cell}"]), cell
    assert csv_line(["-0.5", "7", None, "a=b", 'say "hi"']) == '-0.5,7,,a=b,"say ""hi"""\r\n'
