"""Databases to restore into."""

import os
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.conftest import OWNER_URL


@pytest.fixture
def fresh() -> Iterator[str]:
    """The name of an empty database."""
    name = f"restored_{secrets.token_hex(6)}"
    with psycopg.connect(os.environ[OWNER_URL], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
