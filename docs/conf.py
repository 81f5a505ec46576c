"""The documentation's site: `nox -s docs`. Sphinx reads the pages as they are; the reference is made from code.

The repository's root is the source folder, so that README, SECURITY and the results' page are pages of the site, and
links from page to file are those that a code host follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import contents  # noqa: E402
import generate  # noqa: E402

from pdebench import __version__  # noqa: E402

project = "pdebench"
release = __version__
extensions = ["myst_parser", "contents"]
html_theme = "furo"
html_title = "pdebench"
root_doc = contents.START
include_patterns = ["docs/**.md", "results/README.md", "experiments/README.md", "README.md", "SECURITY.md"]
# only so that no time is lost on looking for pages there
exclude_patterns = [
    ".*",
    "**/.*",
    "pdebench",
    "tests",
    "suites",
    "benchmarks",
    "findings",
    "results/*/*",
    "build",
    "dist",
]
myst_heading_anchors = 6  # as code hosts make them

generate.write(HERE / "reference")
