"""Where the paths of a suite lead: relative ones in it begin where the suite lies, and its results have a default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pdebench.files.yaml_source import Where, YamlSource

RUNS = Path("runs")
RUNS_BEFORE = Path("results")  # where results went by default until November 2026, and where studies to keep are still
KEYS = ("data.path", "data.validation", "data.autoencoder", "train.init")


def anchored(source: YamlSource) -> YamlSource:
    """The suite with every relative path in it made absolute, by the folder of its file."""
    folder = Path(source.file).absolute().parent
    ways: list[Where] = []
    for key in KEYS:
        ways += [tuple(key.split(".")), ("grid", key)]
        for name in ("grid", "include", "exclude"):
            entries = source.data.get(name)
            ways += [(name, index, key) for index in range(len(entries) if isinstance(entries, list) else 0)]
    for way in ways:
        value = _at(source.data, way)
        if (made := from_here(way, value, folder)) != value:
            source = source.changed(way, made)
    return source


def default_results(suite: str) -> Path:
    """The results folder of a suite by its name: `runs/NAME`, or `results/NAME` where cells of it lie from earlier.

    `results` holds the tables that a repository keeps, which a run is not to write over unasked.
    """
    before = RUNS_BEFORE / suite
    return before if any((before / made).exists() for made in ("cells", "matched.json")) else RUNS / suite


def from_here(where: Where, value: Any, folder: Path) -> Any:
    """A value at a way into a suite; a relative path, or each of a list of them, begins at `folder`."""
    key = ".".join(map(str, where[-2:])) if where[0] in ("data", "train") else str(where[-1])
    if key not in KEYS:
        return value
    if isinstance(value, list):
        return [_absolute(one, folder, key) for one in value]
    return _absolute(value, folder, key)


def _absolute(value: Any, folder: Path, key: str) -> Any:
    """`~` is a home's, and stays for who reads the path; what is no text is for whoever checks the suite.

    An autoencoder may be a name on a hub, which looks like a path: it is one where there is such a folder.
    """
    if not isinstance(value, str) or not value or value.startswith("~"):
        return value
    if key == "data.autoencoder" and not os.path.isdir(folder / value):  # noqa: PTH112 (a text may hold a null byte)
        return value
    return os.path.normpath(folder / value)


def _at(data: Any, way: Where) -> Any:
    for part in way:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part]
        else:
            return None
    return data
