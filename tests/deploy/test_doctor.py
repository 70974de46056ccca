"""`pantheon doctor` finds what is wrong, says what to do, and changes nothing."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from pantheon.api.app import create_openapi
from pantheon.api.server import bind, serving
from pantheon.cli.checks import skewed
from pantheon.cli.checks.deployment import check_deployment
from pantheon.cli.checks.installation import _models, _storage, _web_search, check_installation
from pantheon.db.migrate import migrate
from pantheon.payments.receive_event import USED_TYPES
from pantheon.payments.stripe.client import API_VERSION
from pantheon.payments.stripe.inspection import Endpoint, skew
from pantheon.settings import Settings
from tests.installation import WEBHOOK_SECRET, Installation

PROGRAM = Path(sys.executable).with_name("pantheon")


def _environment(installation: Installation, **more: str) -> dict[str, str]:
    settings = installation.runtime.settings
    assert settings.database_url is not None
    assert settings.stripe_api_base is not None
    return {
        "PATH": os.defpath,
        "APP_ENV": "test",
        "PUBLIC_URL": settings.public_url,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "STRIPE_SECRET_KEY": installation.sandbox.secret_key,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_ACCOUNT_ID": installation.sandbox.account_id,
        "STRIPE_API_BASE": settings.stripe_api_base,
        **more,
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Makes an environment that of this process, away from any .env of the checkout."""
    monkeypatch.chdir(tmp_path)

    def here(environment: dict[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return here


async def _doctor(environment: dict[str, str], folder: Path, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:

    run = await asyncio.to_thread(
        subprocess.run,
        [PROGRAM, "doctor", "--json", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not run.stderr, run.stderr
    return run.returncode, {found["check"]: found for found in json.loads(run.stdout)}


async def test_a_sound_installation_has_no_failure_and_the_roles_are_apart(
    installation: Installation, tmp_path: Path
) -> None:
    migrate(installation.owner_url, app_url=installation.runtime.direct.url)

    code, found = await _doctor(_environment(installation), tmp_path)

    assert code == 0, found
    assert {name: item["result"] for name, item in found.items()} == {
        "code": "ok",
        "settings": "ok",
        "public url": "warning",
        "secret keys": "warning",
        "database": "ok",
        "schema": "ok",
        "roles": "ok",
        "time-outs": "ok",
        "database clock": "ok",
        "price": "ok",
        "models": "ok",
        "web search": "ok",
        "storage": "ok",
        "stripe mode": "ok",
        "stripe account": "ok",
        "stripe clock": "ok",
        "stripe webhook": "ok",
    }


def test_what_is_off_or_not_usable_is_said(tmp_path: Path) -> None:
    def found(**settings: Any) -> list[tuple[str, str]]:
        told = Settings(_env_file=None, **settings)
        return [(str(finding.result), finding.found) for finding in (_models(told), _web_search(told), _storage(told))]

    alone = tmp_path / "file"
    alone.touch()
    outside = {
        "app_env": "staging",
        "database_url": "postgresql://x",
        "public_url": "https://x",
        "secret_keys": "k" * 32,
    }

    assert found(**outside) == [
        ("warning", "the demo alone, which knows nothing"),
        ("ok", "off: TAVILY_API_KEY is not set"),
        ("warning", "STORAGE_URL is not set: no files are taken"),
    ]
    assert found(app_env="local", storage_url=str(alone / "files"), model_providers="x=https://x.example/v1") == [
        ("warning", "x without a key"),
        ("ok", "off: TAVILY_API_KEY is not set"),
        ("failed", f"{alone} cannot be written to"),
    ]
    keys = {"openrouter_api_key": "k", "tavily_api_key": "k", "model_providers": "near=http://127.0.0.1:1/v1"}
    assert found(app_env="local", storage_url=str(tmp_path / "files"), **keys) == [
        ("ok", "of demo, openrouter, near"),
        ("ok", "on"),
        ("ok", str(tmp_path / "files")),
    ]


async def test_each_thing_that_is_wrong_is_named_with_what_to_do(installation: Installation, tmp_path: Path) -> None:
    """One role for both, a schema of another version, another account, an endpoint that leads elsewhere."""
    installation.execute("UPDATE alembic_version SET version_num = '0001'")

    code, found = await _doctor(
        _environment(
            installation,
            DATABASE_URL=installation.owner_url,
            STRIPE_ACCOUNT_ID="acct_of_somebody_else",
            PUBLIC_URL="https://elsewhere.example.com",
            DATABASE_POOL_URL="postgresql://nobody:x@127.0.0.1:1/none",
        ),
        tmp_path,
    )

    assert code == 1
    wrong = {name: item for name, item in found.items() if item["result"] != "ok"}
    assert {name: item["result"] for name, item in wrong.items()} == {
        "secret keys": "warning",
        "schema": "failed",
        "roles": "warning",
        "time-outs": "warning",
        "pooler": "failed",
        "stripe account": "failed",
        "stripe webhook": "failed",
    }
    assert all(item["advice"] for item in wrong.values())
    assert "pantheon db migrate" in wrong["schema"]["advice"]
    assert "DATABASE_MIGRATION_URL" in wrong["roles"]["advice"]


async def test_a_refused_key_and_a_database_that_is_away_fail(installation: Installation, tmp_path: Path) -> None:
    code, found = await _doctor(
        _environment(
            installation,
            STRIPE_SECRET_KEY="sk_test_of_nobody_at_all",
            DATABASE_URL="postgresql://nobody:secret-password@127.0.0.1:1/none",
        ),
        tmp_path,
    )

    assert code == 1
    assert (found["stripe"]["result"], found["database"]["result"]) == ("failed", "failed")
    assert "secret-password" not in json.dumps(found)


async def test_a_key_restricted_to_what_is_needed_is_no_failure(
    installation: Installation, here: Callable[[dict[str, str]], None]
) -> None:
    refusal = {"error": {"type": "invalid_request_error", "message": "The provided key may not do this."}}
    listener = bind("127.0.0.1", 0)
    app = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse(refusal, 403))])
    async with serving(app, listener):
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        here(_environment(installation, STRIPE_API_BASE=address))
        found = {finding.check: finding for finding in await check_installation()}

    assert not [finding for finding in found.values() if finding.result == "failed"]
    for check, resource in {"stripe account": "Account", "stripe webhook": "Webhook Endpoints"}.items():
        assert found[check].result == "warning"
        assert found[check].found == f"this restricted key may not read {resource}"


async def test_wrong_settings_are_named_and_nothing_else_is_tried(tmp_path: Path) -> None:
    code, found = await _doctor({"PATH": os.defpath, "CURRENCY": "gold"}, tmp_path)

    assert code == 1
    assert list(found) == ["settings"]
    assert "CURRENCY" in found["settings"]["found"]


async def test_a_folder_that_was_never_used_stays_empty(tmp_path: Path) -> None:
    code, found = await _doctor({"PATH": os.defpath, "APP_ENV": "local", "DATA_DIR": str(tmp_path / "no")}, tmp_path)

    assert (code, found["database"]["result"]) == (0, "warning")
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_at_stripe_is_judged() -> None:
    good = Endpoint("https://x.example.com/webhooks/stripe", True, API_VERSION, frozenset(USED_TYPES))
    assert good.problems(used=USED_TYPES) == []

    bad = Endpoint("http://x.example.com/webhooks/stripe", False, "2019-01-01", frozenset({"charge.failed"}))
    disabled, plain, version, events = bad.problems(used=USED_TYPES)
    assert "disabled" in disabled
    assert "https" in plain
    assert API_VERSION in version
    assert all(type in events for type in USED_TYPES)


@pytest.mark.parametrize(
    ("seconds", "took", "result"),
    [
        (0, 0, "ok"),
        (-4, 0, "ok"),
        (5, 0, "warning"),
        (60, 0, "failed"),
        (-600, 0, "failed"),
        # The other clock was read at some moment of a long wait, which says nothing about the clocks.
        (-30, 60, "ok"),
        (5, 60, "warning"),
        (-60, 55, "warning"),
    ],
)
def test_clock_skew_is_named(seconds: int, took: int, result: str) -> None:
    """T-218"""
    asked = datetime.fromtimestamp(1_700_000_000 + seconds, UTC)
    answered = asked + timedelta(seconds=took)
    finding = skewed("clock", skew("Tue, 14 Nov 2023 22:13:20 GMT", asked=asked, answered=answered), "Stripe")
    seconds = seconds if seconds > 0 else min(seconds + took, 0)

    assert finding.result == result
    if result != "ok":
        assert f"clock skew: this machine is {abs(seconds)} s" in finding.found
        assert ("ahead of" if seconds > 0 else "behind") in finding.found


async def test_a_deployment_of_this_code_is_the_same(installation: Installation, tmp_path: Path) -> None:
    code, found = await _doctor({"PATH": os.defpath}, tmp_path, "--against", installation.url)

    assert code == 0, found
    assert {name for name, item in found.items() if item["result"] != "ok"} <= {"https", "commit", "payments"}
    assert found["webhook"]["result"] == "ok"
    assert "Stripe was not asked" in found["stripe webhook"]["found"]


@pytest.mark.prove
async def test_the_endpoint_of_a_deployment_is_asked_for_where_the_key_is_known(
    installation: Installation, here: Callable[[dict[str, str]], None]
) -> None:
    here(_environment(installation))
    found = {finding.check: finding for finding in await check_deployment(installation.url)}
    assert found["stripe webhook"].result == "ok", found

    installation.sandbox.endpoints[0] = replace(installation.sandbox.endpoints[0], url="http://127.0.0.1:1/elsewhere")
    found = {finding.check: finding for finding in await check_deployment(installation.url)}
    assert found["stripe webhook"].result == "failed"
    assert found["stripe webhook"].found == f"none leads to {installation.url}/webhooks/stripe"


async def test_an_old_deployment_behind_a_proxy_that_redirects_is_found_out() -> None:
    document = create_openapi()
    del document["paths"]["/api/v1/users/me/wallet/top-up"]
    health = {
        "version": "0.0.1",
        "commit": "0" * 40,
        "migration_revision": "0001",
        "migration_head": "0001",
        "public_url": "https://elsewhere.example.com",
        "payments": "off",
    }
    old = Starlette(
        routes=[
            Route("/api/v1/health", lambda _: JSONResponse(health)),
            Route("/api/v1/ready", lambda _: JSONResponse({"detail": "not yet"}, 503)),
            Route("/api/v1/openapi.json", lambda _: JSONResponse(document)),
            Route("/webhooks/stripe", lambda _: RedirectResponse("/webhooks/stripe/")),
        ]
    )
    listener = bind("127.0.0.1", 0)
    async with serving(old, listener):
        findings = await check_deployment(f"http://127.0.0.1:{listener.getsockname()[1]}")

    found = {finding.check: finding for finding in findings}
    assert {name for name, finding in found.items() if finding.result == "failed"} >= {
        "version",
        "schema",
        "ready",
        "routes",
        "webhook",
    }
    assert "POST /api/v1/users/me/wallet/top-up" in found["routes"].found
    assert "https://elsewhere.example.com" in found["public url"].found
    assert (found["payments"].result, found["payments"].found) == ("warning", "off")


async def test_an_address_where_nobody_answers_fails() -> None:
    (finding,) = await check_deployment("http://127.0.0.1:1")

    assert (finding.check, finding.result) == ("reachable", "failed")


def test_help_has_an_example() -> None:
    shown = subprocess.run([PROGRAM, "doctor", "--help"], capture_output=True, text=True, check=True).stdout

    assert "pantheon doctor --against https://" in shown
