"""`photos`: random crops of the real photographs inside the wheels of scikit-image and scikit-learn.

Each crop's side is drawn between the resolution and the photograph's short side and reduced with
antialiasing. Nothing is ever enlarged: a photograph whose short side is below the resolution is left out
and counted. No two crops of a set are the same box. A crop is a function of a hash alone (photograph,
resolution, number), so every machine draws the same ones. A photograph stands wholly in train or wholly in
validation. There are no labels.

With 17 photographs this is a set for measuring cost and for seeing textures, not for judging what a model
has learned about the world. At 512 px it is thin: a 512 x 512 photograph has a single crop there, so hubble
and retina give nearly all of train and cell nearly all of validation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pdebench.data import packages, pixels
from pdebench.data.cache import cached
from pdebench.data.source import SPLITS, ImageSet, Sample, Skipped, Source, SourceConfig, Split

if TYPE_CHECKING:
    from PIL import Image

_RECIPE = "photos-1"
# Crops a split, so that no file of the cache passes 160 MB.
COUNTS: dict[int, dict[Split, int]] = {
    32: {"train": 4096, "validation": 512},
    64: {"train": 4096, "validation": 512},
    128: {"train": 3072, "validation": 384},
    256: {"train": 768, "validation": 96},
    512: {"train": 192, "validation": 24},
}
# By hand, since a hash of 17 names may leave too few on one side: validation has a grey texture and a stained
# tissue at every resolution, with three photographs at least and all five up to 256 px.
VALIDATION = frozenset({"cell", "coffee", "flower", "gravel", "ihc"})

_SKIMAGE, _SKLEARN = "scikit-image", "scikit-learn"
_FOLDERS = {_SKIMAGE: ("skimage", "data"), _SKLEARN: ("sklearn", "datasets/images")}


class PhotoFile(NamedTuple):
    """One packaged file; the two views of the stereo pair belong to one photograph."""

    photograph: str
    file: str
    distribution: str
    sha256: str


FILES = (
    PhotoFile(
        "astronaut",
        "astronaut.png",
        _SKIMAGE,
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    PhotoFile("brick", "brick.png", _SKIMAGE, "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    PhotoFile("camera", "camera.png", _SKIMAGE, "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    PhotoFile("cell", "cell.png", _SKIMAGE, "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515"),
    PhotoFile("chelsea", "chelsea.png", _SKIMAGE, "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    PhotoFile("coffee", "coffee.png", _SKIMAGE, "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    PhotoFile("coins", "coins.png", _SKIMAGE, "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    PhotoFile("grass", "grass.png", _SKIMAGE, "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    PhotoFile("gravel", "gravel.png", _SKIMAGE, "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    PhotoFile(
        "hubble",
        "hubble_deep_field.jpg",
        _SKIMAGE,
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    PhotoFile("ihc", "ihc.png", _SKIMAGE, "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    PhotoFile("moon", "moon.png", _SKIMAGE, "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    PhotoFile(
        "motorcycle",
        "motorcycle_left.png",
        _SKIMAGE,
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    ),
    PhotoFile(
        "motorcycle",
        "motorcycle_right.png",
        _SKIMAGE,
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
    ),
    PhotoFile("retina", "retina.jpg", _SKIMAGE, "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    PhotoFile("rocket", "rocket.jpg", _SKIMAGE, "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    PhotoFile("china", "china.jpg", _SKLEARN, "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    PhotoFile("flower", "flower.jpg", _SKLEARN, "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
)
PHOTOGRAPHS = frozenset(entry.photograph for entry in FILES)


class Crop(NamedTuple):
    """A square inside one of a photograph's views, in pixels."""

    view: int
    left: int
    upper: int
    side: int


class PhotosSource(Source):
    """Crops of 17 photographs, RGB, unlabelled, 32 to 512 px."""

    name = "photos"
    summary = "random crops of 17 packaged photographs, unlabelled, split by photograph"
    credit = "china.jpg by danielbuechele and flower.jpg by vultilion, CC BY 2.0; cropped and resized"
    resolutions = tuple(COUNTS)

    def check(self, config: SourceConfig) -> None:
        """Raise DataError when a package or one of its photographs is not there."""
        self.check_resolution(config)
        self.check_no_path(config)
        check(self.name)

    def class_count(self, config: SourceConfig) -> int | None:
        """None: there are no labels."""
        return None

    def most_cached(self, config: SourceConfig) -> int:
        """The crops of both splits."""
        return sum(COUNTS[config.resolution].values())

    def content(self, config: SourceConfig) -> None:
        """Its name: packaged and pinned by checksums: other images would have another name."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError names a packaged file that differs from the pinned one."""
        key = json.dumps([_RECIPE, COUNTS[config.resolution], sorted(VALIDATION), FILES])
        entry = cached(
            self.name, config.resolution, key, split, lambda: _decode(config.resolution), self.most_cached(config)
        )
        return ImageSet(
            entry.images, None, None, self.name, config.resolution, split, entry.checksum, len(entry.skipped)
        )


def check(source: str) -> None:
    """Raise DataError, in the name of a source, when a package or one of its photographs is not there."""
    for entry in FILES:
        if not (path := _path(source, entry)).is_file():
            raise packages.differs(source, f"the missing file {path}", entry.distribution)


def _path(source: str, entry: PhotoFile) -> Path:
    module, inside = _FOLDERS[entry.distribution]
    return packages.locate(source, entry.distribution, module) / inside / entry.file


def read(source: str, wanted: Container[str] = PHOTOGRAPHS) -> dict[str, list[Image.Image]]:
    """The views, in RGB, of each photograph that is wanted, after their files have been verified for a source.

    Raises:
        DataError: a file is missing, or differs from the pinned one.
    """
    photographs: dict[str, list[Image.Image]] = {}
    for entry in FILES:
        if entry.photograph not in wanted:
            continue
        data = (path := _path(source, entry)).read_bytes()
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise packages.differs(source, f"the file {path}", entry.distribution)
        photographs.setdefault(entry.photograph, []).append(pixels.decode(data))
    return photographs


def crops(photograph: str, sizes: Sequence[tuple[int, int]], resolution: int) -> Iterator[Crop]:
    """Distinct crops of one photograph with views of these sizes (width, height), in their fixed order."""
    remaining = sum(
        (width - side + 1) * (height - side + 1)
        for width, height in sizes
        for side in range(resolution, min(width, height) + 1)
    )
    drawn: set[Crop] = set()
    for number in count():
        if len(drawn) == remaining:
            return
        digest = hashlib.sha256(f"{_RECIPE} {photograph} {resolution} {number}".encode()).digest()
        a, b, c, d = (int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8))
        view = a % len(sizes)
        width, height = sizes[view]
        side = resolution + b % (min(width, height) - resolution + 1)
        crop = Crop(view, c % (width - side + 1), d % (height - side + 1), side)
        if crop not in drawn:
            drawn.add(crop)
            yield crop


def _decode(resolution: int) -> Iterator[Sample | Skipped]:
    photographs = read("photos")
    for name, views in list(photographs.items()):
        if min(min(view.size) for view in views) < resolution:
            yield Skipped(name, f"{views[0].width} x {views[0].height} is too small for {resolution} px")
            del photographs[name]
    for split in SPLITS:
        names = [name for name in photographs if (name in VALIDATION) == (split == "validation")]
        for name, crop in _in_turn(names, photographs, resolution, COUNTS[resolution][split]):
            box = (crop.left, crop.upper, crop.left + crop.side, crop.upper + crop.side)
            yield Sample(split, pixels.resize(photographs[name][crop.view], resolution, box))


def _in_turn(
    names: list[str], photographs: dict[str, list[Image.Image]], resolution: int, wanted: int
) -> Iterator[tuple[str, Crop]]:
    """A crop of each photograph by turns; one that has no more leaves its turns to the others."""
    queues = {name: crops(name, [view.size for view in photographs[name]], resolution) for name in names}
    while queues:
        for name in list(queues):
            if wanted == 0:
                return
            if (crop := next(queues[name], None)) is None:
                del queues[name]
                continue
            wanted -= 1
            yield name, crop
