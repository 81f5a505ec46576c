"""Every link of the pages leads somewhere, on a code host too."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import PAGES, ROOT, anchors, links, named

NAMED = re.compile(r"\b((?:docs/\w+|README|SECURITY|results/README)\.md)(?:#([\w-]+))?")


@cache
def stored() -> set[Path] | None:
    """The files that a code host has, with their folders; None where this is no checkout."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    files = {ROOT / name for name in said.split("\0") if name}
    return files | {folder for file in files for folder in file.parents}


def wrong(page: Path, to: str) -> str | None:
    """What is wrong with a link, or None."""
    parts = urlsplit(to)
    if parts.scheme:
        well = parts.scheme in ("https", "mailto") and (parts.scheme == "mailto" or "." in parts.netloc)
        return None if well and " " not in to and not to.endswith((".", ",")) else "is no address"
    there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not there.exists() or ROOT not in (there, *there.parents):
        return "leads nowhere"
    if (known := stored()) is not None and there not in known:
        return "leads to what git leaves out"
    if parts.fragment and there.suffix == ".md" and parts.fragment not in anchors(there):
        return f"names no heading of {named(there)}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    found = [f"{named(page)}:{line}: {to} {why}" for line, to in links(page) if (why := wrong(page, to)) is not None]
    assert not found


def test_pages_that_code_and_suites_name_are_there() -> None:
    files = [*ROOT.glob("pdebench/**/*.py"), *ROOT.glob("suites/*.yaml"), ROOT / "noxfile.py"]
    found = [
        f"{named(file)} names {page}{f'#{anchor}' * bool(anchor)}"
        for file in files
        for page, anchor in NAMED.findall(file.read_text(encoding="utf-8"))
        if not (ROOT / page).exists() or (anchor and anchor not in anchors(ROOT / page))
    ]
    assert not found


@pytest.mark.parametrize(
    ("to", "why"),
    [("#two", None), ("#two-1", None), ("other.md#a-b_c-1-d", None), ("https://a.org/b", None),
     ("a%20b.txt", None), ("#three", "names no heading of page.md"), ("none.md", "leads nowhere"),
     ("/etc/passwd", "leads nowhere"),
     ("other.md#two", "names no heading of other.md"), ("http:/a", "is no address")],
)  # fmt: skip
def test_what_is_told_of_a_link(to: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pages", "test_links"):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path)
    monkeypatch.setattr("test_links.stored", lambda: None)
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## Two\n\n## `Two`\n\n```sh\n# Three\n```\n")
    (tmp_path / "other.md").write_text("# A *b_c*: 1 (d)\n")
    (tmp_path / "a b.txt").touch()
    assert wrong(page, to) == why
