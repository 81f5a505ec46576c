"""Pages of reference, made from the code that they are about while the site is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from generate import columns, command_line, data_sets, families, folders, metrics, suite_keys

PAGES: dict[str, Callable[[], str]] = {  # in the order of the site's contents
    "command_line": command_line.page,
    "suite_keys": suite_keys.page,
    "families": families.page,
    "data_sets": data_sets.page,
    "metrics": metrics.page,
    "columns": columns.page,
    "folders": folders.page,
}


def write(folder: Path) -> None:
    """Write the pages; one that has not changed is left alone, so that it is not built again."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.stem not in PAGES:
            old.unlink()
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
