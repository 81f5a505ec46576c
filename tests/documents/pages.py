"""The pages that people read, and what stands in them: links, headings, commands and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "results/README.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith(".")
)
MARK = re.compile(r"<!-- not run: (.+?) -->\s*")


def named(path: Path) -> str:
    """A page as a person calls it."""
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: where it stands.
        line: of its fence.
        language: what the fence says.
        text: what is in it.
        reason: why it is not run, as the comment before it says; empty: it is run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    reason = ""
    for token in tokens(page):
        if token.type == "fence" and token.map is not None:
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, reason)
        marked = MARK.fullmatch(token.content) if token.type == "html_block" else None
        reason = marked[1] if marked else ""


def inline_code(page: Path) -> Iterator[tuple[int, str]]:
    """Code within text and tables, with its line."""
    for token in tokens(page):
        for child in token.children or ():
            if child.type == "code_inline":
                yield (token.map or [0])[0] + 1, child.content


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Where links and pictures lead, with their lines."""
    for token in tokens(page):
        for child in token.children or ():
            to = child.attrGet("href") or child.attrGet("src")
            if isinstance(to, str):
                yield (token.map or [0])[0] + 1, to


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page: its headings, as a code host makes anchors of them."""
    found: set[str] = set()
    listed = tokens(page)
    for opened, inside in pairwise(listed):
        if opened.type == "heading_open":
            text = "".join(child.content for child in inside.children or ())
            anchor = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            numbered = (f"{anchor}-{number}" for number in range(1, 1000))
            found.add(anchor if anchor not in found else next(one for one in numbered if one not in found))
    return found
