"""S2: unsigned events come in only over a socket of this machine, whatever the headers say of it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from pantheon.api.server import bind, serving
from pantheon.errors import InvalidSignatureError
from pantheon.payments.receive_event import Received, receive_event
from pantheon.web.app import create_app
from tests.installation import Installation
from tests.payments.events import event_for, succeeded

Install = Callable[..., AbstractAsyncContextManager[Installation]]

LOCAL = {"stripe_webhook_secret": "", "public_url": "http://127.0.0.1:8000"}
HERE = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
ELSEWHERE = [None, "203.0.113.7", "10.0.0.1", "192.168.1.2", "::ffff:203.0.113.7", "2001:db8::1", "0.0.0.0", "::"]
NAMES_THIS_MACHINE = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "::ffff:127.0.0.1, 127.0.0.1"},
    {"X-Forwarded-For": ""},
    {"Forwarded": "for=127.0.0.1"},
    {"Forwarded": 'for="[::1]"'},
]


async def test_the_shortcut_is_for_sockets_of_this_machine(install: Install, subtests: pytest.Subtests) -> None:
    """T-191."""
    async with install(**LOCAL) as installation:
        ada = await installation.person()
        top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
        payment = succeeded(installation.sandbox.payments.find(top_up_id))
        for number, peer in enumerate([*HERE, *ELSEWHERE]):
            with subtests.test(peer=peer):
                body = event_for(payment, id=f"evt_crafted{number}")
                delivery = receive_event(
                    installation.runtime.inbox, installation.runtime.settings, body=body, signature=None, peer=peer
                )
                if peer in HERE:
                    assert await delivery is Received.STORED
                else:
                    with pytest.raises(InvalidSignatureError):
                        await delivery


@pytest.mark.parametrize("proxies", [None, ["127.0.0.1"], ["*"]], ids=str)
async def test_no_header_makes_a_forwarded_request_a_local_one(
    install: Install, subtests: pytest.Subtests, proxies: list[str] | None
) -> None:
    """T-191, with proxy headers off and on."""
    async with install(worker=False, **LOCAL) as installation:
        listener = bind("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            serving(create_app(installation.runtime), listener, proxies=proxies),
            httpx2.AsyncClient(base_url=url) as client,
        ):
            for headers in NAMES_THIS_MACHINE:
                with subtests.test(headers=headers):
                    answer = await client.post("/webhooks/stripe", content=event_for({}), headers=headers)

                    assert answer.status_code == 400
        assert installation.rows("SELECT FROM inbox_events") == []
