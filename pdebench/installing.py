"""The commands that messages tell a reader to type, so that they work in the environment that the message comes from.

An environment that uv made has no pip in it, and an installation from a clone is on no index: its extras are had from
the clone. Importing this imports nothing of the package.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

DISTRIBUTION = "pdebench-mixers"
COMMANDS = ("python -m pip ", "uv pip ")
"""What the commands begin with."""


def install(*requirements: str, options: str = "") -> str:
    """The command that installs packages: `python -m pip install timm`.

    Args:
        requirements: as on an index, `torch>=2.9`, or a path.
        options: before them, in words that pip and uv share.
    """
    words = [_installer(), *options.split(), *map(shlex.quote, requirements)]
    return " ".join(words)


def install_extra(extra: str = "") -> str:
    """The command that installs an extra of pdebench, or pdebench itself, from where it was installed."""
    extras = f"[{extra}]" if extra else ""
    where, editable = _origin()
    if isinstance(where, Path):
        here = where == Path.cwd()
        return install(f"{'.' if here else where}{extras}", options="-e" if editable else "")
    return install(f"{DISTRIBUTION}{extras}{f' @ {where}' if where else ''}")


def _installer() -> str:
    try:
        distribution("pip")
        return f"{COMMANDS[0]}install"
    except PackageNotFoundError:
        # uv looks for an environment in VIRTUAL_ENV, which is not set where only its program was called by its path
        active = os.environ.get("VIRTUAL_ENV") == sys.prefix
        return f"{COMMANDS[1]}install" + ("" if active else f" --python {shlex.quote(sys.executable)}")


def _origin() -> tuple[Path | str, bool]:
    """The folder or the address that pdebench was installed from, empty for an index; and whether it is editable."""
    try:
        told = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:  # run from a clone that is not installed
        clone = Path(__file__).resolve().parents[1]
        return (clone, True) if (clone / "pyproject.toml").exists() else ("", False)
    origin = json.loads(told) if told else {}  # of an index there is none
    url = str(origin.get("url", ""))
    if (folder := origin.get("dir_info")) is not None:
        path = Path(url2pathname(urlsplit(url).path))
        return (path, bool(folder.get("editable"))) if path.is_dir() else ("", False)
    if (source := origin.get("vcs_info")) is not None:
        return f"{source['vcs']}+{url}@{source['commit_id']}", False
    return url, False
