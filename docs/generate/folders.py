"""The page of folders that other pages link to: a code host lists what is in them, so the site does, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s#:]+)\)")  # what it leads to, where that is neither an address nor a heading

ABOUT = """\
# Folders

What lies in the folders that pages link to.

"""


def page() -> str:
    """The page, in Markdown."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/README.md")]
    named = {folder for one in pages for folder in _folders(one, one.read_text(encoding="utf-8"))}
    return ABOUT + "\n".join(_listing(folder) for folder in sorted(named))


def with_listings(page: Path, text: str) -> str:
    """The text of a page, its links to folders leading to their README, as on a code host, or to their listing."""
    for folder, written in _folders(page, text).items():
        readme = folder / "README.md"
        to = f"/{readme.relative_to(ROOT)}" if readme.exists() else f"/docs/reference/folders.md#{_anchor(folder)}"
        text = text.replace(f"]({written})", f"]({to})")
    return text


def _folders(page: Path, text: str) -> dict[Path, str]:
    """The folders that a page links to, each as the link has it."""
    found = {(page.parent / written).resolve(): written for written in LINK.findall(text)}
    return {folder: written for folder, written in found.items() if folder.is_dir()}


def _listing(folder: Path) -> str:
    title = folder.relative_to(ROOT).as_posix()
    files = "".join(f"- [{path.name}](/{path.relative_to(ROOT)})\n" for path in _files(folder))
    return f"({_anchor(folder)})=\n\n## {title}\n\n{files}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_file())


def _anchor(folder: Path) -> str:
    return "folder-" + folder.relative_to(ROOT).as_posix().replace("/", "-")
