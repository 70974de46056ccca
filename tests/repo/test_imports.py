import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_point_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_help_of_a_command_waits_for_nothing_heavy() -> None:
    heavy = {"pydantic", "sqlalchemy", "psycopg", "fastapi", "stripe", "openai", "pydantic_ai"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import pantheon.cli.main, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert heavy.isdisjoint(loaded.stdout.split())
