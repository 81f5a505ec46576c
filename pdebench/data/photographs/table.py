"""The photographs: whose they are, under which licence, and in which package of which distribution they lie.

Chosen by eye from the packages of wallpapers of Debian 12: photographs of at least 1.7 megapixels, and no drawings,
renderings or composites. Each is pinned by the sha256 of its file, so any version of a package serves that has them.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from pdebench.data import photos
from pdebench.data.source import Split

RELEASE = "Debian 12 (bookworm)"
RECIPE = "photographs-1"
"""A change to how pixels or crops are made must change it."""


class Package(NamedTuple):
    """A package as `RELEASE` has it; `size` in bytes, `sha256` of the .deb."""

    name: str
    version: str
    size: int
    sha256: str


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "lomiri-wallpapers-16.04",
            "20.04.0-2",
            15_783_184,
            "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        ),
        Package(
            "lomiri-wallpapers-20.04",
            "20.04.0-2",
            11_377_208,
            "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        ),
        Package(
            "lxqt-themes", "1.2.0-1", 25_778_012, "d518df36b515b09d36cb00b12645dd8ce170bb82bb0966297741905ce3edc8e1"
        ),
        Package(
            "mate-backgrounds",
            "1.26.0-1",
            46_638_500,
            "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        ),
        Package(
            "plasma-workspace-wallpapers",
            "4:5.27.5-2",
            94_047_772,
            "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        ),
    )
}


class Photograph(NamedTuple):
    """A row of `table.csv`.

    Attributes:
        name: of the photograph.
        scene: what it shows; photographs of one scene stand on one side.
        split: that side.
        width, height: in pixels.
        author: as the package has it.
        licence: SPDX; where a package and a file in it name two, both.
        package: the name of the package.
        file: its path below the root of a system.
        sha256: of the file, in hexadecimal digits.
    """

    name: str
    scene: str
    split: Split
    width: int
    height: int
    author: str
    licence: str
    package: str
    file: str
    sha256: str


def _rows() -> tuple[Photograph, ...]:
    with (Path(__file__).parent / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | {side: int(row[side]) for side in ("width", "height")} for row in csv.DictReader(file)]
    return tuple(Photograph(**row) for row in rows)  # type: ignore[arg-type]


PHOTOGRAPHS = _rows()


def content() -> str:
    """A digest of all that decides what is drawn: the files, the side that each is on, and the recipe."""
    own = [[one.name, one.split, one.sha256] for one in PHOTOGRAPHS]
    text = json.dumps([RECIPE, own, sorted(photos.VALIDATION), photos.FILES])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
