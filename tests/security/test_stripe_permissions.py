"""S19: a restricted key with the permissions that SECURITY.md lists is enough, and none of them is idle."""

import re
from pathlib import Path

from pantheon.payments.stripe import client
from pantheon.payments.stripe.sandbox import Switch
from pantheon.payments.sweep import sweep_top_ups
from tests.installation import Installation

DOCUMENT = Path(__file__).parents[2] / "SECURITY.md"
ROW = re.compile(r"^\| ([A-Z]\w+) \| (Read|Write) \| (.+) \|$", re.MULTILINE)
CALL = re.compile(r"`(GET|POST|DELETE) (/v1/[a-z_/{}]+)`")


def documented() -> set[tuple[str, str]]:
    return {call for _, level, calls in ROW.findall(DOCUMENT.read_text()) for call in CALL.findall(calls)}


def made(installation: Installation) -> set[tuple[str, str]]:
    """What the sandbox was asked, with ids as the document writes them."""
    return {
        (entry["method"], re.sub(r"/(pi|cus|ch|evt)_\w+", "/{id}", entry["path"]))
        for entry in installation.sandbox.requests
    }


def test_what_only_reads_needs_no_permission_to_write() -> None:
    rows = ROW.findall(DOCUMENT.read_text())
    assert rows
    for resource, level, calls in rows:
        methods = {method for method, _ in CALL.findall(calls)}
        assert (methods == {"GET"}) == (level == "Read"), resource


async def test_every_call_in_the_life_of_top_ups_is_documented_and_no_other_is(installation: Installation) -> None:
    """T-207: opened, paid, cancelled, expired in silence, lost and looked for, of a customer who was deleted."""
    assert installation.runtime.stripe is not None
    ada, page = await installation.person(), installation.client
    paid = (await installation.top_up(ada, "10")).json()["top_up_id"]
    installation.sandbox.play(paid, "pay")
    await installation.becomes(ada, paid, "credited")
    cancelled = (await installation.top_up(ada, "11")).json()["top_up_id"]
    await page.post(f"/api/v1/users/me/wallet/top-ups/{cancelled}/cancel", headers=ada.headers)
    await installation.top_up(ada, "12")
    installation.sandbox.switches.add(Switch(name="lose_answer", on="POST /v1/payment_intents", times=3))
    await installation.top_up(ada, "13")
    installation.execute("UPDATE top_ups SET leased_until = now(), created_at = now() - interval '24 hours'")
    await sweep_top_ups(installation.runtime.database, installation.runtime.stripe)
    installation.execute("UPDATE top_ups SET leased_until = now(), expires_at = now()")
    await sweep_top_ups(installation.runtime.database, installation.runtime.stripe)

    assert made(installation) == documented()


def test_every_call_of_the_client_is_one_that_the_life_above_makes_or_the_sandboxs_form() -> None:
    """Whoever teaches the client a new call has to give the key its permission, and the test above its part."""
    source = Path(client.__file__).read_text()
    calls = set(re.findall(r"_client\.v1\.(\w+)\.(\w+)_async", source))

    assert calls - {("payment_intents", "confirm")} == {
        ("customers", "create"),
        ("payment_intents", "create"),
        ("payment_intents", "retrieve"),
        ("payment_intents", "cancel"),
        ("payment_intents", "list"),
    }
