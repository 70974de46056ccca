"""Every test that touches data has a real PostgreSQL: a database of its own, cloned from a migrated template.

One server serves the whole run. It is the embedded one, or that of DATABASE_URL (whose role must be able to make
databases and roles). Afterwards the books of each database are verified, whatever the test was about.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
import structlog
from psycopg import sql
from sqlalchemy.engine import make_url

from pantheon.api.server import bind, serving
from pantheon.db import embedded
from pantheon.db.engine import Database
from pantheon.db.migrate import migrate
from pantheon.ledger.verify import verify
from pantheon.web.app import create_app
from tests.installation import Installation, installed

OWNER_URL = "PANTHEON_TEST_OWNER_URL"
APP_URL = "PANTHEON_TEST_APP_URL"
TEMPLATE = "PANTHEON_TEST_TEMPLATE"
STRATEGY = "PANTHEON_TEST_STRATEGY"
"""Of cloning it. Files are copied twice as fast as pages are logged, but each copy is a checkpoint: not for disks."""

_MEMORY = Path("/dev/shm")
_server = pytest.StashKey[embedded.EmbeddedServer]()


def pytest_configure(config: pytest.Config) -> None:
    """Starts the server and makes the template, once for all workers of pytest-xdist: they inherit the environment."""
    # Left to itself the console shows every local variable of a traceback, which takes it 20 seconds.
    plainly = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plainly])
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    in_memory = False
    if url := os.environ.pop("DATABASE_URL", None):
        os.environ[OWNER_URL] = url
        os.environ[APP_URL] = _make_app_role(url)
    else:
        home = new_home()
        in_memory = home.is_relative_to(_MEMORY)
        server = embedded.start(home)
        config.stash[_server] = server
        os.environ[OWNER_URL] = server.owner_url
        os.environ[APP_URL] = server.app_url
    os.environ[STRATEGY] = "FILE_COPY" if in_memory else "WAL_LOG"
    name = f"template_{secrets.token_hex(4)}"
    os.environ[TEMPLATE] = name
    _as_owner(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(on(os.environ[OWNER_URL], name), app_url=on(os.environ[APP_URL], name))


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or TEMPLATE not in os.environ or config.option.collectonly:
        return
    _drop(os.environ.pop(TEMPLATE))
    if server := config.stash.get(_server, None):
        server.stop()
        shutil.rmtree(server.data_dir.parent)


def new_home() -> Path:
    """A home of this run's own, so that two runs at once do not stop each other's server.

    In memory where there is room: hundreds of databases are made and dropped, and none has to survive the machine.
    """
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2**32
    folder = Path(tempfile.mkdtemp(prefix="pantheon-tests-", dir=_MEMORY if roomy else None))
    return folder if roomy else embedded.default_home(folder)


def on(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _make_app_role(owner_url: str) -> str:
    name, password = "pantheon_test_app", secrets.token_hex(16)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        statement = "ALTER ROLE {} PASSWORD {}" if exists else "CREATE ROLE {} LOGIN PASSWORD {}"
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(password)))
    return make_url(owner_url).set(username=name, password=password).render_as_string(hide_password=False)


def _as_owner(statement: sql.Composed) -> None:
    with psycopg.connect(os.environ[OWNER_URL], autocommit=True) as connection:
        connection.execute(statement)


def _drop(name: str) -> None:
    # Without force first: forcing may hit an autovacuum worker, which only a superuser may end.
    try:
        _as_owner(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.ObjectInUse:
        _as_owner(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def new_database() -> Iterator[str]:
    """Its name. It is migrated and empty."""
    name = f"test_{secrets.token_hex(6)}"
    template, strategy = sql.Identifier(os.environ[TEMPLATE]), sql.Identifier(os.environ[STRATEGY])
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
    _as_owner(clone.format(sql.Identifier(name), template, strategy))
    yield name
    _drop(name)


@pytest.fixture
def database_name() -> Iterator[str]:
    """A database of this test's own."""
    with new_database() as name:
        yield name


@pytest.fixture
def app_url(database_name: str) -> str:
    """The application's role: it may not touch the books but through the ledger's functions."""
    return on(os.environ[APP_URL], database_name)


@pytest.fixture
def owner_url(database_name: str) -> str:
    return on(os.environ[OWNER_URL], database_name)


@pytest.fixture
async def database(app_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    database = Database(app_url)
    try:
        yield database
        if request.node.get_closest_marker("tampers") is None:
            async with database.transaction() as tx:
                assert await verify(tx) == []
    finally:
        await database.close()


@pytest.fixture
async def installation(app_url: str, owner_url: str, database: Database) -> AsyncIterator[Installation]:
    """API, pages, worker and sandbox, all running. Asks for `database` so that the books are verified at the end."""
    async with installed(app_url=app_url, owner_url=owner_url) as installation:
        yield installation


@pytest.fixture
def install(
    app_url: str, owner_url: str, database: Database
) -> Callable[..., AbstractAsyncContextManager[Installation]]:
    """The same with other settings: `async with install(payments=False) as installation`."""
    return partial(installed, app_url=app_url, owner_url=owner_url)


@pytest.fixture
async def with_keys(installation: Installation) -> AsyncIterator[str]:
    """Where the same installation is served as with Stripe's own keys: with the Payment Element."""
    listener = bind("127.0.0.1", 0)
    async with serving(create_app(replace(installation.runtime, sandbox=False)), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
