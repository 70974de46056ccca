"""S23: a text is kept in one form, and what cannot be seen or stored is refused, on every field that takes one."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest

from pantheon.users.rights import Role
from tests.installation import Installation, Person

Install = Callable[..., AbstractAsyncContextManager[Installation]]

# As JSON strings, so that a lone surrogate can be sent.
REFUSED = {
    "NUL": r"a\u0000b",
    "lone surrogate": r"a\ud800b",
    "surrogates in the wrong order": r"\udc00\ud800",
    "right-to-left override": r"a\u202eb",
    "bidi isolate": r"a\u2066b",
    "zero width space": r"a\u200bb",
    "byte order mark": r"\ufeffa",
    "escape": r"a\u001b[31m",
    "delete": r"a\u007fb",
    "line separator": r"a\u2028b",
}
PASSWORD = "a password of some length"


def fields_of(owner: Person) -> dict[tuple[str, str], dict[str, Any]]:
    """Every field for a text of a person, by its path and name, with what else the request needs."""
    admin = f"/api/v1/admin/users/{owner.id}/wallet"
    return {
        (f"{admin}/grant", "note"): {"amount": "1"},
        (f"{admin}/adjust", "note"): {"amount": "1"},
        (f"/api/v1/admin/wallets/{owner.id}/grant", "note"): {"amount": "1"},
        ("/api/v1/users/me/api-keys", "name"): {"scopes": ["wallet:read"]},
        ("/api/v1/auth/sign-up", "email"): {"password": PASSWORD},
        ("/api/v1/auth/sign-in", "email"): {"password": PASSWORD},
    }


async def post(
    installation: Installation, path: str, by: Person, field: str, literal: str, others: dict[str, Any]
) -> httpx2.Response:
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in others.items())
    content = f'{{"{field}": "{literal}"{rest}}}'.encode()
    headers = by.headers | {"Content-Type": "application/json"}
    if path.startswith("/api/v1/auth"):
        headers.pop("Authorization")
    return await installation.client.post(path, content=content, headers=headers)


async def test_what_nobody_can_see_or_store_is_refused_by_every_field(
    installation: Installation, subtests: pytest.Subtests
) -> None:
    """T-211."""
    owner = await installation.person(Role.OWNER)
    for (path, field), others in fields_of(owner).items():
        for name, literal in REFUSED.items():
            with subtests.test(path=path, text=name):
                literal = f"{literal}@example.com" if field == "email" else literal

                answer = await post(installation, path, owner, field, literal, others)

                # What cannot be an address is nobody's address.
                is_sign_in = path.endswith("sign-in") and name not in (
                    "lone surrogate",
                    "surrogates in the wrong order",
                )
                assert answer.status_code in ((401, 422) if is_sign_in else (422,)), answer.text
        with subtests.test(path=path, text="10 MB"):
            answer = await post(installation, path, owner, field, "x" * 10_000_000, others)
            assert answer.status_code == 413
    assert installation.rows("SELECT FROM transfers") == []
    assert installation.rows("SELECT FROM api_keys") == []
    assert len(installation.rows("SELECT FROM users")) == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Zoe\u0301 paid", "Zo\u00e9 paid"),
        ("thanks \U0001f600\u2764", "thanks \U0001f600\u2764"),
        ("שלום and مرحبا", "שלום and مرحبا"),
    ],
    ids=["decomposed", "emoji", "right to left"],
)
async def test_a_text_is_kept_in_one_form(installation: Installation, sent: str, kept: str) -> None:
    """T-211."""
    owner = await installation.person(Role.OWNER)
    for path, name, others in [
        (f"/api/v1/admin/users/{owner.id}/wallet/grant", "note", {"amount": "1"}),
        ("/api/v1/users/me/api-keys", "name", {"scopes": ["wallet:read"]}),
    ]:
        answer = await installation.client.post(path, json={name: sent, **others}, headers=owner.headers)
        assert answer.status_code in (200, 201), answer.text

    assert installation.rows("SELECT note FROM transfer_notes") == [{"note": kept}]
    assert installation.rows("SELECT name FROM api_keys") == [{"name": kept}]


async def test_addresses_that_only_look_the_same_are_two_users_and_two_spellings_of_one_are_not(
    install: Install,
) -> None:
    """T-211: the second has a Cyrillic letter; the last is the third, written in another form."""
    bodies = [
        {"email": email, "password": PASSWORD, "use": "token"}
        for email in ("ada@example.com", "\u0430da@example.com", "zo\u00e9@example.com", "ZOE\u0301@example.com")
    ]

    async with install(registration="open", worker=False) as installation:
        answers = [await installation.client.post("/api/v1/auth/sign-up", json=body) for body in bodies]

        assert [answer.status_code for answer in answers] == [201, 201, 201, 409]
        assert len({answer.json()["user_id"] for answer in answers[:3]}) == 3
        assert len(installation.rows("SELECT DISTINCT user_id FROM wallets")) == 3
