"""Processes beside those of cells end with whoever started them, by KILL too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from runs import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties a process to its parent on Linux")
SLEEPER = "#!/bin/sh\necho $$ > $STARTED.new\nmv $STARTED.new $STARTED\nexec sleep 600\n"
WAYS = {
    "census": """
from pdebench.plan.model_costs import _helper
with _helper([]) as helper:
    helper.wait()
""",
    "counted": """
from types import SimpleNamespace
from pathlib import Path
from pdebench.plan import cost_cache
cost_cache.build_of, cost_cache._entry = (lambda cell, classes: ("a", {})), (lambda name, build: Path("absent"))
cost_cache.registry.class_count = lambda data, target: None
cost_cache.count_ahead([SimpleNamespace(data=None, task="generation")])
""",
    "probe": """
from pdebench.plan.probe import as_a_cell
as_a_cell(["module"], "remedy")
""",
    "regress": """
import os
from pathlib import Path
from pdebench.regress.revision import Revision
Revision("HEAD", "", Path(), sys.executable)._call("worker")
""",
    "arithmetic": """
from pdebench.suite import precision
precision.gpus = lambda: ["0"]
precision.precision_here()
""",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_process_ends_with_a_killed_parent(way: str, tmp_path: Path) -> None:
    sleeper, started = tmp_path / "python", tmp_path / "started"
    sleeper.write_text(SLEEPER)
    sleeper.chmod(0o755)
    code = f"import sys; sys.executable = {str(sleeper)!r}\n{WAYS[way]}"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "STARTED": str(started)})
    wait_for(lambda: started.exists() or parent.poll() is not None)
    child = psutil.Process(int(started.read_text()))
    parent.kill()
    parent.wait()
    try:
        child.wait(20)
    finally:
        if child.is_running():
            child.kill()
