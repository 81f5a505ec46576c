"""`torchvision`: a set of torchvision.datasets by its class's name, decoded once.

Its files lie under `path` as torchvision keeps them; they are fetched only where `download` says so. What is held out
is the set's own validation or test split; of a set without one, a hash of each image holds out about a tenth. Where
torchvision would open a file itself, its bytes are read here instead: it would show the colours that are hidden under
transparent pixels, leave a photograph lying on its side, and give a vector file to an interpreter.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pdebench.data import pixels
from pdebench.data.cache import cached
from pdebench.data.digests import file_digests
from pdebench.data.left_out import warn_of
from pdebench.data.source import SPLITS, ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import split_of
from pdebench.data.torchvision_sets import SETS, Keywords, TorchvisionSet
from pdebench.errors import DataError, did_you_mean, out_of_memory, refused_by_system
from pdebench.files.disk import expanded, open_plain
from pdebench.installing import install

_RECIPE = "torchvision-1"
_ARCHIVES = (".gz", ".tgz", ".tar", ".zip")  # what a set was unpacked from, which some keep and some do not


class TorchvisionSource(Source):
    """A set of torchvision's, of any resolution."""

    name = "torchvision"
    brought = "copy of one of its sets"
    summary = "a set of torchvision.datasets: data.set is its class, such as CIFAR10, data.path its root"
    takes = ("path", "set", "download")

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a set that nobody knows, or that is not there and may not be fetched."""
        self.check_resolution(config)
        about = _about(config)
        for package in ("torchvision", about.needs):
            if package and importlib.util.find_spec(package) is None:
                raise DataError(f"data.set: {config.set} needs the package {package}: {install(package)}")
        root = _root(config)
        if root.is_file():
            raise DataError(f"data.path: {root} is a file, not a folder for torchvision's sets")
        missing = [name for name in about.files if not (root / name).exists()]
        if missing and not config.download:
            raise _missing(config, f"there is no {missing[0]}")
        if missing and not about.fetches:
            raise DataError(
                f"data.download: torchvision cannot fetch {config.set}: put its files into {root} by hand, as its "
                f"documentation says; {missing[0]} is not there"
            )

    def class_count(self, config: SourceConfig) -> int | None:
        """As the set is known to have."""
        return _about(config).classes

    def most_cached(self, config: SourceConfig) -> int:
        """Not known before it is read."""
        return 1

    def content(self, config: SourceConfig) -> str:
        """A digest of the set's files by their names under the root; fetches them where they are missing."""
        _fetch(config)
        about, root = _about(config), _root(config)
        files = [path for name in about.files for path in _files(root / name)]
        names = [path.relative_to(root).as_posix() for path in files]
        held = sorted(zip(names, file_digests(files), strict=True))
        recipe = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, config.set]
        return hashlib.sha256(json.dumps([recipe, held]).encode()).hexdigest()[:32]

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split, decoding the set first where that has not been done."""
        from importlib.metadata import version

        content = self.content(config)  # fetches
        names = _class_names(config)
        key = json.dumps([content, names, version("torchvision")])
        entry = cached(self.name, config.resolution, key, split, lambda: _decode(config), self.most_cached(config))
        warn_of(f"{config.set} in {_root(config)}", entry, config.resolution)
        if not len(entry.images):
            raise DataError(f"data.set: the {split} split of {config.set} in {_root(config)} is empty")
        labels = None if names is None else entry.labels
        return ImageSet(
            entry.images, labels, names, self.name, config.resolution, split, entry.checksum, len(entry.skipped)
        )


def _about(config: SourceConfig) -> TorchvisionSet:
    if config.set is None:
        raise DataError("data set 'torchvision' needs data.set, the name of a class of torchvision.datasets: CIFAR10")
    if config.set not in SETS:
        raise DataError(
            f"data.set: '{config.set}' is no set of images with at most one class each of torchvision's; "
            + did_you_mean(config.set, SETS)
        )
    return SETS[config.set]


def _root(config: SourceConfig) -> Path:
    if config.path in (None, Path()):
        raise DataError("data set 'torchvision' needs data.path, the folder that torchvision's sets lie in")
    return expanded(config.path)


def _missing(config: SourceConfig, why: str) -> DataError:
    fetch = ", or set data.download: true" if _about(config).fetches else ""
    return DataError(
        f"data.set: {config.set} is not in {_root(config)} ({why}): name its root as data.path{fetch}"
    )  # fmt: skip


def _files(path: Path) -> list[Path]:
    """A file, or what is below a folder beside hidden files and archives."""
    if not path.is_dir():
        return [path]
    below = (file for file in path.rglob("*") if not file.name.startswith(".") and file.suffix not in _ARCHIVES)
    return sorted(file for file in below if file.is_file())


# ---- torchvision's own classes


def _fetch(config: SourceConfig) -> None:
    """See that the files are there, by torchvision's own means where it is asked to fetch them."""
    about, root = _about(config), _root(config)
    if config.download and not all((root / name).exists() for name in about.files):
        for keywords in (about.train, about.held_out):
            if keywords is not None:
                _opened(config, keywords, download=True)


def _opened(config: SourceConfig, keywords: Keywords, *, download: bool = False) -> Any:
    """The set as torchvision reads it, giving bytes in the place of images where it can.

    Raises:
        DataError: it is not whole, is not to be had, or needs a package.
    """
    from torchvision import datasets

    of = getattr(datasets, str(config.set))
    taken = inspect.signature(of).parameters
    more: dict[str, Any] = {"loader": _bytes} if "loader" in taken or config.set == "ImageNet" else {}
    if download or (config.set == "SEMEION"):  # which fetches itself unless it is told not to
        more["download"] = download
    try:
        _root(config).mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            return of(_root(config), **keywords, **more)
    except Exception as error:  # RuntimeError for what is not whole; of damaged files anything
        if out_of_memory(error):
            raise
        why = refused_by_system(error) or " ".join(str(error).split())[:200] or type(error).__name__
        if download:
            raise DataError(
                f"data.download: torchvision cannot fetch {config.set} into {_root(config)}: {why}"
            ) from error
        raise _missing(config, why) from error


def _bytes(path: Any) -> bytes:
    with open_plain(Path(path), follow=True) as file:
        return file.read()


def _class_names(config: SourceConfig) -> tuple[str, ...] | None:
    """Names by label, as torchvision has them; numbers where it has none."""
    from torchvision import datasets

    about = _about(config)
    if about.classes is None:
        return None
    known: Any = getattr(getattr(datasets, str(config.set)), "classes", None)
    if not isinstance(known, Sequence) or len(known) != about.classes:  # EMNIST's class has MNIST's
        opened = _opened(config, about.train)
        known = next(
            (found for name in ("classes", "categories", "_characters") if (found := getattr(opened, name, None))), None
        )
    numbers = tuple(str(about.first + label) for label in range(about.classes))
    if not isinstance(known, Sequence) or len(known) != about.classes:
        return numbers
    return tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in known)


def _decode(config: SourceConfig) -> Iterator[Sample | Skipped]:
    """All images of both splits, mixed by a hash of what they are and where they stood."""
    about = _about(config)
    parts: list[tuple[Split | None, Any]] = [(None, about.train)]
    if about.held_out is not None:
        parts = list(zip(SPLITS, (about.train, about.held_out), strict=True))
    for split, keywords in parts:
        opened = _opened(config, keywords)
        order = [hashlib.sha256(f"{config.set} {split} {at}".encode()).digest() for at in range(len(opened))]
        for at in sorted(range(len(opened)), key=order.__getitem__):
            yield _sample(config, opened, at, split)


def _sample(config: SourceConfig, opened: Any, at: int, split: Split | None) -> Sample | Skipped:
    about, name = _about(config), f"image {at} of {split or 'all'}"
    try:
        given, target = _given(about, opened, at)
    except Exception as error:  # of a file that is no plain one, or torchvision's own
        if out_of_memory(error) or refused_by_system(error):
            raise
        return Skipped(name, pixels.reason(error))
    try:
        image, pages = pixels.read(given) if isinstance(given, bytes) else (given.convert("RGB"), 1)
    except pixels.Damaged as error:
        return Skipped(name, str(error))
    label = -1
    if about.classes is not None:
        if target is None:
            return Skipped(name, "it has no label")
        label = int(target) - about.first
        if not 0 <= label < about.classes:
            raise DataError(f"data.set: {name} of {config.set} has label {target}: it has {about.classes} classes")
    identity = given if isinstance(given, bytes) else image.tobytes()
    made = pixels.centre_crop(image, config.resolution)
    return Sample(split or split_of(identity), made, label, min(image.size) < config.resolution, pages > 1)


def _given(about: TorchvisionSet, opened: Any, at: int) -> tuple[Any, Any]:
    """The bytes of an image's file, or of a set that holds pixels the image; and its label."""
    if about.item is None:
        given, target = opened[at]
        return given, target
    path, target = about.item(opened, at)
    return _bytes(path), target
