from uuid import UUID

import pytest

from pantheon.db.engine import Database
from tests.ledger.books import Books


@pytest.fixture
def books(database: Database, owner_url: str) -> Books:
    return Books(database, owner_url)


@pytest.fixture
async def wallet(books: Books) -> UUID:
    return await books.open_wallet()
