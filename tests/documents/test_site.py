"""The documentation's site: it is built without a warning, and has what the code says."""

from __future__ import annotations

import subprocess
import sys
from html import unescape
from os.path import relpath
from pathlib import Path

import pytest
from contents import contents
from pages import ROOT, named

from pdebench.cli import VERBS
from pdebench.data.registry import SOURCES
from pdebench.metrics.registry import METRICS
from pdebench.models.registry import FAMILIES
from pdebench.results.record import COLUMNS


def test_the_site_is_built_and_whole(tmp_path: Path) -> None:
    """In one test, since the reference is made beside the pages: two builds at a time would be in each other's way."""
    pytest.importorskip("sphinx")
    site = built(tmp_path)
    every_page_is_in_the_contents(site)
    the_reference_has_all_that_there_is(site)
    links_out_of_the_docs_lead_to_what_the_site_has(site)


def built(out: Path) -> Path:
    arguments = ["-W", "--keep-going", "-q", "-c", ROOT / "docs", "-d", out / "doctrees", ROOT, out / "html"]
    made = subprocess.run([sys.executable, "-m", "sphinx", *map(str, arguments)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-4000:]
    return out / "html"


def text(page: Path) -> str:
    return unescape(page.read_text(encoding="utf-8"))


def every_page_is_in_the_contents(site: Path) -> None:
    start = text(site / "docs" / "index.html")
    for page in [*ROOT.glob("docs/*.md"), ROOT / "results" / "README.md", ROOT / "README.md"]:
        there = (site / named(page)).with_suffix(".html")
        assert there.exists()
        assert page.name == "index.md" or f'href="{relpath(there, site / "docs")}"' in start


def the_reference_has_all_that_there_is(site: Path) -> None:
    has = {page.stem: text(page) for page in (site / "docs" / "reference").glob("*.html")}
    assert [verb for verb in VERBS if f'id="{verb}"' not in has["command_line"]] == []
    assert "--log-json" in has["command_line"]
    assert [name for name in FAMILIES.built_in if name not in has["families"]] == []
    assert [name for name in SOURCES.built_in if name not in has["data_sets"]] == []
    assert [name for name in METRICS.built_in if name not in has["metrics"]] == []
    assert [name for name in COLUMNS if f">{name}<" not in has["columns"]] == []
    assert "AdamW’s learning rate" in has["suite_keys"]


def links_out_of_the_docs_lead_to_what_the_site_has(site: Path) -> None:
    page = text(site / "docs" / "costs.html")
    downloads = [part.split('"')[0] for part in page.split('href="')[1:] if "_downloads" in part.split('"')[0]]
    assert any(to.endswith("cost.py") for to in downloads)
    assert all((site / "docs" / to).exists() for to in downloads)
    assert "url=docs/index.html" in text(site / "index.html")


def test_the_contents_are_what_the_start_page_links_to() -> None:
    start = (
        "# Start\n\n[no](none.md)\n\n## One\n\n[a](a.md), [r](../results/README.md)\n\n## Two\n\n[b](b.md), [a](a.md)\n"
    )
    found = contents(start, ["docs/index", "docs/a", "docs/b", "docs/c", "results/README", "docs/reference/columns"])
    trees = [part.split("```")[0] for part in found.split(":caption: ")[1:]]
    assert trees[0] == "One\n\n/docs/a\n/results/README\n"
    assert trees[1] == "Two\n\n/docs/b\n"
    assert trees[2].startswith("Reference\n\n/docs/reference/command_line\n")
    assert trees[3] == "Further pages\n\n/docs/c\n"
