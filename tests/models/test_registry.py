"""Families of other packages: found when they are asked for; a broken one harms nobody else, and is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAMILY = """\
from pdebench.models.closed_form import none
from pdebench.models.registry import Family

PLUS = Family("Plus-DiT", "plus_package.mixers:Plus", "as None-DiT", "", none)
TAKEN = Family("DiT", "plus_package.mixers:Plus", "takes a name that is taken", "", none)
NOTHING = 3


def sharpness(samples):
    return {"sharpness": 1.0}
"""
METRICS = """\
from pdebench.metrics.metric import Metric, Score

GOOD = Metric("sharpness", "of edges", (Score("sharpness", "Sharpness", "positive"),), "plus_package:sharpness")
BLUR = Metric("blur", "", (Score("fid", "Blur", "positive"),), "plus_package:sharpness")
"""
MIXER = """\
from pdebench.models.mixers.none import PerToken


class Plus(PerToken):
    pass
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of families, as pip would install it, on a path of its own."""
    folder = tmp_path / "site"
    about = folder / "plus_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plus-package\nVersion: 1.0\n")
    points = (
        "Plus-DiT = plus_package:PLUS\nplus = plus_package:PLUS\nDiT = plus_package:TAKEN\n"
        "nothing = plus_package:NOTHING\ngone = gone_package:X\nscript = script_package:X\n"
    )
    (about / "entry_points.txt").write_text(
        f"[pdebench.families]\n{points}[pdebench.data]\nlost = gone_package:DATA\ntold = script_package:D\n"
        "emoji = plus_package:NOTHING\n[pdebench.metrics]\nsharpness = metric_package:GOOD\n"
        "blur = metric_package:BLUR\nfid = metric_package:GOOD\nlost = gone_package:M\n"
    )
    (folder / "metric_package.py").write_text(METRICS)
    (folder / "script_package.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "plus_package").mkdir()
    (folder / "plus_package" / "__init__.py").write_text(FAMILY)
    (folder / "plus_package" / "mixers.py").write_text(MIXER)
    return folder


def run(package: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "PDEBENCH_CACHE": str(package / "cache")}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


def pdebench(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run(package, "-m", "pdebench", *arguments)
    assert "Traceback" not in done.stderr
    return done


def suite(folder: Path, family: str) -> str:
    document = {
        "suite": "plus",
        "data": {"name": "latents", "resolution": 16},
        "model": {"family": family, "size": "XXS", "patch": 4},
        "train": {"steps": 1, "batch_size": 2, "lr": 1e-3},
    }
    (folder / "plus.yaml").write_text(json.dumps(document))
    return str(folder / "plus.yaml")


def test_a_broken_entry_point_ends_no_verb_and_doctor_names_it(package: Path, tmp_path: Path) -> None:
    assert pdebench(package, "validate", "quickstart").returncode == 0
    assert pdebench(package, "validate", suite(tmp_path, "Plus-DiT")).returncode == 0
    listed = pdebench(package, "list", "data")
    assert listed.returncode == 0
    assert "emoji" in listed.stdout
    assert "gone_package" in listed.stdout
    listed = pdebench(package, "list", "metrics")
    assert listed.returncode == 0
    assert "of edges" in listed.stdout
    assert "gone_package" in listed.stdout
    doctor = pdebench(package, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert checks["family Plus-DiT"]["state"] == "ok"
    assert checks["metric sharpness"]["state"] == "ok"
    told = {
        "family gone": "No module named 'gone_package'",
        "family nothing": "is not an instance of pdebench.models.registry.Family, but of int",
        "family script": "SystemExit: 3",
        "family plus": "calls itself 'Plus-DiT'",
        "family DiT (added)": "has the name of a built-in one",
        "data lost": "No module named 'gone_package'",
        "data told": "SystemExit: 3",
        "data emoji (added)": "has the name of a built-in one",
        "metric lost": "No module named 'gone_package'",
        "metric blur": "fills 'fid'; write blur or blur_",
        "metric fid (added)": "has the name of a built-in one",
    }
    for name, why in told.items():
        assert checks[name]["state"] == "broken"
        assert why in checks[name]["detail"]
        assert "of the package plus-package (" in checks[name]["detail"]
    assert checks["data emoji"]["state"] == "ok"


def test_a_suite_that_names_a_broken_family_is_told_why(package: Path, tmp_path: Path) -> None:
    refused = pdebench(package, "validate", suite(tmp_path, "Gone"))
    assert refused.returncode == 2
    assert "No module named 'gone_package'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    other = pdebench(package, "validate", suite(tmp_path, "NoSuch"))
    assert other.returncode == 2
    assert "unknown family 'NoSuch'" in other.stderr


def test_a_suite_that_names_a_broken_metric_or_data_set_is_told_why(package: Path, tmp_path: Path) -> None:
    plain = suite(tmp_path, "DiT")
    samples = ("--set", "evaluate.samples=4")
    for key in ("data.name=lost", "evaluate.metrics=[lost]"):
        refused = pdebench(package, "validate", plain, "--set", key)
        assert refused.returncode == 2
        assert "'lost' of the package plus-package (gone_package" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert pdebench(package, "validate", plain, "--set", "evaluate.metrics=[sharpness]", *samples).returncode == 0
    near = pdebench(package, "validate", plain, "--set", "evaluate.metrics=[sharpnes]")
    assert "did you mean 'sharpness'?" in near.stderr


def test_a_built_in_name_is_not_taken_over(package: Path) -> None:
    asked = "from pdebench.models.registry import FAMILIES; print(FAMILIES['DiT'].summary, *FAMILIES)"
    told = run(package, "-c", asked).stdout
    assert told.startswith("softmax attention")
    assert told.split().count("DiT") == 1


@pytest.mark.parametrize("module", ["plus_package", "plus_package.mixers"])
def test_a_package_of_families_is_imported_by_itself(package: Path, module: str) -> None:
    done = run(package, "-c", f"import {module}; from pdebench.models.registry import FAMILIES; FAMILIES['Plus-DiT']")
    assert done.returncode == 0, done.stderr


def test_nobody_imports_a_package_that_nobody_asks_for(package: Path) -> None:
    asked = (
        "import sys; from pdebench import load_suite; load_suite('quickstart').cells();"
        "print('plus_package' in sys.modules, 'metric_package' in sys.modules)"
    )
    assert run(package, "-c", asked).stdout == "False False\n"
