"""S15: an amount is exactly what was written, or refused, on every field that takes one."""

import json
from typing import Any

import pytest

from pantheon.users.rights import Role
from tests.installation import Installation

NO_AMOUNTS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e309",
    "1e400",
    "-1e309",
    "1e3",
    "1E+1",
    "1e-1",
    "1" + "0" * 300,
    "9" * 5001,
    "9223372036854775808",
    "-9223372036854775809",
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[1]",
    '""',
    '" 10 "',
    '"1_000"',
    '"1,000"',
    '"1e3"',
    '"1E+1"',
    '"NaN"',
    '"Infinity"',
    '"+10"',
    '"0x10"',
    '"010"',
    '"10."',
    '".5"',
    '"１０"',
    '"١٠"',
    '"10\\u0000"',
    '"\\ud800"',
    '"10\\n"',
    '"1.0000000000"',
    '"' + "9" * 300 + '"',
    "[" * 100_000,
    '10, "amount": 10, "amount_usd": 10, "monthly_limit": 10',
]
ZERO_OR_LESS = ["0", "-0", "0.00", "-1", "-0.01", '"0"', '"-0"', '"-10"']
TOO_FINE_FOR_MONEY = ["1.005", "10.105", "19.999", '"1.005"', "0.99", "500.01", "1000000"]


async def test_what_is_no_amount_is_refused_by_every_field_that_takes_one(
    installation: Installation, subtests: pytest.Subtests
) -> None:
    """T-203: 422 and never 500, nothing is booked, and Stripe is not called."""
    owner = await installation.person(Role.OWNER)
    fields: list[tuple[str, str, dict[str, Any], list[str]]] = [
        ("/api/v1/users/me/wallet/top-up", "amount_usd", {}, [*ZERO_OR_LESS, *TOO_FINE_FOR_MONEY]),
        (f"/api/v1/admin/users/{owner.id}/wallet/grant", "amount", {"note": "x"}, [*ZERO_OR_LESS, "10001"]),
        (f"/api/v1/admin/wallets/{owner.id}/grant", "amount", {"note": "x"}, [*ZERO_OR_LESS, "10001"]),
        (f"/api/v1/admin/users/{owner.id}/wallet/adjust", "amount", {"note": "x"}, ["0", "-0", "0.00"]),
        ("/api/v1/users/me/api-keys", "monthly_limit", {"name": "k", "scopes": ["wallet:read"]}, ["-1", '"-0.01"']),
    ]
    before = len(installation.sandbox.requests)
    for path, field, others, own in fields:
        for literal in [*NO_AMOUNTS, *own]:
            if literal == "null" and field == "monthly_limit":
                continue  # It means that there is no limit.
            with subtests.test(path=path, literal=literal[:30]):
                rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in others.items())
                body = f'{{"{field}": {literal}{rest}}}'.encode()

                answer = await installation.client.post(
                    path, content=body, headers=owner.headers | {"Content-Type": "application/json"}
                )

                assert answer.status_code == 422
                assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(installation.sandbox.requests) == before
    for table in ("top_ups", "transfers", "api_keys"):
        assert installation.rows(f"SELECT FROM {table}") == []


@pytest.mark.parametrize(("literal", "shown"), [("10", "10"), ("10.00", "10"), ("1.1", "1.1"), ('"3.3"', "3.3")])
async def test_an_amount_is_taken_exactly_as_it_was_written(
    installation: Installation, literal: str, shown: str
) -> None:
    ada = await installation.person()

    answer = await installation.client.post(
        "/api/v1/users/me/wallet/top-up",
        content=f'{{"amount_usd": {literal}}}'.encode(),
        headers=ada.headers | {"Content-Type": "application/json"},
    )

    assert answer.json()["amount_usd"] == shown
