"""The files that a deployment starts from: no secret, no default password, no more rights than needed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pantheon.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("migrate", "api", "worker")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


def test_the_image_is_built_from_the_lock_and_runs_as_nobody_special() -> None:
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert re.search(r'^ENTRYPOINT \["pantheon"\]$', last_stage, re.MULTILINE), "a shell would keep SIGTERM to itself"
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert not re.search(r"^(ADD|COPY \.) ", DOCKERFILE, re.MULTILINE)


def test_only_what_the_image_needs_is_sent_to_its_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        name for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in names.split()
    }

    assert "*" in lines
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_can_write_nothing_and_is_limited(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["pids_limit"]
    # Nothing of the machine, and of volumes only the one with the files.
    assert service["volumes"] == ["files:/var/lib/pantheon/files"]


def test_api_and_worker_wait_for_the_migration_and_only_it_acts_as_the_owner() -> None:
    services = COMPOSE["services"]
    assert services["migrate"]["command"] == ["db", "migrate"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "--no-worker" in services["api"]["command"]
    assert services["worker"]["command"] == ["worker"]
    assert "pantheon_owner" in services["migrate"]["environment"]["DATABASE_MIGRATION_URL"]
    for name in ("api", "worker"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        environment = services[name]["environment"]
        assert [environment[key] for key in ("DATABASE_MIGRATION_URL", "POSTGRES_OWNER_PASSWORD")] == ["", ""]
        assert "owner" not in environment["DATABASE_URL"]


def test_every_secret_is_required_and_has_no_default() -> None:
    names = re.findall(r"\$\{([A-Z_]*(?:PASSWORD|SECRET)[A-Z_]*)(.*?)\}", (ROOT / "compose.yaml").read_text())

    assert {name for name, _ in names} == {"POSTGRES_OWNER_PASSWORD", "POSTGRES_APP_PASSWORD", "SECRET_KEYS"}
    assert all(rest.startswith(":?") for _, rest in names)


def test_what_is_set_is_a_setting_and_only_the_proxy_of_this_machine_gets_in() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for name in OURS:
        ours = {key for key in COMPOSE["services"][name]["environment"] if not key.startswith("POSTGRES_")}
        assert ours <= known
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_the_units_are_hardened_and_only_the_migration_knows_the_owner() -> None:
    assert [unit.stem for unit in UNITS] == ["pantheon-api", "pantheon-migrate", "pantheon-worker"]
    for unit in UNITS:
        text = unit.read_text()
        for line in ("User=pantheon", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
            assert f"\n{line}\n" in text, (unit.name, line)
        assert ("migrate.env" in text) == (unit.stem == "pantheon-migrate")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # It also looks whether the program is there, which it is not here.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/pantheon/.venv/bin/pantheon", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
