"""The mixer that `docs/own_mixer.md` has its reader paste: found by its entry point, counted as its formula says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
from runs import without_report

import pdebench
from pdebench.models.sizes import SIZES

PAGE = Path(__file__).parents[2] / "docs" / "own_mixer.md"
FILES = dict(re.findall(r"^cat > (\S+) <<'EOF'\n(.*?)^EOF$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
"""The files that the page's commands write, by their names."""
SHORT = (
    "execution.isolation=warm",
    "train.steps=2",
    "train.warmup=1",
    "grid.train.seed=[0]",
    "grid.model.family=[Conv-DiT, None-DiT]",
)


def test_the_mixer_of_the_page_costs_what_its_formula_says(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("match: {by: macs, to: DiT}\n", ""))  # so that the sizes are equal
    site = tmp_path / "conv"
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    about = site / f"conv_mixer-{project['version']}.dist-info"  # what pip writes of the page's pyproject.toml
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["pdebench.families"].items()
    (about / "entry_points.txt").write_text("[pdebench.families]\n" + "".join(f"{n} = {v}\n" for n, v in points))

    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    changed = [part for key in SHORT for part in ("--set", key)]
    command = [sys.executable, *without_report("run", "conv.yaml", "--results", "out", *changed)[1:]]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr

    table = pdebench.load_results(tmp_path / "out").set_index("model.family")
    conv, none = table.loc["Conv-DiT"], table.loc["None-DiT"]
    depth, d, _ = SIZES["XXS"]
    n = conv["tokens"]
    # None-DiT has one of the two linear layers, and no convolution
    assert conv["params"] - none["params"] == depth * (d * d + d + 26 * d)
    assert conv["macs_forward"] - none["macs_forward"] == depth * (n * d * d + 25 * n * d)
    assert conv["mixer_implementation"] == "conv2d"
    assert not re.search("conv|PythonOp", conv["macs_uncounted"])  # pointwise operations alone
    assert pd.isna(conv["warnings"])  # of a cost by hand that is not what was counted
