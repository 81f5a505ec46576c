"""Revisions that are slower by a known share: commits on a clone of this checkout, each in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pdebench.regress.revision import ROOT, Revision, clean_head

FAMILY = "DiT"
KINDS = {"same": 0.0, "2%": 0.02, "5%": 0.05, "10%": 0.10}
PASSES = 3  # a forward and backward pass, in forwards: the loop that slows a block runs in its forward alone
LOOP = """

import time as _time

_whole = Block.forward


def _slower(self, x, c):
    began = _time.perf_counter()
    out = _whole(self, x, c)
    if type(self.mixer).__name__ == "Attention":
        until = _time.perf_counter() + {share} * (_time.perf_counter() - began)
        while _time.perf_counter() < until:
            pass
    return out


Block.forward = _slower
"""


def revisions(folder: Path) -> dict[str, Revision]:
    """The base, and one revision of each kind; made once, and found again.

    The loop runs for its share of a block's own forward, so that the slowdown is a share of whatever the block takes
    just then; what it comes to in a pass of both directions is in the record.
    """
    clone = folder / "clone"
    if not clone.exists():
        clean_head(ROOT)
        _git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(clone))
    made = {"base": _checked_out(clone, "base", 0.0)}
    for kind, share in KINDS.items():
        made[kind] = _checked_out(clone, kind.rstrip("%").rjust(4, "0"), share)  # names of one length, as in the gate
    return made


def _checked_out(clone: Path, name: str, share: float) -> Revision:
    place = clone.parent / name
    if not place.exists():
        _git(clone, "worktree", "add", "--quiet", "--detach", str(place), "HEAD")
        if share:
            file = place / "pdebench" / "models" / "backbone.py"
            file.write_text(file.read_text() + LOOP.format(share=share * PASSES))
        identity = ["-c", "user.name=study", "-c", "user.email=study@localhost"]
        _git(place, *identity, "commit", "--quiet", "--allow-empty", "-am", f"slower by {share:.0%}")
    return Revision(name, _git(place, "rev-parse", "HEAD").strip(), place, sys.executable)


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout
