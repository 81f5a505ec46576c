"""A family of another package is its code: what it trained before an edit is no run of what it is after it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from runs import without_report

import pdebench
from pdebench.errors import ResultsError
from pdebench.report.frame import make_frame
from pdebench.train.state import Snapshots

PACKAGE = """\
from torch import nn

from pdebench.models.closed_form import none
from pdebench.models.mixers.none import PerToken
from pdebench.models.registry import Family

EDIT = Family("Edit-DiT", "edit_package:Edit", "as None-DiT", "", none)


class Edit(PerToken):
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    about = tmp_path / "site" / "edit_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: edit-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[pdebench.families]\nEdit-DiT = edit_package:EDIT\n")
    (tmp_path / "site" / "edit_package.py").write_text(PACKAGE)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path / "site" / "edit_package.py"


def run(suite: Path, results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    asked = without_report("run", suite, "--results", results, "--set", "grid.model.family=[Edit-DiT]", *more)
    return subprocess.run(asked, capture_output=True, text=True, timeout=240, check=False)


def test_seeds_of_two_versions_of_a_mixer_are_no_two_runs_of_one(suite: Path, tmp_path: Path, package: Path) -> None:
    results = tmp_path / "out"
    first = run(suite, results)
    assert first.returncode == 0, first.stderr
    assert "changed" not in first.stdout
    package.write_text(
        PACKAGE.replace("    pass", "    def forward(self, x, c):\n        return super().forward(x, c) / 2")
    )
    again = run(suite, results, "--set", "grid.train.seed=[0, 1]")
    assert again.returncode == 0, again.stderr
    assert "the package of Edit-DiT changed since 1 cell of it ran here" in again.stdout
    table = make_frame(pdebench.load_results(results))
    assert table["family_source"].nunique() == 2
    assert table["setting"].nunique() == 2


def test_a_training_is_not_gone_on_with_by_other_code(tmp_path: Path) -> None:
    Snapshots(tmp_path / "state", source="a" * 12).save(1, {})
    assert Snapshots(tmp_path / "state", source="a" * 12).load() is not None
    with pytest.raises(ResultsError, match="changed since its training was interrupted"):
        Snapshots(tmp_path / "state", source="b" * 12).load()
