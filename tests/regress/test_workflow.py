"""The nightly workflow is one that GitHub would take, and runs the command as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pdebench.cli import app

WORKFLOWS = Path(__file__).resolve().parents[2] / ".github" / "workflows"


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, files),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_workflows_are_of_githubs_schema(tmp_path: Path) -> None:
    passed = check(*WORKFLOWS.glob("*.yml"))
    assert passed.returncode == 0, passed.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text((WORKFLOWS / "regress.yml").read_text().replace("runs-on:", "runs_on:"))
    assert check(broken).returncode == 1


@pytest.mark.parametrize("name", ["nightly.yml", "regress.yml"])
def test_its_scripts_are_shell(name: str) -> None:
    for job in yaml.safe_load((WORKFLOWS / name).read_text())["jobs"].values():
        for step in job.get("steps", []):
            if "run" in step:
                done = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True)
                assert not done.stderr


def test_the_options_that_it_passes_are_the_commands() -> None:
    script = next(
        step["run"]
        for step in yaml.safe_load((WORKFLOWS / "regress.yml").read_text())["jobs"]["regress"]["steps"]
        if step.get("id") == "regress"
    )
    (command,) = [c for c in app.registered_commands if c.callback is not None and c.callback.__name__ == "regress"]
    assert command.callback is not None
    passed = {word for word in script.split() if word.startswith("--")} - {"--"}
    known = {"--against", "--max-minutes", "--effect", "--history", "--junit", "--format", "--accept"}
    assert passed <= known
    assert {f"--{name.replace('_', '-')}" for name in command.callback.__code__.co_varnames} >= known - {"--format"}
