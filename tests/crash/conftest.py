import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pantheon.db import embedded
from pantheon.db.migrate import migrate
from tests.conftest import new_home


@pytest.fixture
def home() -> Iterator[Path]:
    """Of a PostgreSQL that the test may end and start again."""
    home = new_home()
    server = embedded.start(home)
    migrate(server.owner_url, app_url=server.app_url)
    yield home
    embedded.start(home).stop()
    shutil.rmtree(home)
