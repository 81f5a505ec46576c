"""Real revisions: a clone with a commit of its own, checked out beside its parent, and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pdebench.errors import RevisionError
from pdebench.regress.revision import ROOT, Revision, commit_of, side_by_side

SUITE = """\
suite: tiny
data: {name: noise, resolution: 16}
model: {family: None-DiT, size: XXS, patch: 8, depth: 1}
train: {steps: 0, batch_size: 2, lr: 1e-3}
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's code in a repository of its own: `main`, then a commit with another MLP."""
    folder = tmp_path_factory.mktemp("clone") / "pdebench"
    folder.mkdir()
    files = ["pyproject.toml", "pdebench", "suites"]
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", *files],
                            capture_output=True, text=True)  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / ".gitignore").write_text("__pycache__/\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "as it is")
    (folder / "tiny.yaml").write_text(SUITE)
    return folder


def regress(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(clone), "COLUMNS": "80"}
    command = [sys.executable, "-m", "pdebench", "regress", "tiny.yaml", *arguments]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=300)


def test_a_change_of_the_code_is_found_in_what_it_changes(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    file = clone / "pdebench" / "models" / "sizes.py"
    changed = file.read_text().replace('"XXS": Size(4, 128, 2)', '"XXS": Size(4, 192, 2)')
    assert changed != file.read_text()
    file.write_text(changed)
    dirty = regress(clone, "--against", before)
    assert dirty.returncode == 2
    assert "the working tree is dirty (pdebench/models/sizes.py); only commits are measured" in dirty.stderr
    git(clone, "commit", "--quiet", "-am", "XXS is wider")
    found = regress(clone, "--against", before, "--json")
    assert found.returncode == 3, found.stderr  # its width is part of what a cell is: there is no cell in common
    assert "no cell in common: 1 in the base, 1 in the head" in found.stderr
    git(clone, "reset", "--quiet", "--hard", before)


def test_equal_revisions_pass_and_leave_nothing_behind(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "nothing")
    found = regress(clone, "--against", before, "--json")
    assert found.returncode == 0, found.stderr
    outcome = json.loads(found.stdout)
    assert outcome["base"] == {"revision": before, "commit": before}
    assert outcome["head"] == git(clone, "rev-parse", "HEAD")
    assert outcome["notes"] == ["nothing is timed by this suite: only what is deterministic was compared"]
    assert outcome["processes"] == 2
    assert git(clone, "worktree", "list").count("\n") == 0


def test_what_the_user_has_on_the_path_is_there_behind_the_revision(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("open(__file__ + '.ran', 'w').close()\n")
    (tmp_path / "pdebench").mkdir()
    (tmp_path / "pdebench" / "__init__.py").write_text("raise SystemExit('another one')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    revision = Revision("HEAD", git(clone, "rev-parse", "HEAD"), clone, sys.executable)
    assert len(revision.cells(clone / "tiny.yaml")) == 1
    assert (tmp_path / "sitecustomize.py.ran").exists()


def test_a_revision_that_is_not_there_is_named(clone: Path) -> None:
    with pytest.raises(RevisionError, match="there is no revision 'nowhere'"):
        commit_of("nowhere", clone)
    with pytest.raises(RevisionError, match="there is no revision '--all'"):
        commit_of("--all", clone)


def test_what_git_has_against_a_checkout_is_not_said_of_the_revision(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout of another owner, in a container for one: there is a HEAD, and git does not look at it."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    with pytest.raises(RevisionError, match=r"dubious ownership.*run `git config --global --add safe\.directory"):
        commit_of("HEAD", clone)
    code = "import json; from pdebench.system.machine import describe; print(json.dumps(describe()))"
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(clone)}, cwd=clone, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(told.stdout)["git_commit"] is None
    assert "the commit of" in told.stderr
    assert "dubious ownership" in told.stderr


def test_outside_a_checkout_there_are_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(RevisionError, match="which is no git checkout"), side_by_side("HEAD", tmp_path):
        pass


def test_a_revision_that_requires_other_packages_has_an_environment_that_shares_ours(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("open(__file__ + '.ran', 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before, file = git(clone, "rev-parse", "HEAD"), clone / "pyproject.toml"
    file.write_text(file.read_text().replace('"numpy>=2.0"', '"numpy>=1.26"'))
    git(clone, "commit", "--quiet", "-am", "an older numpy will do")
    with side_by_side(before, clone) as (base, head):
        assert head.python == sys.executable
        assert base.python != sys.executable
        asked = "import sys, numpy; print(sys.prefix, numpy.__file__)"
        done = subprocess.run([base.python, "-c", asked], capture_output=True, text=True, check=True)
        prefix, numpy = done.stdout.split()
        assert prefix.startswith(str(base.folder.parent))
        assert not numpy.startswith(prefix)
        ran = tmp_path / "sitecustomize.py.ran"
        ran.unlink(missing_ok=True)
        assert len(base.cells(clone / "tiny.yaml")) == 1
        assert ran.exists()  # behind its own packages
    assert not base.folder.exists()
    git(clone, "reset", "--quiet", "--hard", before)
