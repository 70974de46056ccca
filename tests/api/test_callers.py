"""Who is calling: keys, tokens of an outside issuer, sessions, and what each may do."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pantheon.api.app import create_api
from pantheon.api.callers import AdminOwner, AdminReader, WithCaller, caller_with, session_caller
from pantheon.api.dependencies import WithRuntime
from pantheon.api.server import bind, serving
from pantheon.db.tables import identities, users, wallets
from pantheon.errors import OutsideError
from pantheon.runtime import Runtime
from pantheon.users.create_api_key import create_api_key
from pantheon.users.disable_user import disable_user
from pantheon.users.enable_user import enable_user
from pantheon.users.rights import Role, Scope
from pantheon.users.set_role import set_role
from pantheon.users.tokens import TokenVerifier
from tests.api.conftest import TEST_ACTOR, Browser, MakeUser, Person

AUDIENCE = "authenticated"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def me(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.get("/api/v1/auth/me", headers=bearer(token))


# -- an issuer as Supabase is one: ES256, keys below /auth/v1


@dataclass
class Issuer:
    url: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    answer: Callable[[], Response] | None = None
    fetches: int = 0

    @property
    def name(self) -> str:
        return f"{self.url}/auth/v1"

    def claims(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.name,
            "aud": AUDIENCE,
            "sub": "4be6c1b2-7f5d-4a0e-9a53-0f7d6a1f2c11",
            "exp": now + 3600,
            "iat": now,
            "role": "authenticated",
            "email": "Eve@Example.com",
        } | more

    def token(self, *, headers: dict[str, Any] | None = None, without: str | None = None, **more: Any) -> str:
        claims = {name: value for name, value in self.claims(**more).items() if name != without}
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "first", **(headers or {})})

    def jwks(self) -> Response:
        self.fetches += 1
        return self.answer() if self.answer else JSONResponse({"keys": [public_jwk(self.key, "first")]})


def public_jwk(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": kid, "alg": "ES256", "use": "sig"}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """The issuer's address is needed for the settings, before anything listens to it."""
    listener = bind("127.0.0.1", 0)
    yield listener
    listener.close()


@pytest.fixture
async def issuer(listener: socket.socket) -> AsyncIterator[Issuer]:
    issuer = Issuer(f"http://127.0.0.1:{listener.getsockname()[1]}")

    async def jwks(_: Request) -> Response:
        return issuer.jwks()

    app = Starlette(routes=[Route("/auth/v1/.well-known/jwks.json", jwks)])
    async with serving(app, listener):
        yield issuer


@pytest.fixture
def overrides(listener: socket.socket) -> dict[str, Any]:
    return {"oidc_issuer": f"http://127.0.0.1:{listener.getsockname()[1]}/auth/v1"}


async def test_a_token_of_the_issuer_is_a_user_with_a_wallet_from_the_first_call_on(
    client: httpx2.AsyncClient, issuer: Issuer
) -> None:
    first, second = await me(client, issuer.token()), await me(client, issuer.token())
    assert first.status_code == 200
    shown = first.json()
    assert (shown["email"], shown["role"], shown["via"]) == ("eve@example.com", "user", "token")
    assert (shown["scopes"], shown["csrf_token"]) == (None, None)
    assert second.json() == shown
    assert issuer.fetches == 1


async def test_rs256_is_accepted_as_well(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "rsa"}
    issuer.answer = lambda: JSONResponse({"keys": [jwk, {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, 7, {}]})
    token = jwt.encode(issuer.claims(), key, algorithm="RS256", headers={"kid": "rsa"})
    assert (await me(client, token)).status_code == 200


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signed_with_the_public_key(issuer: Issuer) -> str:
    """The classic: the public key, which everybody has, taken for the secret of HS256."""
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = jwt.utils.base64url_encode(public)
    return jwt.encode(issuer.claims(), secret, algorithm="HS256", headers={"kid": "first"})


def _with_other_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{_segment(issuer.claims(sub='somebody else'))}.{signature}"


def _of_a_stranger(issuer: Issuer) -> str:
    return Issuer(issuer.url).token()


def _names_its_own_keys(issuer: Issuer) -> str:
    stranger = Issuer(issuer.url)
    headers = {"jku": f"{issuer.url}/elsewhere.json", "jwk": public_jwk(stranger.key, "first")}
    return stranger.token(headers=headers)


BAD_TOKENS: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 31),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 60),
    "without expiry": lambda issuer: issuer.token(without="exp"),
    "other issuer": lambda issuer: issuer.token(iss="https://evil.example.com/auth/v1"),
    "without issuer": lambda issuer: issuer.token(without="iss"),
    "other audience": lambda issuer: issuer.token(aud="somebody"),
    "without audience": lambda issuer: issuer.token(without="aud"),
    "without subject": lambda issuer: issuer.token(without="sub"),
    "empty subject": lambda issuer: issuer.token(sub=""),
    "NUL in the subject": lambda issuer: issuer.token(sub="a\0b"),
    "lone surrogate in the subject": lambda issuer: issuer.token(sub="\ud800"),
    "overlong subject": lambda issuer: issuer.token(sub="x" * 256),
    "endless expiry": lambda issuer: issuer.token(exp=float("inf")),
    "unknown key": lambda issuer: issuer.token(headers={"kid": "second"}),
    "unnamed key": lambda issuer: jwt.encode(issuer.claims(), issuer.key, algorithm="ES256"),
    "unknown critical header": lambda issuer: issuer.token(headers={"crit": ["x"], "x": 1}),
    "tampered claims": _with_other_claims,
    "another key of the same name": _of_a_stranger,
    "names its own keys": _names_its_own_keys,
    "HS256 with the public key": _signed_with_the_public_key,
    "none": lambda issuer: jwt.encode(issuer.claims(), None, algorithm="none", headers={"kid": "first"}),
    "none without signature": lambda issuer: (
        f"{_segment({'alg': 'none', 'kid': 'first'})}.{_segment(issuer.claims())}."
    ),
    "garbage": lambda _: "a.b.c",
    "deep header": lambda _: base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".e30.x",
    "header that is no object": lambda _: f"{_segment([])}.e30.x",
    "key named by a list": lambda _: f"{_segment({'alg': 'ES256', 'kid': ['first']})}.e30.x",
}


async def test_bad_tokens_are_nobody_and_create_nobody(
    client: httpx2.AsyncClient, issuer: Issuer, runtime: Runtime
) -> None:
    for what, make in BAD_TOKENS.items():
        answer = await me(client, make(issuer))
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated"), what
        assert answer.headers["www-authenticate"] == "Bearer"
    async with runtime.database.transaction() as tx:
        assert await tx.scalar(select(func.count()).select_from(users)) == 0
    assert (await me(client, issuer.token())).status_code == 200


async def test_a_clock_may_be_half_a_minute_off(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    now = int(time.time())
    assert (await me(client, issuer.token(exp=now - 20, nbf=now + 20, iat=now + 20))).status_code == 200


async def test_concurrent_first_calls_of_one_subject_create_one_user(
    client: httpx2.AsyncClient, issuer: Issuer, runtime: Runtime
) -> None:
    token = issuer.token()
    answers = await asyncio.gather(*(me(client, token) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["user_id"] for answer in answers}) == 1
    async with runtime.database.transaction() as tx:
        counts = [await tx.scalar(select(func.count()).select_from(table)) for table in (users, wallets, identities)]
    assert counts == [1, 1, 1]
    assert issuer.fetches == 1


async def test_a_token_never_opens_the_account_that_has_its_email(
    client: httpx2.AsyncClient, issuer: Issuer, make_user: MakeUser
) -> None:
    eve = await make_user(email="eve@example.com", role=Role.OWNER)
    shown = (await me(client, issuer.token(email="EVE@example.com"))).json()
    assert shown["user_id"] != str(eve.user_id)
    assert (shown["email"], shown["role"]) == (None, "user")


async def test_an_email_that_proves_nothing_is_not_kept(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    for number, claims in enumerate(
        [{"email_verified": False}, *({"email": email} for email in (None, 7, "no address", "a\0@example.com"))]
    ):
        answer = await me(client, issuer.token(sub=f"subject {number}", **claims))
        assert (answer.status_code, answer.json()["email"]) == (200, None), claims


async def test_a_disabled_user_of_the_issuer_is_nobody(
    client: httpx2.AsyncClient, issuer: Issuer, runtime: Runtime
) -> None:
    shown = (await me(client, issuer.token())).json()
    await disable_user(runtime.database, user_id=shown["user_id"], actor=TEST_ACTOR)
    assert (await me(client, issuer.token())).status_code == 401


async def test_a_new_key_of_the_issuer_is_fetched_and_made_up_ones_do_not_make_us_ask_again(
    client: httpx2.AsyncClient, issuer: Issuer
) -> None:
    assert (await me(client, issuer.token())).status_code == 200
    new = Issuer(issuer.url)
    issuer.answer = lambda: JSONResponse({"keys": [public_jwk(issuer.key, "first"), public_jwk(new.key, "second")]})
    assert (await me(client, new.token(headers={"kid": "second"}))).status_code == 200
    assert issuer.fetches == 2
    for n in range(5):
        assert (await me(client, issuer.token(headers={"kid": f"made up {n}"}))).status_code == 401
    assert issuer.fetches == 2


NO_KEYS: dict[str, Callable[[], Response]] = {
    "error": lambda: Response(status_code=500),
    "redirect": lambda: RedirectResponse("https://evil.example.com/jwks.json"),
    "not JSON": lambda: Response(b"<html>"),
    "no object": lambda: JSONResponse([]),
    "no list": lambda: JSONResponse({"keys": 7}),
    "too large": lambda: JSONResponse({"keys": [], "filler": "x" * 1_100_000}),
}


async def test_keys_that_cannot_be_had_are_not_the_callers_fault(
    client: httpx2.AsyncClient, issuer: Issuer, runtime: Runtime
) -> None:
    issuer.answer = NO_KEYS["error"]
    refused = await me(client, issuer.token())
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "unavailable", "5")
    for what, answer in NO_KEYS.items():
        issuer.answer = answer
        verifier = TokenVerifier.of(runtime.settings)
        assert verifier is not None, what
        with pytest.raises(OutsideError):
            await verifier.verify(issuer.token())
        await verifier.close()


async def test_keys_that_were_fetched_once_are_used_on_when_the_issuer_is_down(
    client: httpx2.AsyncClient, issuer: Issuer
) -> None:
    assert (await me(client, issuer.token())).status_code == 200
    issuer.answer = lambda: Response(status_code=503)
    assert (await me(client, issuer.token(headers={"kid": "second"}))).status_code == 401
    assert issuer.fetches == 2
    assert (await me(client, issuer.token())).status_code == 200


# -- what comes first, and what nobody is


async def test_a_bad_bearer_never_falls_back_to_the_cookie(make_user: MakeUser, browser: Browser) -> None:
    page = await browser(await make_user())
    values = ["Bearer pk_" + "A" * 43, "Bearer ps_" + "A" * 43, "Bearer x.y.z", "Bearer", "Basic YTpi", "", "Bearer é"]
    for value in values:
        answer = await page.get("/api/v1/auth/me", headers={"Authorization": value.encode()})
        assert answer.status_code == 401, value
    assert (await page.get("/api/v1/auth/me")).status_code == 200


async def test_a_good_bearer_comes_before_the_cookie_and_needs_no_csrf_token(
    make_user: MakeUser, browser: Browser
) -> None:
    ada, bob = await make_user(), await make_user()
    page = await browser(ada)
    headers = {**bob.headers, "Origin": "https://elsewhere.example.com", "X-CSRF-Token": ""}
    shown = await page.get("/api/v1/auth/me", headers=headers)
    assert (shown.json()["user_id"], shown.json()["csrf_token"]) == (str(bob.user_id), None)
    assert (await page.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204
    assert (await page.get("/api/v1/auth/me")).json()["user_id"] == str(ada.user_id)


async def test_hostile_cookies_are_nobody(client: httpx2.AsyncClient) -> None:
    for value in (b"", b"ps_", b"\xff\xfe", b'"\\000"', b"x" * 8000, b"ps_" + b"A" * 43):
        answer = await client.get("/api/v1/auth/me", headers={"Cookie": b"pantheon_session=" + value})
        assert answer.status_code == 401, value


async def test_a_disabled_user_is_nobody_whatever_the_proof(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime, browser: Browser
) -> None:
    ada = await make_user()
    page = await browser(ada)
    key = await _key(runtime, ada, Scope.WALLET_READ)
    await disable_user(runtime.database, user_id=ada.user_id, actor=TEST_ACTOR)
    for headers in (ada.headers, bearer(key)):
        assert (await client.get("/api/v1/auth/me", headers=headers)).status_code == 401
    assert (await page.get("/api/v1/auth/me")).status_code == 401
    await enable_user(runtime.database, user_id=ada.user_id, actor=TEST_ACTOR)
    assert (await client.get("/api/v1/auth/me", headers=bearer(key))).status_code == 200
    assert (await page.get("/api/v1/auth/me")).status_code == 401


# -- what routes may ask of a caller


async def _key(runtime: Runtime, person: Person, *scopes: Scope) -> str:
    _, key = await create_api_key(
        runtime.database, runtime.settings, user_id=person.user_id, name="k", scopes=scopes, actor=TEST_ACTOR
    )
    return key


def _probes() -> APIRouter:
    router = APIRouter()

    @router.get("/read", dependencies=[Depends(caller_with(Scope.WALLET_READ))])
    async def read() -> None: ...

    @router.get("/admin/read")
    async def admin_read(_: AdminReader) -> None: ...

    @router.post("/admin/change")
    async def admin_change(caller: AdminOwner) -> str:
        return caller.actor.name

    @router.put("/own")
    async def own(_: WithCaller) -> None: ...

    @router.api_route("/page", methods=["GET", "POST"])
    async def page(request: Request, runtime: WithRuntime) -> str | None:
        caller = await session_caller(request, runtime)
        return caller and str(caller.user_id)

    return router


@asynccontextmanager
async def _serving_probes(runtime: Runtime) -> AsyncIterator[str]:
    app = create_api(runtime)
    app.include_router(_probes(), prefix="/probe")
    listener = bind("127.0.0.1", 0)
    async with serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/probe"


@pytest.fixture
async def probe_url(runtime: Runtime) -> AsyncIterator[str]:
    async with _serving_probes(runtime) as url:
        yield url


async def test_roles_and_scopes_are_both_needed_for_admin_routes(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime, probe_url: str
) -> None:
    user, analyst, owner = [await make_user(role=role) for role in (Role.USER, Role.ANALYST, Role.OWNER)]
    cases = [
        (user.headers, 403, 403),
        (analyst.headers, 200, 403),
        (owner.headers, 200, 200),
        (bearer(await _key(runtime, analyst, Scope.ADMIN)), 200, 403),
        (bearer(await _key(runtime, owner, Scope.ADMIN)), 200, 200),
        (bearer(await _key(runtime, owner, Scope.WALLET_READ, Scope.WORKSPACE)), 403, 403),
        ({}, 401, 401),
    ]
    for number, (headers, read, change) in enumerate(cases):
        found = await client.get(f"{probe_url}/admin/read", headers=headers)
        changed = await client.post(f"{probe_url}/admin/change", headers=headers)
        assert (found.status_code, changed.status_code) == (read, change), number
    refused = await client.post(f"{probe_url}/admin/change", headers=analyst.headers)
    assert refused.json()["detail"] == "Admin access required."


async def test_a_key_needs_the_scope_and_a_person_needs_none(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime, probe_url: str
) -> None:
    ada = await make_user()
    read, other = await _key(runtime, ada, Scope.WALLET_READ), await _key(runtime, ada, Scope.USAGE_READ)
    statuses = [
        (await client.get(f"{probe_url}/read", headers=headers)).status_code
        for headers in (ada.headers, bearer(read), bearer(other), {})
    ]
    assert statuses == [200, 200, 403, 401]


async def test_an_owner_who_is_demoted_loses_the_keys_admin_rights(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime, probe_url: str
) -> None:
    ada = await make_user(role=Role.OWNER)
    key = await _key(runtime, ada, Scope.ADMIN)
    assert (await client.get(f"{probe_url}/admin/read", headers=bearer(key))).status_code == 200
    await set_role(runtime.database, user_id=ada.user_id, role=Role.USER, actor=TEST_ACTOR)
    assert (await client.get(f"{probe_url}/admin/read", headers=bearer(key))).status_code == 403


async def test_the_settings_make_owners_too(
    client: httpx2.AsyncClient, make_user: MakeUser, runtime: Runtime, probe_url: str
) -> None:
    ada = await make_user()
    assert (await client.post(f"{probe_url}/admin/change", headers=ada.headers)).status_code == 403
    listed = runtime.settings.model_copy(update={"admin_user_ids": [str(ada.user_id)]})
    async with _serving_probes(replace(runtime, settings=listed)) as url:
        assert (await client.post(f"{url}/admin/change", headers=ada.headers)).status_code == 200


async def test_no_route_with_a_caller_can_forget_the_cross_site_check(
    make_user: MakeUser, browser: Browser, probe_url: str
) -> None:
    origin = probe_url.removesuffix("/probe")
    page = await browser(await make_user(role=Role.OWNER))
    for method, path in (("PUT", "own"), ("POST", "admin/change"), ("POST", "page")):
        for headers in ({"X-CSRF-Token": "wrong", "Origin": origin}, {"Origin": "https://evil.example.com"}):
            answer = await page.request(method, f"{probe_url}/{path}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), path
        answer = await page.request(method, f"{probe_url}/{path}", headers={"Origin": origin})
        assert answer.status_code == 200, path


async def test_a_page_asks_who_the_cookie_stands_for(
    client: httpx2.AsyncClient, make_user: MakeUser, browser: Browser, probe_url: str
) -> None:
    ada = await make_user()
    page = await browser(ada)
    assert (await page.get(f"{probe_url}/page")).json() == str(ada.user_id)
    assert (await client.get(f"{probe_url}/page")).json() is None
    assert (await client.get(f"{probe_url}/page", headers=ada.headers)).json() is None
    token = page.headers.pop("X-CSRF-Token")
    page.headers["Origin"] = probe_url.removesuffix("/probe")
    for data in ({"csrf_token": token}, {"csrf_token": token, "more": "x"}):
        assert (await page.post(f"{probe_url}/page", data=data)).json() == str(ada.user_id)
    assert (await page.post(f"{probe_url}/page", files={"csrf_token": b"x"})).status_code == 403
