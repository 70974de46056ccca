"""The audit log: who did what to whom. Rows are chained by hash and the database refuses to change them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from pantheon import clock
from pantheon.db import locks
from pantheon.db.engine import Tx
from pantheon.db.locks import Lock
from pantheon.ledger.verify import Break


@dataclass(frozen=True)
class Actor:
    """Who is acting: a user, or a name such as `cli` where nobody is signed in."""

    user_id: UUID | None
    name: str
    ip: str | None = None


async def record(tx: Tx, actor: Actor, action: str, *, subject: str, **details: Any) -> None:
    """Writes one row in the caller's transaction, so that the act and its record are both there or both not.

    `action` is a noun and what happened to it, as in `grant.posted`; `subject` the kind and id of what it happened to.
    """
    # One chain for the installation: admin acts are rare enough to take turns.
    await locks.take(tx, Lock.AUDIT_LOG)
    await tx.execute(
        _INSERT,
        {
            "at": clock.now(),
            "actor": actor.user_id,
            "actor_name": actor.name,
            "action": action,
            "subject": subject,
            "ip": actor.ip,
            "details": details,
        },
    )


async def verify(tx: Tx) -> list[Break]:
    """Every row that was changed, or before which one was deleted or inserted.

    Rows that were cut off at the end leave no trace in the log itself.
    """
    return [Break("audit log", f"audit_log {row.seq}", _BROKEN) for row in await tx.execute(_BREAKS)]


async def count(tx: Tx) -> int:
    return int(await tx.scalar(text("SELECT count(*) FROM audit_log")) or 0)


_BROKEN = "its hash is not that of its content and the row before it"

_CONTENT = """
    convert_to(jsonb_build_array(
        extract(epoch FROM row.at), row.actor, row.actor_name, row.action, row.subject, row.ip, row.details
    )::text, 'UTF8')
"""

_BREAKS = text(f"""
    SELECT seq FROM (SELECT *, lag(hash, 1, ''::bytea) OVER (ORDER BY seq) AS head FROM audit_log) row
    WHERE hash <> sha256(row.head || {_CONTENT}) ORDER BY seq
""")  # noqa: S608 - our own text

_INSERT = text(f"""
    INSERT INTO audit_log (at, actor, actor_name, action, subject, ip, details, hash)
    SELECT row.*, sha256(coalesce((SELECT hash FROM audit_log ORDER BY seq DESC LIMIT 1), '') || {_CONTENT})
    FROM (SELECT CAST(:at AS timestamptz) AS at, CAST(:actor AS uuid) AS actor, CAST(:actor_name AS text) AS actor_name,
                 CAST(:action AS text) AS action, CAST(:subject AS text) AS subject, CAST(:ip AS text) AS ip,
                 CAST(:details AS jsonb) AS details) row
""").bindparams(  # noqa: S608 - our own text
    bindparam("details", type_=JSONB)
)
