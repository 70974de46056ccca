"""`pantheon worker` beside a server that runs no jobs."""

import asyncio
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from pantheon.api.server import bind
from tests.cli.conftest import PROGRAM, SECONDS, Install, Run
from tests.installation import eventually
from tests.payments.events import event_for, signed, succeeded


async def test_it_finishes_the_job_it_is_at_when_it_is_told_to_stop(
    install: Install, environment: dict[str, str], tmp_path: Path
) -> None:
    async with install(worker=False) as installation:
        ada = await installation.person()
        top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
        body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
        assert (await installation.post_event(body, signed(body))).status_code == 200

        with bind("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        with psycopg.connect(installation.owner_url) as other:
            other.execute("SELECT FROM top_ups FOR UPDATE")
            variables = environment | {"WORKER_METRICS_ADDRESS": f"127.0.0.1:{port}"}
            process = subprocess.Popen([PROGRAM, "worker"], cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL)
            try:

                async def at_work() -> bool:
                    waiting = (
                        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
                    return bool(installation.rows(waiting))

                await eventually(at_work, seconds=SECONDS)
                shown = await installation.client.get(f"http://127.0.0.1:{port}/metrics")
                assert "pantheon_stripe_paused 0.0" in shown.text
                process.send_signal(signal.SIGTERM)
                assert await installation.balance(ada) == "0"
                other.rollback()
                assert await asyncio.to_thread(process.wait, SECONDS) == 0
            finally:
                process.kill()
        assert await installation.balance(ada) == "333.33"


@pytest.mark.prove
async def test_it_works_on_the_schema_of_a_newer_version(
    install: Install, environment: dict[str, str], tmp_path: Path, run: Run
) -> None:
    """Back to the version before is a start of it, whose migration leaves alone what the newer one made."""
    async with install(worker=False) as installation:
        ada = await installation.person()
        top_up_id = (await installation.top_up(ada)).json()["top_up_id"]
        body = event_for(succeeded(installation.sandbox.payments.find(top_up_id)))
        await installation.post_event(body, signed(body))
        installation.execute("UPDATE alembic_version SET version_num = '9999'")
        installation.execute("DROP FUNCTION ledger_expire_hold")
        installation.execute(
            "INSERT INTO procrastinate_jobs (task_name, queue_name, status)"
            " VALUES ('of_the_newer_version', 'default', 'failed'), ('sweep', 'default', 'failed')"
        )

        migrated = run("db", "migrate")
        with (tmp_path / "worker.log").open("w+") as log:
            process = subprocess.Popen([PROGRAM, "worker"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
            try:
                # The process has to start first.
                await installation.becomes(ada, top_up_id, "credited", seconds=SECONDS)

                async def only_its_own_jobs_are_kept() -> bool:
                    failed = "SELECT task_name FROM procrastinate_jobs WHERE status = 'failed'"
                    return installation.rows(failed) == [{"task_name": "sweep"}]

                await eventually(only_its_own_jobs_are_kept, seconds=SECONDS)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read()

        assert migrated.returncode == 0, migrated.stderr
        assert migrated.stdout == "The database is at revision 9999, made by a newer version. Nothing was changed.\n"
        assert installation.rows("SELECT FROM pg_proc WHERE proname = 'ledger_expire_hold'") == []
        assert "schema_is_newer" in said


def test_a_local_installation_is_told_where_its_jobs_run(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    del environment["DATABASE_URL"]
    environment["APP_ENV"] = "local"
    environment["DATA_DIR"] = str(tmp_path)

    refused = run("worker")

    assert refused.returncode == 1
    assert "A local installation runs its jobs within `pantheon serve`." in refused.stderr
