"""What is built and installed does its work outside the checkout: no git, no pip, nothing of the checkout is near."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def pdebench(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command of a wheel that was installed into an environment of its own, from an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    (wheel,) = (folder / "dist").iterdir()
    venv.create(folder / "env", symlinks=True)  # the package manager of this Python fills it
    bin_ = folder / "env" / "bin"
    install = ["--python", str(bin_ / "python"), "install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True, text=True)
    # What is needed comes from here. A folder that a .pth names is searched last, and its own .pth files, that of the
    # checkout among them, are not read.
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    (own / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (away := folder / "away").mkdir()
    settings = {"HOME": str(folder), "PDEBENCH_CACHE": os.environ["PDEBENCH_CACHE"], "PATH": str(bin_)}
    settings |= {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"], "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str, program: str = "pdebench") -> subprocess.CompletedProcess[str]:
        command = [str(bin_ / program), *arguments]
        return subprocess.run(command, cwd=away, env=settings, capture_output=True, text=True, timeout=300)

    return run


def test_all_that_is_no_code_comes_along(pdebench: Command) -> None:
    code = "import pdebench, pathlib as p, json; r = p.Path(pdebench.__file__).parent; "
    code += "print(json.dumps([str(r), [str(f.relative_to(r)) for f in r.rglob('*') if f.is_file()]]))"
    where, there = json.loads(pdebench("-c", code, program="python").stdout)
    assert not Path(where).is_relative_to(ROOT)
    package = ROOT / "pdebench"
    ours = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    suites = {f"suites/{file.name}" for file in (ROOT / "suites").iterdir()}
    assert any(name.endswith(".html") for name in ours)
    assert set(there) == ours | suites


def test_it_says_what_it_is_and_needs(pdebench: Command) -> None:
    code = "from importlib.metadata import metadata as m; print(m('pdebench-mixers')['Requires-Python'])"
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert pdebench("-c", code, program="python").stdout.strip() == wanted
    help_ = pdebench("--help")
    assert help_.returncode == 0, help_.stderr
    assert "validate" in help_.stdout


def test_suites_are_known_by_name(pdebench: Command) -> None:
    listed = json.loads(pdebench("list", "suites", "--json").stdout)
    assert {one["suite"] for one in listed} == {file.stem for file in (ROOT / "suites").glob("*.yaml")}
    assert pdebench("schema").stdout == (ROOT / "suites" / "suite.schema.json").read_text()
    valid = pdebench("validate", "quickstart")
    assert valid.returncode == 0, valid.stderr
    assert "is valid: 6 cells" in valid.stdout


def test_a_run_ends_with_a_report(pdebench: Command) -> None:
    one = ("--set", "grid.model.family=[PDE-SSM-DiT]", "--set", "grid.data.resolution=[32]")
    ran = pdebench("run", "quickstart", "--smoke", *one)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    away = pdebench("-c", "import os; print(os.getcwd())", program="python").stdout.strip()
    results = Path(away) / "runs" / "quickstart-smoke"  # the folder that is taken where none is named
    (cell,) = (results / "cells").iterdir()
    record = json.loads((cell / "record.json").read_text())
    assert record["status"] == "done"
    assert record["git_commit"] is None  # what runs is no checkout, and no git is found
    assert "PDE-SSM-DiT" in (results / "report.html").read_text()
