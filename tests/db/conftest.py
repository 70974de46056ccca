from uuid import UUID

import pytest
from sqlalchemy import insert

from pantheon import clock
from pantheon.db.engine import Database
from pantheon.db.tables import users
from pantheon.ids import uuid7


@pytest.fixture
async def user_id(database: Database) -> UUID:
    id_ = uuid7()
    async with database.transaction() as tx:
        await tx.execute(insert(users).values(id=id_, created_at=clock.now()))
    return id_
