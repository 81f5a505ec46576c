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
        "plus = plus_package:PLUS\ntaken = plus_package:TAKEN\nnothing = plus_package:NOTHING\ngone = gone_package:X\n"
        "script = script_package:X\n"
    )
    (about / "entry_points.txt").write_text(
        f"[pdebench.families]\n{points}[pdebench.data]\nlost = gone_package:DATA\ntold = script_package:D\n"
    )
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
    doctor = pdebench(package, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert checks["family Plus-DiT"]["state"] == "ok"
    for name in ("family gone", "family taken", "family nothing", "family script", "data lost", "data told"):
        assert checks[name]["state"] == "missing"
    assert "No module named 'gone_package'" in checks["family gone"]["detail"]


def test_a_suite_that_names_a_broken_family_is_told_why(package: Path, tmp_path: Path) -> None:
    refused = pdebench(package, "validate", suite(tmp_path, "Gone"))
    assert refused.returncode == 2
    assert "No module named 'gone_package'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    other = pdebench(package, "validate", suite(tmp_path, "NoSuch"))
    assert other.returncode == 2
    assert "unknown family 'NoSuch'" in other.stderr


def test_a_built_in_name_is_not_taken_over(package: Path) -> None:
    asked = "from pdebench.models.registry import FAMILIES; print(FAMILIES['DiT'].summary, len(FAMILIES))"
    assert run(package, "-c", asked).stdout.startswith("softmax attention")


@pytest.mark.parametrize("module", ["plus_package", "plus_package.mixers"])
def test_a_package_of_families_is_imported_by_itself(package: Path, module: str) -> None:
    done = run(package, "-c", f"import {module}; from pdebench.models.registry import FAMILIES; FAMILIES['Plus-DiT']")
    assert done.returncode == 0, done.stderr


def test_nobody_imports_a_package_that_nobody_asks_for(package: Path) -> None:
    asked = "import sys, pdebench.suite.config; from pdebench import load_suite; print('plus_package' in sys.modules)"
    assert run(package, "-c", asked).stdout == "False\n"
