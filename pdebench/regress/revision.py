"""Revisions side by side: each a git worktree, and where it requires other packages, with an environment of its own.

What a revision is asked goes through its own command line: `validate --json` for the cells that it makes of a suite,
`worker` to run one in a fresh process. So a revision may have configuration that the other does not know.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdebench.errors import NotComparable, RevisionError
from pdebench.files.yaml_source import dump_yaml
from pdebench.regress.metrics import CHECKPOINT
from pdebench.regress.samples import ProcessSample
from pdebench.results.store import IDENTITY, read_record
from pdebench.system.descendants import with_its_parent

ROOT = Path(__file__).resolve().parents[2]  # the checkout that this code runs from, if it does


@dataclass(frozen=True)
class Revision:
    """A commit that is checked out and can be run.

    Attributes:
        name: as it was asked for.
        commit: its full name.
        folder: where it is checked out.
        python: the interpreter that has what it requires.
    """

    name: str
    commit: str
    folder: Path
    python: str

    def cells(self, suite: Path) -> dict[str, dict[str, Any]]:
        """The cells that it makes of a suite: identity to dotted keys and values, `suite` among them.

        Raises:
            NotComparable: it refuses the suite.
        """
        done = self._call("validate", str(suite), "--json")
        if done.returncode:
            raise NotComparable(f"revision {self.name} cannot read {suite}: {_last(done.stderr)}")
        found = json.loads(done.stdout)
        return {cell.pop("cell"): {"suite": found["suite"], **cell} for cell in found["cells"]}

    def run(self, suite: Path, cell: str, keys: Mapping[str, Any], results: Path) -> ProcessSample:
        """Run a cell in a fresh process: its record, with `checkpoint_bytes` where it left a checkpoint.

        Args:
            suite: the suite's file, which the cell's limits are read from.
            cell: its identity, as `cells` has it.
            keys: its dotted keys, as `cells` has them.
            results: a folder; what an earlier run of the cell left there is removed.

        Raises:
            RevisionError: it left no record, or what ran was not this commit.
        """
        if not IDENTITY.fullmatch(cell):
            raise RevisionError(f"revision {self.name} calls a cell {cell!r}, which is no identity")
        folder = results / "cells" / cell
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copyfile(suite, results / "suite.yaml")
        (folder / "config.yaml").write_text(dump_yaml(_nested(keys)))
        began = time.monotonic()
        done = self._call("worker", str(folder))
        seconds = time.monotonic() - began
        record = read_record(folder)
        if record is None:
            raise RevisionError(f"revision {self.name} did not run cell {cell}: {_last(done.stderr or done.stdout)}")
        if record["status"] != "done":
            return ProcessSample(record, seconds, f"{record['status']}: {record.get('message')}")
        if record.get("git_commit") != self.commit:
            ran = record.get("git_commit") or f"a pdebench without a commit ({record.get('warnings') or 'no checkout'})"
            raise RevisionError(
                f"asked to run {self.commit[:12]}, {self.python} ran {ran}: unset PYTHONPATH and the like"
            )
        checkpoint = folder / "checkpoint.safetensors"
        size = {CHECKPOINT: checkpoint.stat().st_size} if checkpoint.exists() else {}
        return ProcessSample(record | size, seconds)

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Its command, from the current folder, so that relative paths in a suite mean what they do elsewhere."""
        # SAFEPATH: the current folder may hold a pdebench too, and must not come first
        path = [str(self.folder), *(_path_of_ours() if self.python == sys.executable else ())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
        command = [self.python, "-m", "pdebench", *arguments]
        return _run(command, environment)


@contextmanager
def side_by_side(against: str, root: Path = ROOT) -> Iterator[tuple[Revision, Revision]]:
    """The revision to compare with and HEAD, checked out under one temporary folder that goes when this ends.

    HEAD is checked out too: two folders with names of one length, both without bytecode, are alike.

    Raises:
        RevisionError: there is no git checkout or no such revision, or tracked files differ from HEAD.
    """
    base, head = commit_of(against, root), clean_head(root)
    with tempfile.TemporaryDirectory(prefix="pdebench-regress-") as folder:
        made: list[Path] = []
        try:
            for name, commit in (("base", base), ("head", head)):
                made.append(Path(folder) / name)
                _git(root, "worktree", "add", "--detach", "--quiet", str(made[-1]), commit)
            pythons = [_environment(path, root, Path(folder) / f"env-{path.name}") for path in made]
            yield Revision(against, base, made[0], pythons[0]), Revision("HEAD", head, made[1], pythons[1])
        finally:
            for path in made:
                _git(root, "worktree", "remove", "--force", str(path), must=False)


def here(root: Path = ROOT) -> Revision:
    """HEAD as it stands in the checkout, for comparisons with what is stored.

    Raises:
        RevisionError: there is no git checkout, or tracked files differ from HEAD.
    """
    return Revision("HEAD", clean_head(root), root, sys.executable)


def clean_head(root: Path) -> str:
    """The commit of a checkout whose tracked files are those of its HEAD.

    Raises:
        RevisionError: they are not.
    """
    head = commit_of("HEAD", root)
    changed = _git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        files = f"{changed[0][3:]}{f' and {len(changed) - 1} more' if len(changed) > 1 else ''}"
        raise RevisionError(
            f"{root}: the working tree is dirty ({files}); only commits are measured: commit or stash first"
        )
    return head


def commit_of(revision: str, root: Path = ROOT) -> str:
    """The full name of a commit.

    Raises:
        RevisionError: there is no git checkout here, or no such revision in it.
    """
    if not (root / ".git").exists():
        raise RevisionError(f"pdebench runs from {root}, which is no git checkout: clone it, and run it from there")
    _git(root, "rev-parse", "--git-dir")  # what git has against the checkout is not said of the revision
    found = _git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", must=False
    ).strip()
    if not found:
        raise RevisionError(f"there is no revision '{revision}' in {root}: see `git log`, or fetch more history")
    return found


def _git(root: Path, *arguments: str, must: bool = True) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        raise RevisionError("git is not here, and revisions cannot be had without it: install it") from None
    if done.returncode and must:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        why = next((line for line in said if line.startswith(("fatal:", "error:"))), said[-1])
        remedy = next((f"; run `{line.strip()}`" for line in said if line.strip().startswith("git config")), "")
        raise RevisionError(f"{root}: git {arguments[0]}: {why}{remedy}")
    return done.stdout


def _environment(checkout: Path, root: Path, folder: Path) -> str:
    """The interpreter for a checkout: ours where it requires what we do, else one that sees ours and adds what differs.

    Raises:
        RevisionError: what it requires cannot be installed.
    """
    wanted = _requirements(checkout)
    if wanted == _requirements(root):
        return sys.executable
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    # behind its own packages: torch and the rest, gigabytes that need not be there twice
    shared = [*_path_of_ours(), sysconfig.get_path("purelib")]
    (Path(own) / "shared.pth").write_text("".join(f"{folder}\n" for folder in shared))
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = _run(command, environment)
    if done.returncode:
        raise RevisionError(f"what {checkout.name} requires cannot be installed: {_last(done.stderr)}")
    return str(python)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command from its beginning to its end, which is ours at the latest."""
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, preexec_fn=with_its_parent()
    )


def _path_of_ours() -> list[str]:
    """What the user has on PYTHONPATH: packages may come by it."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _requirements(checkout: Path) -> Sequence[str]:
    """What `pyproject.toml` says that pdebench needs."""
    file = checkout / "pyproject.toml"
    try:
        return list(tomllib.loads(file.read_text())["project"].get("dependencies", []))
    except (OSError, KeyError, ValueError) as error:
        raise RevisionError(f"{file} does not say what pdebench requires: {error}") from None


def _nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as the sections of a cell's configuration."""
    made: dict[str, Any] = {}
    for key, value in keys.items():
        section, dot, field = key.partition(".")
        if dot:
            made.setdefault(section, {})[field] = value
        else:
            made[key] = value
    return made


def _last(text: str) -> str:
    """What a program said in the end."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
