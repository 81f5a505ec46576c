"""What Sphinx needs beside the pages: the contents in the margin, links to folders, and a page at the site's root."""

from __future__ import annotations

import re
from pathlib import Path

from generate import PAGES
from generate.folders import ROOT, with_listings
from sphinx.application import Sphinx

START = "docs/index"
REDIRECT = '<!doctype html><meta http-equiv="refresh" content="0; url={0}.html"><a href="{0}.html">pdebench</a>\n'
HEADING = re.compile(r"^## +(.+)$", re.MULTILINE)
PAGE = re.compile(r"\]\(([\w./-]+)\.md\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("build-finished", _redirect)
    return {"parallel_read_safe": True}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = with_listings(ROOT / f"{page}.md", source[0])
    if page == START:
        source[0] += contents(source[0], sorted(app.env.found_docs))


def contents(start: str, pages: list[str]) -> str:
    """The trees of contents: what the start page links to under each of its headings, then what else there is."""
    reference = [f"docs/reference/{name}" for name in PAGES]
    left = dict.fromkeys(page for page in pages if page != START and page not in reference)
    trees = {}
    _, *parts = HEADING.split(start)
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        linked = [(Path("docs") / to).as_posix() for to in PAGE.findall(text)]
        named = [page.replace("docs/../", "") for page in dict.fromkeys(linked)]
        trees[heading] = [page for page in named if left.pop(page, 0) is None]
    trees |= {"Reference": reference, "Further pages": list(left)}
    return "".join(_tree(heading, named) for heading, named in trees.items() if named)


def _tree(heading: str, pages: list[str]) -> str:
    lines = "".join(f"/{page}\n" for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{lines}```\n"


def _redirect(app: Sphinx, failed: Exception | None) -> None:
    if failed is None and app.builder.format == "html":
        (app.outdir / "index.html").write_text(REDIRECT.format(START))
