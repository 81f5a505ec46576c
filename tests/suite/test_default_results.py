"""Where a run writes unasked: beside what a repository keeps, and where cells of earlier runs lie."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pdebench.suite.load import shipped_suites
from pdebench.suite.paths import default_results

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_go_to_runs_and_not_to_the_tables_that_are_kept() -> None:
    assert default_results("quickstart") == Path("runs/quickstart")
    Path("results/quickstart").mkdir(parents=True)
    Path("results/quickstart/table.csv").write_text("cell,status\n")
    assert default_results("quickstart") == Path("runs/quickstart")


@pytest.mark.parametrize("made", ["cells/0123456789ab/record.json", "matched.json"])
def test_a_study_that_was_begun_in_results_goes_on_there(made: str) -> None:
    path = Path("results/quickstart", made)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert default_results("quickstart") == Path("results/quickstart")
    assert default_results("mixers") == Path("runs/mixers")


def test_no_shipped_suite_runs_over_a_file_of_the_repository() -> None:
    """Else the quickstart's own records say that they are of code with uncommitted changes."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    folders = [str(default_results(name)) for name in shipped_suites()]
    ignored = subprocess.run(
        ["git", "check-ignore", *(f"{folder}/table.csv" for folder in folders)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert ignored == [f"{folder}/table.csv" for folder in folders]
    assert not subprocess.run(["git", "ls-files", "runs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
