"""Limits as people and operators set them over HTTP, and what they do to calls."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from pantheon.errors import InsufficientCreditsError
from pantheon.turns.limits import MAX_LIMITS
from pantheon.turns.spender import Spender
from pantheon.users.create_api_key import create_api_key
from pantheon.users.list_api_keys import list_api_keys
from pantheon.users.revoke_api_key import revoke_api_key
from pantheon.users.rights import Role, Scope
from tests.installation import TEST, Installation, Person
from tests.models.scripted_provider import Script, streamed
from tests.turns.metering import ALIAS, Metering, metering

Install = Callable[..., AbstractAsyncContextManager[Installation]]

MINE = "/api/v1/users/me/limits"
USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
"""39 nanocredits."""


async def put(installation: Installation, person: Person, path: str = MINE, **body: Any) -> httpx2.Response:
    return await installation.client.put(path, json={"period": "day", **body}, headers=person.headers)


async def remove(installation: Installation, person: Person, path: str = MINE, **query: str) -> int:
    answer = await installation.client.delete(path, params={"period": "day", **query}, headers=person.headers)
    return answer.status_code


async def listed(installation: Installation, person: Person, path: str = MINE) -> list[dict[str, Any]]:
    answer = (await installation.client.get(path, headers=person.headers)).json()
    assert answer["total"] == len(answer["limits"])
    return list(answer["limits"])


async def call(m: Metering, **spender: UUID) -> None:
    metered = await m.start(spender=Spender(user_id=m.user_id, **spender))
    async for _ in metered.chunks():
        pass
    await m.ended()


def person_of(m: Metering) -> Person:
    return Person(m.user_id, "ada@example.com", m.headers)


async def made(installation: Installation, person: Person, path: str, **body: Any) -> str:
    answer = await installation.client.post(f"/api/v1{path}", json=body, headers=person.headers)
    return str(answer.json()["id"])


async def test_a_limit_is_set_changed_listed_and_removed(installation: Installation) -> None:
    ada = await installation.person()

    first = await put(installation, ada, scope="wallet", amount="12.50")
    changed = await put(installation, ada, scope="wallet", amount=20, period="month")

    assert first.status_code == changed.status_code == 200
    assert first.json()["resets_at"].endswith("T00:00:00Z") and changed.json()["resets_at"].endswith("-01T00:00:00Z")
    await put(installation, ada, scope="wallet", amount="7")
    limits = await listed(installation, ada)
    # In place: the list is newest first.
    assert [(limit["period"], limit["amount"], limit["spent"], limit["remaining"]) for limit in limits] == [
        ("month", "20", "0", "20"),
        ("day", "7", "0", "7"),
    ]
    assert {(limit["scope"], limit["scope_id"], limit["set_by"]) for limit in limits} == {("wallet", None, "user")}

    assert await remove(installation, ada, scope="wallet") == 204
    assert await remove(installation, ada, scope="wallet") == 404
    assert [limit["period"] for limit in await listed(installation, ada)] == ["month"]
    assert installation.rows("SELECT FROM audit_log WHERE action LIKE 'limit.%%'") == []


async def test_a_limit_is_for_what_is_ones_own(installation: Installation) -> None:
    ada, bob = await installation.person(), await installation.person(email="bob@example.com")
    agent = await made(installation, bob, "/agents", agent_key="a", name="Writer", model_alias="demo")
    room = await made(installation, bob, "/rooms", name="Plans")
    key = await made(installation, bob, "/users/me/api-keys", name="k", scopes=["models:call"])

    for scope, id_ in (("agent", agent), ("room", room), ("api_key", key)):
        theirs = await put(installation, ada, scope=scope, scope_id=id_, amount=1)
        nobodys = await put(installation, ada, scope=scope, scope_id=str(uuid4()), amount=1)
        no_id = await put(installation, ada, scope=scope, scope_id="x", amount=1)
        assert [answer.status_code for answer in (theirs, nobodys, no_id)] == [404] * 3
        assert theirs.json() == nobodys.json() == no_id.json()
        assert (await put(installation, bob, scope=scope, scope_id=id_.upper(), amount=1)).status_code == 200
    assert (await put(installation, ada, scope="model", scope_id="unheard-of", amount=1)).status_code == 404
    assert (await put(installation, bob, scope="model", scope_id="demo", amount=1)).status_code == 200
    assert [limit["name"] for limit in await listed(installation, bob)] == ["demo", "k", "Plans", "Writer"]
    assert await listed(installation, ada) == []


async def test_what_no_limit_can_be_is_refused(installation: Installation) -> None:
    ada = await installation.person()
    for body in (
        {"scope": "wallet", "amount": "-1"},
        {"scope": "wallet", "amount": "1000000001"},
        {"scope": "wallet", "amount": "9" * 18},
        {"scope": "wallet", "amount": "0.0000000001"},
        {"scope": "wallet", "scope_id": str(ada.id), "amount": 1},
        {"scope": "agent", "amount": 1},
        {"scope": "model", "scope_id": "", "amount": 1},
        {"scope": "model", "scope_id": "a\0", "amount": 1},
        {"scope": "wallet", "amount": 1, "period": "total"},
        {"scope": "wallet", "amount": 1, "set_by": "owner"},
        {"scope": "everything", "amount": 1},
    ):
        assert (await put(installation, ada, **body)).status_code == 422, body
    assert await remove(installation, ada, scope="model", scope_id="\0") == 422
    assert await listed(installation, ada) == []


async def test_a_key_reads_limits_and_never_changes_them(installation: Installation) -> None:
    ada = await installation.person(Role.OWNER)
    _, key = await create_api_key(
        installation.runtime.database,
        installation.runtime.settings,
        user_id=ada.id,
        name="k",
        scopes=list(Scope),
        actor=TEST,
    )
    as_key = Person(ada.id, ada.email, {"Authorization": f"Bearer {key}"})
    await put(installation, ada, scope="wallet", amount=1)

    assert (await put(installation, as_key, scope="wallet", amount=100)).status_code == 403
    assert await remove(installation, as_key, scope="wallet") == 403
    assert [limit["amount"] for limit in await listed(installation, as_key)] == ["1"]


async def test_what_an_operator_set_the_user_neither_raises_nor_removes(install: Install) -> None:
    async with metering(install, *[streamed("x", usage=USED)] * 4) as m:
        installation = m.installation
        owner = await installation.person(Role.OWNER, "owner@example.com")
        ada = person_of(m)
        theirs = f"/api/v1/admin/users/{ada.id}/limits"
        model = {"scope": "model", "scope_id": ALIAS}
        # The least that one call needs, and so one call alone.
        await put(installation, owner, theirs, **model, amount="0.000001040")
        await put(installation, ada, **model, amount="1")
        assert await remove(installation, ada, **model, period="month") == 404
        await call(m)

        with pytest.raises(InsufficientCreditsError) as refused:
            await call(m)
        assert (refused.value.extras["limit_source"], refused.value.extras["limit_period"]) == ("model", "day")
        assert await remove(installation, ada, **model) == 204
        assert await remove(installation, ada, **model) == 404
        with pytest.raises(InsufficientCreditsError):
            await call(m)
        [limit] = await listed(installation, owner, theirs)
        assert (limit["set_by"], limit["spent"], limit["amount"]) == ("owner", "0.000000039", "0.00000104")
        assert await listed(installation, ada) == [limit]

        assert await remove(installation, owner, theirs, **model) == 204
        await call(m)
        audited = installation.rows(
            "SELECT actor, action, subject, details FROM audit_log WHERE action LIKE 'limit.%%' ORDER BY seq"
        )
        assert [(row["actor"], row["action"], row["subject"]) for row in audited] == [
            (owner.id, "limit.set", f"user:{ada.id}"),
            (owner.id, "limit.removed", f"user:{ada.id}"),
        ]
        assert audited[0]["details"] == {**model, "period": "day", "amount": "0.00000104"}


async def test_only_owners_limit_others(installation: Installation) -> None:
    ada = await installation.person()
    analyst = await installation.person(Role.ANALYST, "analyst@example.com")
    owner = await installation.person(Role.OWNER, "owner@example.com")
    path, nobodys = (f"/api/v1/admin/users/{id_}/limits" for id_ in (ada.id, uuid4()))

    assert (await put(installation, ada, path, scope="wallet", amount=1)).status_code == 403
    assert (await put(installation, analyst, path, scope="wallet", amount=1)).status_code == 403
    assert await remove(installation, analyst, path, scope="wallet") == 403
    assert (await put(installation, owner, nobodys, scope="wallet", amount=1)).status_code == 404
    assert (await put(installation, owner, path, scope="wallet", amount=1)).status_code == 200
    assert len(await listed(installation, analyst, path)) == 1


async def test_limits_are_few_enough_to_be_looked_at_by_every_call(installation: Installation) -> None:
    ada, owner = await installation.person(), await installation.person(Role.OWNER, "owner@example.com")
    [wallet] = installation.rows("SELECT id FROM wallets WHERE user_id = %s", ada.id)
    installation.execute(
        "INSERT INTO spend_limits (id, wallet_id, scope, scope_id, period, amount, created_at)"
        " SELECT gen_random_uuid(), %s, 'model', 'm' || n, 'day', 1, now() FROM generate_series(2, %s) n",
        wallet["id"],
        MAX_LIMITS,
    )

    at_once = await asyncio.gather(
        *(put(installation, ada, scope="wallet", amount=1, period=period) for period in ("day", "month"))
    )
    assert sorted(answer.status_code for answer in at_once) == [200, 409]
    # Operators have as many again.
    path = f"/api/v1/admin/users/{ada.id}/limits"
    assert (await put(installation, owner, path, scope="wallet", amount=1)).status_code == 200


async def test_a_key_spends_no_more_than_its_monthly_limit_and_its_list_says_how_much(install: Install) -> None:
    async with metering(install, *[streamed("x", usage=USED)] * 4) as m:
        database, settings = m.installation.runtime.database, m.installation.runtime.settings
        key, _ = await create_api_key(
            database,
            settings,
            user_id=m.user_id,
            name="k",
            scopes=[Scope.MODELS_CALL],
            # Two calls, and not the worst case of a third.
            monthly_limit_nanocredits=1040 + 39,
            actor=TEST,
        )
        await call(m, api_key_id=key.id)
        await call(m, api_key_id=key.id)

        with pytest.raises(InsufficientCreditsError) as refused:
            await call(m, api_key_id=key.id)
        assert (refused.value.extras["limit_source"], refused.value.extras["limit_period"]) == ("api_key", "month")
        await call(m)
        [shown] = (await list_api_keys(database, user_id=m.user_id)).api_keys
        assert (shown.monthly_limit_nanocredits, shown.spent_this_month_nanocredits) == (1079, 78)

        # An operator made it, so the user cannot raise it.
        ada = person_of(m)
        about = {"scope": "api_key", "scope_id": str(key.id), "period": "month"}
        await put(m.installation, ada, **about, amount="1")
        with pytest.raises(InsufficientCreditsError):
            await call(m, api_key_id=key.id)

        await revoke_api_key(database, user_id=m.user_id, api_key_id=key.id, actor=TEST)
        assert await listed(m.installation, ada) == []


async def test_a_limit_that_is_set_while_calls_are_under_way_counts_those_that_it_is_about(install: Install) -> None:
    waits = Script([asyncio.Event(), *streamed("x", usage=USED).parts])
    async with metering(install, waits, streamed("x", usage=USED)) as m:
        ada = person_of(m)
        key, other = [
            await made(m.installation, ada, "/users/me/api-keys", name=n, scopes=["models:call"]) for n in "ab"
        ]
        agent = await made(m.installation, ada, "/agents", agent_key="a", name="Writer", model_alias="demo")
        room = await made(m.installation, ada, "/rooms", name="Plans")
        about = {"api_key_id": UUID(key), "agent_id": UUID(agent), "room_id": UUID(room)}
        under_way = await m.start(spender=Spender(user_id=m.user_id, **about))

        scopes = [
            ("api_key", key),
            ("agent", agent),
            ("room", room),
            ("model", ALIAS),
            ("api_key", other),
            ("model", "demo"),
        ]
        reserved = [
            (await put(m.installation, ada, scope=scope, scope_id=id_, amount="0.000001040")).json()["reserved"]
            for scope, id_ in scopes
        ]
        assert [amount != "0" for amount in reserved] == [True, True, True, True, False, False]
        with pytest.raises(InsufficientCreditsError) as refused:
            await call(m)
        assert refused.value.extras["limit_source"] == "model"

        waits.parts[0].set()  # type: ignore[union-attr]
        async for _ in under_way.chunks():
            pass
        await m.ended()
        limits = {limit["scope_id"]: (limit["reserved"], limit["spent"]) for limit in await listed(m.installation, ada)}
        assert {limits[id_] for id_ in (key, agent, room, ALIAS)} == {("0", "0.000000039")}
        assert {limits[id_] for id_ in (other, "demo")} == {("0", "0")}


async def test_the_limit_of_ones_own_key_can_be_changed(installation: Installation) -> None:
    ada = await installation.person()
    key = await made(installation, ada, "/users/me/api-keys", name="k", scopes=["models:call"], monthly_limit="5")

    await put(installation, ada, scope="api_key", scope_id=key, period="month", amount="8")

    keys = (await installation.client.get("/api/v1/users/me/api-keys", headers=ada.headers)).json()["api_keys"]
    assert [(item["monthly_limit"], item["spent_this_month"]) for item in keys] == [("8", "0")]
    await remove(installation, ada, scope="api_key", scope_id=key, period="month")
    keys = (await installation.client.get("/api/v1/users/me/api-keys", headers=ada.headers)).json()["api_keys"]
    assert [(item["monthly_limit"], item["spent_this_month"]) for item in keys] == [(None, None)]
