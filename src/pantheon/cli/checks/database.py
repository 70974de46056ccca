"""The database: does it answer, does it fit this code, and are the roles apart."""

from sqlalchemy import text

from pantheon import clock
from pantheon.cli.checks import Finding, failed, ok, skewed, warning
from pantheon.cli.connect import reason_of
from pantheon.db.engine import Database, Tx
from pantheon.db.migrate import ROLE_SETTINGS, difference, head, revision
from pantheon.errors import DatabaseBusyError, DatabaseUnavailableError

_VERSIONS = range(15, 19)

_IDENTITY = text("SELECT current_user::text, current_database()::text, inet_server_port(), pg_postmaster_start_time()")


async def check_database(url: str) -> list[Finding]:
    database = Database(url, pool_size=1)
    try:
        async with database.transaction() as tx:
            asked = clock.now()
            there = (await tx.execute(text("SELECT clock_timestamp()"))).scalar_one()
            ahead = clock.seconds_ahead(there, asked=asked, answered=clock.now())
            return [
                await _version(tx),
                await _schema(tx),
                await _roles(tx),
                await _time_outs(tx, "time-outs"),
                skewed("database clock", ahead, "the database"),
            ]
    except (DatabaseBusyError, DatabaseUnavailableError) as error:
        return [failed("database", f"cannot be used: {reason_of(error)}", "Start it, or correct DATABASE_URL.")]
    finally:
        await database.close()


async def check_pooler(url: str, direct_url: str) -> list[Finding]:
    """The pooler has to lead to the same database, as the same role, and must not take the role's time-outs away."""
    pooled, direct = Database(url, pool_size=1), Database(direct_url, pool_size=1)
    try:
        async with pooled.transaction() as tx, direct.transaction() as other:
            through, straight = (await tx.execute(_IDENTITY)).one(), (await other.execute(_IDENTITY)).one()
            if tuple(through) != tuple(straight):
                return [failed("pooler", "it leads to another database or role", "Correct DATABASE_POOL_URL.")]
            return [ok("pooler", "leads to the same database"), await _time_outs(tx, "pooler time-outs")]
    except (DatabaseBusyError, DatabaseUnavailableError):
        return [failed("pooler", "does not answer", "Start it, correct DATABASE_POOL_URL, or unset it.")]
    finally:
        await pooled.close()
        await direct.close()


async def _version(tx: Tx) -> Finding:
    version = str(await tx.scalar(text("SHOW server_version")))
    if int(version.split(".")[0].split(" ")[0]) in _VERSIONS:
        return ok("database", f"PostgreSQL {version}")
    return warning("database", f"PostgreSQL {version}", "Use a version from 15 to 18: others are not tested.")


async def _schema(tx: Tx) -> Finding:
    found = await revision(tx)
    if found == head():
        return ok("schema", f"revision {found}")
    problem, _, advice = difference(found).partition(". ")
    return failed("schema", problem, advice.rstrip(".") + ".")


async def _roles(tx: Tx) -> Finding:
    """Whether a stolen DATABASE_URL could write the books or change the schema."""
    may = await tx.scalar(
        text(
            "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " OR has_schema_privilege('public', 'CREATE')"
            " OR coalesce(has_table_privilege(to_regclass('transfers')::oid, 'INSERT, UPDATE, DELETE'), false)"
        )
    )
    role = await tx.scalar(text("SELECT current_user::text"))
    if may:
        return warning(
            "roles",
            f"{role} owns the database: the application could write the books past the ledger's functions",
            "Give DATABASE_URL a role of its own and put the owner into DATABASE_MIGRATION_URL: see docs/deploy.md.",
        )
    return ok("roles", f"{role} can neither write the books nor change the schema")


async def _time_outs(tx: Tx, check: str) -> Finding:
    found = {name: str(await tx.scalar(text(f"SHOW {name}"))) for name in ROLE_SETTINGS}
    wrong = [f"{name} is {found[name]}, not {value}" for name, value in ROLE_SETTINGS.items() if found[name] != value]
    if wrong:
        return warning(check, "; ".join(wrong), "Run `pantheon db migrate` as the owner, who sets them for the role.")
    return ok(check, "set")
