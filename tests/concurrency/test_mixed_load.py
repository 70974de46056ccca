"""All that moves credits at once, while the processes that do it are killed again and again: the books stay whole."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import httpx2
import pytest

from pantheon.db.engine import Database
from pantheon.ids import uuid7
from pantheon.payments.stripe.sandbox import Switch
from pantheon.turns.publish_rate_card import publish_rate_card
from pantheon.turns.rate_cards import view_rate_card
from pantheon.turns.recover_calls import recover_calls
from pantheon.users.rights import Role
from tests.crash.callers import BODY
from tests.crash.processes import Service, free_port, service
from tests.crash.test_kill_calls import is_overdue
from tests.installation import TEST, Installation, Person, eventually
from tests.models.scripted_provider import Script, ScriptedProvider, answered, delta, serving, streamed, whole
from tests.turns.metering import ALIAS, MODEL

SECONDS = 60
WORDS = ["abc"] * 20
SCRIPTS = [
    streamed(*WORDS),
    streamed(*WORDS, pause=0.02),
    streamed(*WORDS, usage=None),
    whole("abc" * 20),
    Script([delta("abc"), delta("def"), None]),
    Script([delta("abc"), asyncio.Event()]),
    answered({"error": {"message": "no"}}, status=400),
]
GRANT, TOP_UP = 5 * 10**9, 333_330_000_000
"""Nanocredits of each."""


@dataclass
class Load:
    """Who asks for something asks again, with the same key, until there is an answer."""

    it: Installation
    services: list[Service]
    owner: Person
    people: list[Person]
    random: Random
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Counter[str] = field(default_factory=Counter)
    given: Counter[UUID] = field(default_factory=Counter)
    """Nanocredits, as far as somebody was told so."""

    async def call(self) -> None:
        """Streamed or not, and left in the middle or not."""
        person, leaves = self.random.choice(self.people), self.random.random() < 0.3
        body = BODY | {"stream": self.random.random() < 0.8}
        try:
            async with asyncio.timeout(3), self._client() as client:
                async with client.stream("POST", "/v1/chat/completions", json=body, headers=person.headers) as answer:
                    async for _ in answer.aiter_lines():
                        if leaves:
                            break
                self.answers[f"call {answer.status_code}"] += 1
        except (httpx2.TransportError, TimeoutError) as error:
            self.answers[f"call {type(error).__name__}"] += 1
            await asyncio.sleep(0.05)

    async def grant(self) -> None:
        person = self.random.choice(self.people)
        path = f"/api/v1/admin/users/{person.id}/wallet/grant"
        await self._until_done(path, {"amount": "5", "note": "load"}, self.owner)
        self.given[person.id] += GRANT

    async def top_up(self) -> None:
        person = self.random.choice(self.people)
        opened = await self._until_done("/api/v1/users/me/wallet/top-up", {"amount_usd": "10.00"}, person)
        self.it.sandbox.play(opened["top_up_id"], "pay")
        self.given[person.id] += TOP_UP

    async def kill(self) -> None:
        await asyncio.sleep(self.random.uniform(0.5, 3))
        killed = self.random.choice(self.services)
        killed.kill()
        await rise(killed)
        # The leases of the dead have run out: their 30 seconds are not waited for.
        self.it.execute("UPDATE top_ups SET leased_until = now()")
        self.answers["kill"] += 1

    async def run(self, seconds: int) -> None:
        keep = [self.call] * 8 + [self.top_up] * 2 + [self.grant, self.kill]
        working = [asyncio.create_task(self._keep(work)) for work in keep]
        await asyncio.wait(working, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        self.stopped.set()
        await asyncio.gather(*working)

    async def _keep(self, work: Any) -> None:
        while not self.stopped.is_set():
            await work()

    async def _until_done(self, path: str, body: dict[str, Any], person: Person) -> dict[str, Any]:
        headers = person.headers | {"Idempotency-Key": uuid7().hex}
        while True:
            try:
                async with self._client() as client:
                    answer = await client.post(path, json=body, headers=headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code in (200, 201):
                self.answers[path.rpartition("/")[2]] += 1
                return dict(answer.json())
            assert answer is None or answer.status_code in (409, 503), answer.text
            await asyncio.sleep(0.1)

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.random.choice(self.services).url, timeout=10)


@pytest.mark.prove
@pytest.mark.timeout(300)
async def test_the_books_are_whole_whatever_happens_at_once(app_url: str, owner_url: str, database: Database) -> None:
    """Asks for `database` so that the books are verified at the end: that every receipt adds up as well."""
    random = Random(seed := uuid7().int % 10**6)
    scripts = random.choices(SCRIPTS, k=10_000)
    limits = {"rate_limit_top_ups_per_hour": 10_000, "top_up_max_open": 100, "rate_limit_calls_per_minute": 10**6}
    async with (
        serving(ScriptedProvider(*scripts)) as provider,
        service(app_url, owner_url, failpoints=[], model_providers=f"scripted={provider.url}", **limits) as (first, it),
    ):
        second = Service(first.settings, free_port())
        load = Load(it, [first, second], *await people(it), random)
        it.sandbox.switches.add(Switch(name="duplicate_webhook", on="*", times=None))
        await asyncio.gather(*map(rise, load.services))
        try:
            await load.run(SECONDS)
            await eventually(lambda: all_is_credited(it), seconds=60)
        finally:
            second.kill()
        first.kill()

        print(f"seed {seed}: {dict(load.answers)}, {len(it.rows('SELECT FROM calls'))} calls")
        is_overdue(it)
        while it.rows("SELECT FROM calls WHERE state = 'open'"):
            await recover_calls(it.runtime.database)
        for person in load.people:
            assert wallet(it, person) == (load.given[person.id] - charged(it, person), 0), seed
        assert min(load.answers[what] for what in ("call 200", "grant", "top-up", "kill")) > 0, load.answers


async def rise(service: Service) -> None:
    service.start()
    assert await service.post("/api/v1/auth/sign-in", json={}) is not None


async def people(it: Installation) -> tuple[Person, list[Person]]:
    """The owner, and who calls. What they can call costs next to nothing, but it takes a grant or a top-up first."""
    database = it.runtime.database
    card = await view_rate_card(database)
    await publish_rate_card(
        database, TEST, models=[*card.models, MODEL], based_on=card.version, note="test", confirmed=[ALIAS]
    )
    owner = await it.person(Role.OWNER, "olga@example.com")
    return owner, [await it.person(email=f"p{number}@example.com") for number in range(4)]


async def all_is_credited(it: Installation) -> bool:
    return not it.rows("SELECT FROM top_ups WHERE state <> 'credited'") and not it.rows(
        "SELECT FROM inbox_events WHERE state = 'received'"
    )


def wallet(it: Installation, person: Person) -> tuple[int, int]:
    [row] = it.rows("SELECT available, held FROM wallets WHERE user_id = %s", person.id)
    return row["available"], row["held"]


def charged(it: Installation, person: Person) -> int:
    query = "SELECT coalesce(sum(charged), 0)::bigint AS charged FROM receipts r JOIN wallets w ON w.id = r.wallet_id"
    [row] = it.rows(f"{query} WHERE w.user_id = %s", person.id)
    return int(row["charged"])
