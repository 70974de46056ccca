"""How long what was deleted is kept, to be restored."""

from datetime import timedelta

from sqlalchemy import ColumnElement, Table

from pantheon import clock

KEPT = timedelta(days=7)


def restorable(table: Table) -> ColumnElement[bool]:
    """Deleted, and not too long ago."""
    return table.c.deleted_at > clock.now() - KEPT


def outdated(table: Table) -> ColumnElement[bool]:
    """Deleted so long ago that it is to be purged."""
    return table.c.deleted_at <= clock.now() - KEPT
