"""The command that installs what is missing, which has to work in the environment that a message comes from."""

from __future__ import annotations

import json
import os
import shlex
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pdebench import installing
from pdebench.cli import app
from pdebench.doctor import checks
from pdebench.doctor.checks import Check
from pdebench.installing import install, install_extra

PIP, UV = "python -m pip install", "uv pip install"


def installed(monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None = None, *, pip: bool = True) -> None:
    """An environment with or without pip, in which pdebench came from somewhere; None: from an index."""
    told = None if origin is None else json.dumps(origin)

    def distribution(name: str) -> SimpleNamespace:
        if name == "pip" and not pip:
            raise PackageNotFoundError(name)
        return SimpleNamespace(read_text=lambda file: told if file == "direct_url.json" else None)

    monkeypatch.setattr(installing, "distribution", distribution)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)


def test_of_an_index_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert install_extra("video") == f"{PIP} 'pdebench-mixers[video]'"
    assert install("timm>=1") == f"{PIP} 'timm>=1'"


@pytest.mark.parametrize("folder", ["clone", "a clone"])
def test_of_a_clone_from_the_clone_as_it_was_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    clone = tmp_path / folder
    clone.mkdir()
    installed(monkeypatch, {"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert shlex.split(install_extra("video")) == [*PIP.split(), "-e", f"{clone}[video]"]
    monkeypatch.chdir(clone)
    assert install_extra("video") == f"{PIP} -e '.[video]'", "as the documents write it"
    installed(monkeypatch, {"url": clone.as_uri(), "dir_info": {}})
    assert install_extra("video") == f"{PIP} '.[video]'"


def test_of_a_clone_that_is_gone_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, {"url": (tmp_path / "gone").as_uri(), "dir_info": {"editable": True}})
    assert install_extra("hf") == f"{PIP} 'pdebench-mixers[hf]'"


def test_of_a_repository_or_a_wheel_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    git = {"url": "https://example.org/it.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    installed(monkeypatch, git)
    assert install_extra("hf") == f"{PIP} 'pdebench-mixers[hf] @ git+https://example.org/it.git@abc'"
    installed(monkeypatch, {"url": "file:///tmp/it.whl", "archive_info": {}})
    assert install_extra("hf") == f"{PIP} 'pdebench-mixers[hf] @ file:///tmp/it.whl'"


def test_where_there_is_no_pip_by_uv_into_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, pip=False)
    assert install_extra("video") == f"{UV} 'pdebench-mixers[video]'"
    monkeypatch.setenv("VIRTUAL_ENV", os.devnull)
    assert shlex.split(install("timm")) == [*UV.split(), "--python", sys.executable, "timm"]


def test_doctor_tells_the_command_of_an_environment_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, pip=False)
    find = checks.find_spec
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "av" else find(name))
    monkeypatch.setattr(checks, "CHECKS", (checks.data, checks.trackers))
    shown = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "120"}).stdout
    assert f"{UV} 'pdebench-mixers[video]'" in shown
    assert "python -m pip" not in shown


def test_every_message_has_its_command_from_one_place() -> None:
    root = Path(installing.__file__).parent
    own = [path.name for path in root.rglob("*.py") if "pip install" in path.read_text()]
    assert own == ["installing.py"]


def test_doctor_repeats_at_its_end_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Check("family Mine", "broken", "its import fails with OSError: libmine.so", "mend it"),
        *(Check(f"part {place}", "missing", "not here", "get it") for place in range(3)),
    ]
    monkeypatch.setattr(checks, "CHECKS", (lambda: found,))
    answer = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "120"})
    assert answer.exit_code == 0
    *_, broken, _, last = answer.stdout.splitlines()
    assert broken == "Broken, and not to be used: family Mine (its import fails with OSError: libmine.so)."
    assert "3 optional parts are missing" in last
