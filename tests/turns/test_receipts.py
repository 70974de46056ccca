"""Receipts: from the credits of a call to its tokens, the version of the prices, and the grants that paid."""

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

from pantheon.ids import uuid7
from pantheon.money.chart import Kind
from pantheon.money.rate_card import Usage
from pantheon.users.rights import Role
from tests.installation import Installation, Person
from tests.turns.used import fund, use


async def read(installation: Installation, person: Person, receipt: UUID) -> Any:
    answer = await installation.client.get(f"/api/v1/receipts/{receipt}", headers=person.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_receipt_explains_every_credit(installation: Installation) -> None:
    ada = await installation.person()
    top_up = (await installation.top_up(ada)).json()
    installation.sandbox.play(top_up["top_up_id"], "pay")
    await installation.becomes(ada, top_up["top_up_id"], "credited")
    gift = await fund(installation, ada, 1, kind=Kind.PROMOTION_GRANT, source="promotion", category="promotional")
    turn, agent = uuid7(), uuid7()
    usage = Usage(input=30_000, cached_input=10_000, output=1000)

    id_ = await use(installation, ada, usage, turn_id=turn, agent_id=agent, provider_cost=1)
    receipt = await read(installation, ada, id_)

    [paid] = installation.rows("SELECT grant_id FROM top_ups")
    assert receipt.pop("created_at").endswith("Z")
    assert receipt == {
        "id": str(id_),
        "call_id": str(id_),
        "turn_id": str(turn),
        "agent_id": str(agent),
        "room_id": None,
        "model_alias": "gpt-4o",
        "rate_card_version": 1,
        "quality": "provider",
        "stopped_by": None,
        "usage": {"input": 30_000, "cached": 10_000, "cache_write": 0, "output": 1000, "reasoning": 0, "tool_calls": 0},
        # Prices for a million units, times the multiplier of 2.
        "lines": [
            {"meter": "input_tokens", "quantity": 20_000, "unit_price": "70", "credits": "1.4", "rounding": "0"},
            {"meter": "cached_input_tokens", "quantity": 10_000, "unit_price": "20", "credits": "0.2", "rounding": "0"},
            {"meter": "output_tokens", "quantity": 1000, "unit_price": "200", "credits": "0.2", "rounding": "0"},
        ],
        "total_credits": "1.8",
        "grants": [
            {
                "grant_id": str(gift),
                "source": "promotion",
                "category": "promotional",
                "credits": "1",
                "top_up_id": None,
            },
            {
                "grant_id": str(paid["grant_id"]),
                "source": "top_up",
                "category": "paid",
                "credits": "0.8",
                "top_up_id": top_up["top_up_id"],
            },
        ],
        "balance_after": "332.53",
    }
    [debit, *_] = (
        await installation.client.get("/api/v1/users/me/transactions?kind=debit", headers=ada.headers)
    ).json()["transactions"]
    assert (debit["receipt_id"], debit["amount"]) == (str(id_), "-1.8")


async def test_what_was_not_charged_is_a_line_of_its_own(installation: Installation) -> None:
    ada = await installation.person()
    await fund(installation, ada, 10)

    short = await read(installation, ada, await use(installation, ada, Usage(input=10_000), drawn=300_000_000))
    free = await read(installation, ada, await use(installation, ada, Usage(input=10_000), mode="off"))

    for receipt, meter, left, total in (
        (short, "operator_overrun", "-0.4", "0.3"),
        (free, "enforcement_off", "-0.7", "0"),
    ):
        assert receipt["lines"] == [
            {"meter": "input_tokens", "quantity": 10_000, "unit_price": "70", "credits": "0.7", "rounding": "0"},
            {"meter": meter, "quantity": 1, "unit_price": None, "credits": left, "rounding": None},
        ]
        assert (receipt["total_credits"], receipt["balance_after"]) == (total, "9.7")
    assert free["grants"] == []


async def test_a_line_that_is_no_whole_nanocredit_is_rounded_up_and_says_by_how_much(
    installation: Installation,
) -> None:
    ada, owner = await installation.person(), await installation.person(Role.OWNER, "owner@example.com")
    await fund(installation, ada, 10)
    price = {"multiplier": "0.000001", "pricing_version": "1"}
    path = "/api/v1/admin/pricing/gpt-4o"
    assert (await installation.client.patch(path, json=price, headers=owner.headers)).status_code == 200

    receipt = await read(installation, ada, await use(installation, ada, Usage(input=7)))

    # 0.000035 credits for a million.
    [line] = receipt["lines"]
    assert (line["unit_price"], line["credits"], line["rounding"]) == ("0.000035", "0.000000001", "0.000000000755")
    assert Decimal(line["unit_price"]) * 7 / 10**6 + Decimal(line["rounding"]) == Decimal(line["credits"])
    assert receipt["total_credits"] == line["credits"]


async def test_a_receipt_is_shown_to_its_owner_alone_and_never_with_the_providers_cost(
    installation: Installation,
) -> None:
    ada, bob = await installation.person(), await installation.person(email="bob@example.com")
    await fund(installation, ada, 10)
    id_ = await use(installation, ada, Usage(input=10_000), provider_cost=987654321)

    answers = [
        await installation.client.get(f"/api/v1/receipts/{name}", headers=bob.headers) for name in (id_, uuid7())
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
    assert "0.987654321" not in json.dumps(await read(installation, ada, id_))
