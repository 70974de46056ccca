"""The real books as the state machine drives them: PostgreSQL, with other connections that get in the way."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib.resources import files
from typing import Any
from uuid import UUID

import psycopg

from pantheon import clock
from pantheon.ids import uuid7
from pantheon.ledger.lanes import Lanes
from pantheon.ledger.post import Posting

HOUR = timedelta(hours=1)
VERIFY = [file.read_bytes() for file in files("pantheon.ledger").joinpath("sql", "verify").iterdir()]

Call = tuple[str, tuple[Any, ...]]


# Of its own: Hypothesis watches the shared one, from which nothing may be taken while it draws.
_random = random.Random()


class Postgres:
    def __init__(self, owner_url: str, app_url: str) -> None:
        self._open = ExitStack()
        self._owner = self._open.enter_context(psycopg.connect(owner_url, autocommit=True))
        self._direct = [self._open.enter_context(psycopg.connect(app_url, autocommit=True)) for _ in range(2)]
        self._lanes = self._open.enter_context(ThroughLanes(app_url).at_work())
        self._pool = self._open.enter_context(ThreadPoolExecutor(2))
        self._others = Others(app_url)
        self._open.enter_context(self._others.at_work())
        self._start = clock.now()
        self._calls = 0
        self.steps = 0
        """How often the model and the database were compared after a step."""

    def close(self) -> None:
        self._open.close()

    def begin(self, wallets: int) -> list[UUID]:
        """Empty wallets. The clock of this example starts now, at hour 0."""
        ids = [uuid7() for _ in range(wallets)]
        for id_ in ids:
            self._owner.execute("INSERT INTO users (id, created_at) VALUES (%s, now())", [id_])
            self._direct[0].execute("SELECT ledger_open_wallet(%s, %s)", [id_, id_])
        [(self._start,)] = self._owner.execute("SELECT now()").fetchall()
        # Counted anew so that the same example goes the same ways in. It is compared once before its first step.
        self._calls = 0
        self.steps -= 1
        self._others.calls.clear()
        self._others.wallets = ids
        return ids

    def when(self, hours_from_now: int | None) -> datetime | None:
        return None if hours_from_now is None else self._start + hours_from_now * HOUR

    def let_pass(self, hours: int) -> None:
        """Time passes: every end comes nearer. Nothing in the books depends on when something began."""
        for statement in (
            "UPDATE grants SET effective_at = effective_at - %(h)s, expires_at = expires_at - %(h)s"
            " WHERE wallet_id = ANY (%(w)s) AND expires_at IS NOT NULL",
            "UPDATE wallets SET next_expiry_at = next_expiry_at - %(h)s WHERE id = ANY (%(w)s)",
            "UPDATE holds SET created_at = created_at - %(h)s, expires_at = expires_at - %(h)s"
            " WHERE wallet_id = ANY (%(w)s) AND state = 'placed'",
        ):
            self._owner.execute(statement.encode(), {"h": hours * HOUR, "w": self._others.wallets})

    def call(self, function: str, *arguments: Any, at_once: bool = False) -> list[str]:
        """Its code; or the codes of two such calls that are made at the same moment. The ways in take turns."""
        self._calls += 1
        ways: list[Callable[[Call], list[str]]] = [partial(self._directly, at_once=at_once)]
        if function in THROUGH_LANES:
            ways.append(partial(self._lanes.codes_of, at_once=at_once))
            if at_once:
                ways.append(self._both_ways)
        codes = ways[self._calls % len(ways)]((function, arguments))
        if "ok" in codes:
            self._lanes.learn(function, arguments)
        if "ok" in codes and function in REPEATABLE:
            self._others.calls.append((function, arguments))
        if self._others.failure is not None:
            raise self._others.failure
        return codes

    def _directly(self, call: Call, *, at_once: bool) -> list[str]:
        return list(self._pool.map(lambda connection: code_of(connection, call), self._direct[: 1 + at_once]))

    def _both_ways(self, call: Call) -> list[str]:
        other = self._pool.submit(self._lanes.codes_of, call, at_once=False)
        return [code_of(self._direct[0], call), *other.result()]

    def batch(self, function: str, items: list[dict[str, Any]]) -> list[str]:
        query = f"SELECT code FROM {function}(%s)".encode()
        return [str(code) for (code,) in self._direct[0].execute(query, [psycopg.types.json.Jsonb(items)])]

    def state(self) -> dict[str, dict[UUID, tuple[Any, ...]]]:
        return {
            name: {row[0]: row[1:] for row in self._direct[0].execute(query.encode(), [self._others.wallets])}
            for name, query in STATE.items()
        }

    def breaks(self) -> list[tuple[Any, ...]]:
        return [row for part in VERIFY for row in self._direct[0].execute(part)]


STATE = {
    "wallets": "SELECT id, available, held, debt, state FROM wallets WHERE id = ANY (%s)",
    "grants": "SELECT id, amount, remaining, held, reversed FROM grants WHERE wallet_id = ANY (%s)",
    "holds": "SELECT id, amount, reserved, captured, state FROM holds WHERE wallet_id = ANY (%s)",
    "draws": "SELECT d.id, d.amount, d.captured, d.overrun, d.state FROM draws d JOIN holds h ON h.id = d.hold_id"
    " WHERE h.wallet_id = ANY (%s)",
    "moved": "SELECT wallet_id, coalesce(sum(amount) FILTER (WHERE credit_account = 'consumed'), 0)::bigint,"
    " coalesce(sum(amount) FILTER (WHERE debit_account = 'operator_overrun'), 0)::bigint"
    " FROM transfers WHERE wallet_id = ANY (%s) GROUP BY wallet_id",
}

REPEATABLE = {"ledger_grant", "ledger_adjust", "ledger_place_hold", "ledger_draw", "ledger_capture", "ledger_release"}
TYPES = {
    "ledger_grant": "%s::uuid, %s::uuid, %s::text, %s::text, %s::text, %s::text, %s::bigint, 0::bigint, %s::smallint,"
    " %s::timestamptz, '2020-01-01'::timestamptz, NULL::uuid, NULL::text",
    "ledger_adjust": "%s::uuid, %s::uuid, %s::bigint, NULL::uuid, NULL::text",
    "ledger_expire": "%s::uuid",
    "ledger_reverse_to_target": "%s::uuid, %s::bigint, NULL::timestamptz, NULL::uuid, NULL::text",
    "ledger_set_frozen": "%s::uuid, %s::boolean",
    "ledger_place_hold": "%s::uuid, %s::uuid, %s::bigint, %s::timestamptz",
    "ledger_draw": "%s::uuid, %s::uuid, %s::bigint",
    "ledger_capture": "%s::uuid, %s::bigint",
    "ledger_release": "%s::uuid",
    "ledger_expire_hold": "%s::uuid",
}


def code_of(connection: psycopg.Connection, call: Call) -> str:
    function, arguments = call
    row = connection.execute(f"SELECT code FROM {function}({TYPES[function]})".encode(), arguments).fetchone()
    assert row is not None
    return str(row[0])


THROUGH_LANES = {"ledger_place_hold", "ledger_draw", "ledger_capture", "ledger_release"}


class ThroughLanes:
    """The other way in, on an event loop of its own."""

    def __init__(self, app_url: str) -> None:
        self._url = app_url
        self._wallets: dict[UUID, UUID] = {}
        """Whose a hold or draw is: lanes have to know, and never read."""

    @contextmanager
    def at_work(self) -> Iterator["ThroughLanes"]:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            thread = threading.Thread(target=self._loop.run_forever)
            thread.start()
            self._lanes = Lanes(self._url)
            try:
                yield self
            finally:
                asyncio.run_coroutine_threadsafe(self._lanes.close(), self._loop).result()
                self._loop.call_soon_threadsafe(self._loop.stop)
                thread.join()

    def codes_of(self, call: Call, *, at_once: bool) -> list[str]:
        async def ask() -> list[str]:
            return [posting.code for posting in await asyncio.gather(*(self._send(*call) for _ in range(1 + at_once)))]

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()

    def learn(self, function: str, arguments: tuple[Any, ...]) -> None:
        if function == "ledger_place_hold":
            self._wallets[arguments[1]] = arguments[0]
        elif function == "ledger_draw":
            self._wallets[arguments[1]] = self._wallets[arguments[0]]

    def _send(self, function: str, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, Posting]:
        id_, *more = arguments
        wallet = self._wallets.get(id_, id_)
        if function == "ledger_place_hold":
            hold, amount, expires_at = more
            return self._lanes.place_hold(wallet_id=wallet, hold_id=hold, amount=amount, expires_at=expires_at)
        if function == "ledger_draw":
            return self._lanes.draw(wallet_id=wallet, hold_id=id_, draw_id=more[0], amount=more[1])
        if function == "ledger_capture":
            return self._lanes.capture(wallet_id=wallet, draw_id=id_, used=more[0])
        return self._lanes.release(wallet_id=wallet, hold_id=id_)


class Others:
    """Two connections that lock wallets for moments, read balances and repeat earlier calls. They change nothing."""

    def __init__(self, app_url: str) -> None:
        self._url = app_url
        self._done = threading.Event()
        self.wallets: list[UUID] = []
        self.calls: list[Call] = []
        self.failure: BaseException | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=(task,)) for task in (self._lock_and_read, self._repeat)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()

    def _work(self, task: Any) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._done.wait(_random.random() / 50):
                    if self.wallets:
                        task(connection)
        except BaseException as error:
            self.failure = error

    def _lock_and_read(self, connection: psycopg.Connection) -> None:
        wallet = _random.choice(self.wallets)
        query = (
            "SELECT w.available = coalesce(sum(g.remaining), 0) AND w.held = coalesce(sum(g.held), 0)"
            " FROM wallets w LEFT JOIN grants g ON g.wallet_id = w.id WHERE w.id = %s GROUP BY w.id"
        )
        assert connection.execute(query.encode(), [wallet]).fetchone() == (True,)
        with connection.transaction():
            # The ledger's own way to lock: a refused call keeps the wallet until this transaction ends.
            code_of(connection, ("ledger_adjust", (wallet, uuid7(), 0)))
            self._done.wait(_random.random() / 200)

    def _repeat(self, connection: psycopg.Connection) -> None:
        calls = self.calls[:]
        if calls:
            call = _random.choice(calls)
            # Between the two lines another example may have begun; an earlier call stays an earlier call.
            assert code_of(connection, call) in ("duplicate", "unchanged"), call
