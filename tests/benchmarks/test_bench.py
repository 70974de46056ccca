import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_quick_run_measures_everything_and_writes_its_report(tmp_path: Path) -> None:
    """No number is looked at: on a busy machine none means anything."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=ROOT,
        env=os.environ | {"QUICK": "1", "ONLY": "", "LONG": "", "RESULTS": str(tmp_path)},
        check=True,
    )
    found = json.loads((tmp_path / "latest.json").read_text())
    assert {"ledger", "http", "webhooks", "calls", "growth"} <= found.keys()
    assert found["ledger"]["lost_by_read_modify_write"] > 0
    assert found["ledger"]["lost_by_for_update"] == 0
    assert "ledger, hot, 512 callers" in (tmp_path / "latest.md").read_text()
    assert (tmp_path / "ledger.svg").read_text().startswith("<svg")
