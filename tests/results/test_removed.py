"""Files that are removed while a verb reads them: a sentence, or what is left, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pdebench import cli
from pdebench.report import follow
from pdebench.results.curves import CURVE, load_curves

CELL = "1" * 12


def test_a_record_that_goes_while_a_report_watches_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "cells" / CELL / "record.json"
    here.parent.mkdir(parents=True)
    here.write_text("{}")
    listed = [here, tmp_path / "cells" / "gone" / "record.json"]  # as the folder was a moment ago
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(listed))
    assert list(follow._stamps(tmp_path)) == [CELL]


def test_a_curve_that_is_gone_is_none(tmp_path: Path) -> None:
    assert list(load_curves(tmp_path, pd.DataFrame({"cell": [CELL], "files": [None]}))) == ["cell", *CURVE]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "out/plan.json"), "out/plan.json was removed meanwhile"),
        (FileNotFoundError(2, "No such file or directory"), "the current folder was removed meanwhile"),
    ],
)
def test_whatever_was_removed_is_one_sentence(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_is_removed_below_us_is_one_sentence(tmp_path: Path) -> None:
    script = (
        "import os, sys; os.rmdir(os.getcwd()); from pdebench.cli import main; sys.argv[1:] = ['report', 'x']; main()"
    )
    (tmp_path / "gone").mkdir()
    path = os.pathsep.join(str(Path(one).resolve()) for one in sys.path if one)
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr
