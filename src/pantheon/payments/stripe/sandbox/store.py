"""What the sandbox remembers: one SQLite file, so that payments and webhooks under way survive a crash.

Only the event loop that serves the sandbox may call it. No method awaits, so nothing interleaves with a transaction.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,    -- as Stripe shows it
    private TEXT NOT NULL  -- what only the sandbox knows of it
);
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, position);
CREATE TABLE IF NOT EXISTS answers (
    idempotency_key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    request_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_created ON answers (created);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    endpoint INTEGER NOT NULL,
    state TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    attempts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due_ms);
CREATE INDEX IF NOT EXISTS deliveries_event ON deliveries (event_id);
"""

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The first answer to an idempotency key."""

    fingerprint: str
    request_id: str
    status: int
    body: Json


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint. States: pending, held, dropped, delivered, failed."""

    id: int
    event_id: str
    endpoint: int
    state: str
    due_ms: int
    attempts: list[Json]


class Store:
    def __init__(self, database: Path | None) -> None:
        if database is not None:
            database.touch(mode=0o600)  # it holds client secrets
        self._sqlite = sqlite3.connect(database or ":memory:", isolation_level=None, check_same_thread=False)
        self._sqlite.row_factory = sqlite3.Row
        # A write-ahead log in NORMAL mode loses nothing when this process dies, only when the machine does.
        self._sqlite.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        self._sqlite.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._sqlite.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sqlite.execute("ROLLBACK")
            raise
        self._sqlite.execute("COMMIT")

    def put(self, body: Json, *, kind: str | None = None, private: Json | None = None) -> None:
        """Stores an object, or the new version of one. `private` stays as it is unless given."""
        self._sqlite.execute(
            "INSERT INTO objects (id, kind, created, body, private) VALUES (:id, :kind, :created, :body, :private) "
            "ON CONFLICT (id) DO UPDATE SET body = :body, private = iif(:keep, private, :private)",
            {
                "id": body["id"],
                "kind": kind or body["object"],
                "created": body["created"],
                "body": json.dumps(body),
                "private": json.dumps(private or {}),
                "keep": private is None,
            },
        )

    def get(self, kind: str, id: str) -> Json | None:
        row = self._sqlite.execute("SELECT body FROM objects WHERE id = ? AND kind = ?", (id, kind)).fetchone()
        return None if row is None else _object(row["body"])

    def get_private(self, id: str) -> Json:
        row = self._sqlite.execute("SELECT private FROM objects WHERE id = ?", (id,)).fetchone()
        return _object(row["private"])

    def position(self, kind: str, id: str) -> int | None:
        row = self._sqlite.execute("SELECT position FROM objects WHERE id = ? AND kind = ?", (id, kind)).fetchone()
        return None if row is None else int(row["position"])

    def find_by_metadata(self, kind: str, value: str) -> Json | None:
        """The newest object that carries `value` anywhere in its metadata."""
        row = self._sqlite.execute(
            "SELECT body FROM objects WHERE kind = ? "
            "AND EXISTS (SELECT 1 FROM json_each(objects.body, '$.metadata') AS entry WHERE entry.value = ?) "
            "ORDER BY position DESC LIMIT 1",
            (kind, value),
        ).fetchone()
        return None if row is None else _object(row["body"])

    def page(
        self,
        kind: str,
        *,
        limit: int,
        after: int | None = None,
        before: int | None = None,
        created: dict[str, int] | None = None,
        types: list[str] | None = None,
    ) -> tuple[list[Json], bool]:
        """Up to `limit` objects, newest first, and whether there are more in the direction of travel.

        `after` and `before` are positions: the page lies just below the one or just above the other.
        """
        conditions: list[str] = ["kind = ?"]
        arguments: list[Any] = [kind]
        for comparison, bound in (created or {}).items():
            conditions.append(f"created {_COMPARISONS[comparison]} ?")
            arguments.append(bound)
        if types is not None:
            conditions.append(f"json_extract(body, '$.type') IN ({', '.join('?' * len(types))})")
            arguments += types
        if after is not None:
            conditions.append("position < ?")
            arguments.append(after)
        if before is not None:
            conditions.append("position > ?")
            arguments.append(before)
        order = "DESC" if before is None else "ASC"
        rows = self._sqlite.execute(
            f"SELECT body FROM objects WHERE {' AND '.join(conditions)} ORDER BY position {order} LIMIT ?",  # noqa: S608
            [*arguments, limit + 1],
        ).fetchall()
        found = [_object(row["body"]) for row in rows[:limit]]
        return (found if before is None else found[::-1]), len(rows) > limit

    def count(self, kind: str) -> int:
        return int(self._sqlite.execute("SELECT count(*) FROM objects WHERE kind = ?", (kind,)).fetchone()[0])

    def forget_answers(self, *, older_than: int) -> None:
        self._sqlite.execute("DELETE FROM answers WHERE created <= ?", (older_than,))

    def answer(self, key: str) -> Answer | None:
        row = self._sqlite.execute("SELECT * FROM answers WHERE idempotency_key = ?", (key,)).fetchone()
        if row is None:
            return None
        return Answer(row["fingerprint"], row["request_id"], row["status"], _object(row["body"]))

    def save_answer(self, key: str, answer: Answer, *, created: int) -> None:
        self._sqlite.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (key, answer.fingerprint, answer.request_id, answer.status, json.dumps(answer.body), created),
        )

    def add_delivery(self, *, event_id: str, endpoint: int, state: str, due_ms: int) -> int:
        cursor = self._sqlite.execute(
            "INSERT INTO deliveries (event_id, endpoint, state, due_ms, attempts) VALUES (?, ?, ?, ?, '[]')",
            (event_id, endpoint, state, due_ms),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def set_delivery(self, id: int, *, state: str, due_ms: int, attempts: list[Json]) -> None:
        self._sqlite.execute(
            "UPDATE deliveries SET state = ?, due_ms = ?, attempts = ? WHERE id = ?",
            (state, due_ms, json.dumps(attempts), id),
        )

    def delivery(self, id: int) -> Delivery:
        return _delivery(self._sqlite.execute("SELECT * FROM deliveries WHERE id = ?", (id,)).fetchone())

    def deliveries(
        self, *, event_id: str | None = None, state: str | None = None, limit: int = 1_000_000
    ) -> list[Delivery]:
        """Oldest first; the newest `limit` of them."""
        rows = self._sqlite.execute(
            "SELECT * FROM deliveries WHERE (?1 IS NULL OR event_id = ?1) AND (?2 IS NULL OR state = ?2) "
            "ORDER BY id DESC LIMIT ?3",
            (event_id, state, limit),
        ).fetchall()
        return [_delivery(row) for row in reversed(rows)]

    def pending(self) -> list[Delivery]:
        """Deliveries to be made, the next one first."""
        rows = self._sqlite.execute("SELECT * FROM deliveries WHERE state = 'pending' ORDER BY due_ms, id").fetchall()
        return [_delivery(row) for row in rows]

    def unhold(self) -> None:
        self._sqlite.execute("UPDATE deliveries SET state = 'pending' WHERE state = 'held'")


_COMPARISONS = {"": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _object(text: str) -> Json:
    value: Json = json.loads(text)
    return value


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        row["id"], row["event_id"], row["endpoint"], row["state"], row["due_ms"], json.loads(row["attempts"])
    )
