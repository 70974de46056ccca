"""What a deployment says of itself, and that it is out of service when its code and its schema differ."""

from pathlib import Path
from typing import Any

from pantheon import VERSION
from pantheon.commit import checked_out
from pantheon.db.migrate import head
from tests.installation import Installation


async def test_health_tells_the_version_the_commit_and_the_schema(install: Any) -> None:
    async with install(pantheon_commit="c0ffee") as installation:
        answer = await installation.client.get("/api/v1/health")

    assert answer.json() == {
        "status": "ok",
        "version": VERSION,
        "commit": "c0ffee",
        "migration_revision": head(),
        "migration_head": head(),
        "public_url": installation.runtime.settings.public_url,
        "payments": "test",
    }


async def test_a_schema_that_is_behind_is_not_ready_and_says_what_to_run(installation: Installation) -> None:
    installation.execute("UPDATE alembic_version SET version_num = '0001'")

    ready = await installation.client.get("/api/v1/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert "pantheon db migrate" in ready.json()["detail"]
    health = await installation.client.get("/api/v1/health")
    assert (health.status_code, health.json()["status"]) == (200, "migration_differs")


async def test_a_schema_that_a_newer_version_made_is_not_ready_and_is_not_told_to_migrate(
    installation: Installation,
) -> None:
    installation.execute("UPDATE alembic_version SET version_num = '9999'")

    ready = await installation.client.get("/api/v1/ready")
    assert ready.status_code == 503
    assert "newer version" in ready.json()["detail"]
    assert "migrate" not in ready.json()["detail"]


async def test_without_its_database_a_process_is_alive_and_not_ready(install: Any, database_name: str) -> None:
    async with install(worker=False, database_pool_url="postgresql://nobody:x@127.0.0.1:1/none") as installation:
        health = await installation.client.get("/api/v1/health")
        assert (health.status_code, health.json()["status"]) == (200, "database_unavailable")
        assert health.json()["migration_revision"] is None
        assert (await installation.client.get("/api/v1/ready")).status_code == 503


def test_the_commit_is_read_from_a_branch_a_packed_branch_or_a_detached_head(tmp_path: Path) -> None:
    assert checked_out(tmp_path) is None

    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\nabc123 refs/heads/main\n")
    assert checked_out(tmp_path) == "abc123"
    (git / "refs/heads/main").write_text("def456\n")
    assert checked_out(tmp_path) == "def456"
    (git / "HEAD").write_text("fed789\n")
    assert checked_out(tmp_path) == "fed789"
