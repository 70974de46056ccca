"""Many rows for one statement. Its text is the same however many they are, so nobody has to make or parse it anew."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, FromClause, Insert, Table, column, func, insert, literal, select
from sqlalchemy.dialects.postgresql import ARRAY


def given(rows: Sequence[Mapping[str, Any]], *columns: Column[Any]) -> FromClause:
    """`rows` as a table of these columns; it travels as one array for each."""
    arrays = [literal([row[of.name] for row in rows], ARRAY(of.type)) for of in columns]
    names = [column(of.name, of.type) for of in columns]
    return func.unnest(*arrays).table_valued(*names, name="given").render_derived()


def insert_many(table: Table, rows: Sequence[Mapping[str, Any]]) -> Insert:
    """All rows name the same columns."""
    columns = [table.c[name] for name in rows[0]]
    return insert(table).from_select([of.name for of in columns], select(given(rows, *columns)))
