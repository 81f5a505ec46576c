"""Relative paths in a suite begin where the suite lies, so that they mean the same wherever it is run from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pdebench.files.yaml_source import Where, YamlSource

KEY = "data.path"


def anchored(source: YamlSource) -> YamlSource:
    """The suite with every relative path in it made absolute, by the folder of its file."""
    folder = Path(source.file).absolute().parent
    ways: list[Where] = [("data", "path"), ("grid", KEY)]
    for name in ("grid", "include", "exclude"):
        entries = source.data.get(name)
        ways += [(name, index, KEY) for index in range(len(entries) if isinstance(entries, list) else 0)]
    for way in ways:
        value = _at(source.data, way)
        if (made := from_here(way, value, folder)) != value:
            source = source.changed(way, made)
    return source


def from_here(where: Where, value: Any, folder: Path) -> Any:
    """A value at a way into a suite; a relative path, or each of a list of them, begins at `folder`."""
    if where[-1] != KEY and where != ("data", "path"):
        return value
    if isinstance(value, list):
        return [_absolute(one, folder) for one in value]
    return _absolute(value, folder)


def _absolute(value: Any, folder: Path) -> Any:
    """`~` is a home's, and stays for who reads the path; what is no text is for whoever checks the suite."""
    if not isinstance(value, str) or not value or value.startswith("~"):
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
