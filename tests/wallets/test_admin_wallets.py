import asyncio
from typing import Any

import pytest

from pantheon.users.rights import Role
from tests.installation import Installation, Person


async def grant(
    installation: Installation, by: Person | None, user_id: object, body: Any = None, **headers: str
) -> Any:
    return await installation.client.post(
        f"/api/v1/admin/users/{user_id}/wallet/grant",
        json=body if body is not None else {"amount": "100", "note": "Welcome"},
        headers=(by.headers if by else {}) | headers,
    )


async def people(installation: Installation) -> tuple[Person, Person]:
    return await installation.person(Role.OWNER, "owner@example.com"), await installation.person()


@pytest.mark.parametrize(("role", "status"), [(Role.USER, 403), (Role.ANALYST, 403), (None, 401)])
async def test_only_owners_grant(installation: Installation, role: Role | None, status: int) -> None:
    """T-151."""
    ada = await installation.person()
    by = await installation.person(role, "somebody@example.com") if role else None

    answer = await grant(installation, by, ada.id)

    assert answer.status_code == status
    if role:
        assert answer.json()["detail"] == "Admin access required."
        (refused,) = installation.rows("SELECT actor FROM audit_log WHERE action = 'admin.refused'")
        assert refused["actor"] == by.id if by else None
    assert await installation.balance(ada) == "0"


@pytest.mark.parametrize("path", ["%00", "%ff", "%0a", "x" * 300])
async def test_refusing_survives_any_path(installation: Installation, path: str) -> None:
    ada = await installation.person()

    answer = await installation.client.get(f"/api/v1/admin/wallets/{path}", headers=ada.headers)

    assert answer.status_code == 403


async def test_an_expired_session_grants_nothing(installation: Installation) -> None:
    """T-151."""
    owner, ada = await people(installation)
    installation.execute("UPDATE sessions SET expires_at = now() WHERE user_id = %s", owner.id)

    assert (await grant(installation, owner, ada.id)).status_code == 401


async def test_the_same_key_grants_once(installation: Installation) -> None:
    """T-153."""
    owner, ada = await people(installation)

    first = await grant(installation, owner, ada.id, **{"Idempotency-Key": "g-1"})
    second = await grant(installation, owner, ada.id, **{"Idempotency-Key": "g-1"})
    other = await grant(installation, owner, ada.id, {"amount": "1", "note": "x"}, **{"Idempotency-Key": "g-1"})

    assert (first.status_code, second.status_code, other.status_code) == (200, 200, 422)
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert await installation.balance(ada) == "100"
    assert len(installation.rows("SELECT FROM audit_log WHERE action = 'grant.posted'")) == 1


async def test_parallel_grants_lose_none(installation: Installation) -> None:
    owner, ada = await people(installation)

    answers = await asyncio.gather(
        *(grant(installation, owner, ada.id, {"amount": "0.1", "note": "n"}) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert await installation.balance(ada) == "5"


async def test_parallel_grants_with_one_key_grant_once(installation: Installation) -> None:
    owner, ada = await people(installation)

    answers = await asyncio.gather(
        *(grant(installation, owner, ada.id, **{"Idempotency-Key": "same"}) for _ in range(20))
    )

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert await installation.balance(ada) == "100"


@pytest.mark.parametrize(
    ("user_id", "status"), [("01900000-0000-7000-8000-000000000000", 404), ("not-an-id", 422), ("1", 422)]
)
async def test_unknown_users_get_nothing_and_no_wallet(installation: Installation, user_id: str, status: int) -> None:
    """T-157."""
    owner, _ = await people(installation)

    answer = await grant(installation, owner, user_id)

    assert answer.status_code == status
    if status == 404:
        assert answer.json()["detail"] == "User not found."
    assert len(installation.rows("SELECT FROM wallets")) == 2


async def test_a_deleted_user_gets_nothing(installation: Installation) -> None:
    """T-157."""
    owner, ada = await people(installation)
    installation.execute("UPDATE users SET state = 'deleted' WHERE id = %s", ada.id)

    assert (await grant(installation, owner, ada.id)).status_code == 404


NO_GRANTS: list[dict[str, Any]] = [
    {"amount": "0", "note": "n"},
    {"amount": "-1", "note": "n"},
    {"amount": "10000.000000001", "note": "n"},
    {"amount": "0.0000000001", "note": "n"},
    {"amount": "1e3", "note": "n"},
    {"amount": "1" * 301, "note": "n"},
    {"amount": True, "note": "n"},
    {"amount": "1"},
    {"amount": "1", "note": ""},
    {"amount": "1", "note": "n" * 257},
    {"amount": "1", "note": "a\x00b"},
    {"amount": "1", "note": "\u202edlog"},
    {"amount": "1", "note": 5},
    {"amount": "1", "note": "n", "category": "free"},
    {"amount": "1", "note": "n", "expires_at": "2020-01-01T00:00:00Z"},
    {"amount": "1", "note": "n", "expires_at": "2099-01-01T00:00:00"},
    {"amount": "1", "note": "n", "expires_at": "9999-12-31T23:59:59-12:00"},
    {"amount": "1", "note": "n", "expires_at": "9999-12-31T23:59:59Z"},
    {"amount": "1", "note": "n", "user_id": "x"},
]


async def test_a_grant_that_makes_no_sense_is_refused(installation: Installation, subtests: pytest.Subtests) -> None:
    owner, ada = await people(installation)
    for body in NO_GRANTS:
        with subtests.test(body=body):
            assert (await grant(installation, owner, ada.id, body)).status_code == 422
    assert installation.rows("SELECT FROM transfers") == []


async def test_the_alias_grants_too(installation: Installation) -> None:
    owner, ada = await people(installation)

    answer = await installation.client.post(
        f"/api/v1/admin/wallets/{ada.id}/grant", json={"amount": 10000, "note": "n"}, headers=owner.headers
    )

    assert answer.json()["new_balance"] == "10000"


async def test_a_grant_shows_where_it_came_from_and_when_it_ends(installation: Installation) -> None:
    owner, ada = await people(installation)

    await grant(installation, owner, ada.id, {"amount": 5, "note": "Trial", "expires_at": "2099-01-01T00:00:00+00:00"})

    wallet = (await installation.client.get("/api/v1/users/me/wallet", headers=ada.headers)).json()
    (shown,) = wallet["grants"]
    assert (shown["source"], shown["category"], shown["remaining"]) == ("admin", "promotional", "5")
    assert shown["expires_at"] == "2099-01-01T00:00:00Z"
    assert wallet["low_balance"] is False
    assert wallet["currency_value"] == "0.15"


async def test_adjusting_both_ways(installation: Installation) -> None:
    owner, ada = await people(installation)
    path = f"/api/v1/admin/users/{ada.id}/wallet/adjust"

    async def adjust(amount: str) -> Any:
        body = {"amount": amount, "note": "Correction"}
        return await installation.client.post(path, json=body, headers=owner.headers)

    assert (await adjust("10")).json()["new_balance"] == "10"
    assert (await adjust("-4.5")).json()["new_balance"] == "5.5"
    too_much = await adjust("-5.500000001")
    assert (too_much.status_code, too_much.json()["code"]) == (409, "not_enough_credits")
    assert (await adjust("0")).status_code == 422
    assert await installation.balance(ada) == "5.5"
    listed = await installation.client.get("/api/v1/users/me/transactions?kind=adjustment", headers=ada.headers)
    assert [item["amount"] for item in listed.json()["transactions"]] == ["-4.5", "10"]
    assert {item["initiated_by"] for item in listed.json()["transactions"]} == {str(owner.id)}


async def test_analysts_see_wallets_and_users_do_not(installation: Installation) -> None:
    owner, ada = await people(installation)
    analyst = await installation.person(Role.ANALYST, "analyst@example.com")
    for number in range(12):
        await grant(installation, owner, ada.id, {"amount": 1, "note": f"n{number}"})

    seen = await installation.client.get(f"/api/v1/admin/wallets/{ada.id}", headers=analyst.headers)

    assert seen.json()["balance"] == "12"
    assert [item["note"] for item in seen.json()["recent_transactions"]] == [f"n{n}" for n in range(11, 1, -1)]
    assert (await installation.client.get(f"/api/v1/admin/wallets/{ada.id}", headers=ada.headers)).status_code == 403
    nobody = await installation.client.get(
        "/api/v1/admin/wallets/01900000-0000-7000-8000-000000000000", headers=analyst.headers
    )
    assert (nobody.status_code, nobody.json()["detail"]) == (404, "Wallet not found.")


async def test_transactions_are_paged_and_filtered(installation: Installation) -> None:
    owner, ada = await people(installation)
    for number in range(3):
        await grant(installation, owner, ada.id, {"amount": 1 + number, "note": "n"})

    async def listed(query: str) -> Any:
        return await installation.client.get(f"/api/v1/users/me/transactions{query}", headers=ada.headers)

    page = (await listed("?limit=2&offset=1")).json()
    assert [item["amount"] for item in page["transactions"]] == ["2", "1"]
    assert page["total"] == 3
    assert (await listed("?kind=refund")).json() == {"transactions": [], "total": 0}
    for bad in ("?kind=theft", "?limit=0", "?limit=201", "?offset=-1", "?limit=x"):
        assert (await listed(bad)).status_code == 422
