"""What a data set is: a `Source` that checks and loads, and the `ImageSet` that it loads.

Nothing here imports numpy, so that a suite's data section can be checked in milliseconds.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pdebench.data.rows import Rows
from pdebench.data.space import SeenRows, Space
from pdebench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Target = Literal["labels", "maps"]
"""What is learned of an image: its label, or the class of each of its pixels."""

IGNORED = 255
"""In a map: a pixel whose class nobody knows, which is neither trained on nor counted."""

Split = Literal["train", "validation"]
ClassSizes = Mapping[tuple[str, Split | None], int]
"""How many samples a class has in a split; None: of those for which chance decides where they stand."""

SPLITS: tuple[Split, Split] = ("train", "validation")


class SourceConfig(Protocol):
    """The part of a suite's `data:` section that a source reads."""

    @property
    def name(self) -> str:
        """The source's name in the registry."""

    @property
    def resolution(self) -> int:
        """Side of the square images, in pixels."""

    @property
    def path(self) -> Path | None:
        """Where the set lies; None for packaged sources."""

    @property
    def validation(self) -> Path | None:
        """Where what is held out lies, where that is not in `path`."""

    @property
    def set(self) -> str | None:
        """Which of a library's sets."""

    @property
    def download(self) -> bool:
        """Whether that library may fetch it."""

    @property
    def autoencoder(self) -> str | None:
        """What decodes latents, a folder or a name on a hub."""

    @property
    def classes(self) -> int | None:
        """How many there are, 0: none; None: as the set has it."""

    @property
    def channels(self) -> int | None:
        """Of a latent; None: as the set has it."""

    @property
    def scale(self) -> tuple[float, ...] | None:
        """What latents are multiplied by, see `Space`; None: as the set or its autoencoder says."""

    @property
    def shift(self) -> tuple[float, ...] | None:
        """What is subtracted from them before."""

    @property
    def frames(self) -> int | None:
        """Of a clip; None: still images."""

    @property
    def frame_stride(self) -> int:
        """Frames of a video from one frame of a clip to the next."""

    @property
    def flip(self) -> bool:
        """Whether training images are mirrored at random: the training loop's business, where the set can be."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of a data set.

    `images` is (N, C, H, W), of clips (N, C, T, H, W), an array or what is read when it is asked for: uint8, 0..255,
    three channels being RGB, or floats in the range that models see, about -1 to 1; with a `space`, latents as that
    says. `mirrored`, of the same
    shape, are those of the same images mirrored, where mirroring a row would not do it, as of latents.
    `labels` is int64 of shape (N,) with values in [0, len(class_names)), or None for a set without classes. The
    order is fixed and mixed: any leading slice is a fair sample. `maps` are (N, H, W), the class of each pixel as a
    place in `map_names`, or `IGNORED`; uint8, or int16 where nothing is ignored; None for a set without.
    `checksum` is the sha256 (hex) of the images, labels and maps; `skipped` counts what the source as a whole left out
    (broken files, photographs that are too small), each of which is named in a warning where it is a user's.
    """

    images: Rows
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    name: str
    resolution: int
    split: Split
    checksum: str
    skipped: int = 0
    mirrored: Rows | None = None
    space: Space | None = None
    maps: Rows | None = None
    map_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def seen(self) -> Rows:
        """As a model sees them, but that uint8 is yet to become floats; of latents that are drawn, one draw."""
        return self.images if self.space is None else SeenRows(self.images, self.space)


@dataclass(frozen=True)
class Sample:
    """One decoded image on its way into the cache: uint8 (3, H, W), of a clip (3, T, H, W); label -1: no classes.

    `enlarged`: it was smaller than the resolution. `paged`: its file has further pages, which are not used. `map`: the
    class of each pixel, uint8 (H, W), in a set that has maps.
    """

    split: Split
    pixels: NDArray[np.uint8]
    label: int = -1
    enlarged: bool = False
    paged: bool = False
    map: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and why."""

    name: str
    reason: str


class Source(ABC):
    """A data set. Subclasses set the attributes.

    Attributes:
        name: in the registry.
        summary: what it holds, for lists.
        resolutions: the sides that it offers; None: any.
        channels: of an image; see `channels_of`.
        takes: which of the keys that a user may give beside name and resolution it reads, such as `path`.
        needs: those of them without which nobody can say what it holds, and what each is.
        dtype: of its values, see `ImageSet`.
        brought: what of the user's own it reads, in a word or two; empty: it comes with a package.
        meaningful: there is something to learn, so that a metric of samples says something.
        credit: what the licences of its images ask to be said where they are shown; empty: nothing.
    """

    name: str
    summary: str
    resolutions: tuple[int, ...] | None = None
    channels: int = 3
    takes: tuple[str, ...] = ("path",)
    needs: Mapping[str, str] = {}
    dtype: Literal["uint8", "float32"] = "uint8"
    brought: str = ""
    meaningful: bool = True
    credit: str = ""

    @abstractmethod
    def check(self, config: SourceConfig) -> None:
        """Raise DataError for all that is cheap to see and would make `load` fail. Imports no torch."""

    @abstractmethod
    def class_count(self, config: SourceConfig) -> int | None:
        """Number of classes, known without decoding; None for a set without labels."""

    def class_sizes(self, config: SourceConfig) -> ClassSizes | None:
        """How many samples each class has, counted without decoding; None: that cannot be known before, or no class."""
        return None

    def map_classes(self, config: SourceConfig) -> tuple[str, ...] | None:
        """The classes of pixels, known without decoding; None for a set without maps."""
        return None

    @abstractmethod
    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split, decoding into the cache first where that has not been done."""

    def foresee(self, config: SourceConfig, *, trained: bool = True) -> None:  # noqa: B027 (most have nothing to say)
        """Raise DataError where so much of the set cannot be used that `load` would leave a split or class empty.

        Asked once before a run, after `check`. It may read what `load` will read, but no more of it than that takes.
        `trained`: it is trained on; what trained models are evaluated on may lack a class.
        """

    def sides(self, config: SourceConfig) -> tuple[int, ...]:
        """Height and width of the images, in pixels, of clips after their frames.

        `resolution` names them where they are not its square.
        """
        square = (config.resolution, config.resolution)
        return square if config.frames is None else (config.frames, *square)

    def channels_of(self, config: SourceConfig) -> int:
        """Channels of what a model sees."""
        return self.channels

    def drawable(self, config: SourceConfig) -> bool:
        """Whether what a model makes of it becomes RGB of 8 bits, to be looked at and measured."""
        return (self.channels_of(config) == 3 and self.dtype == "uint8") or bool(config.autoencoder)

    def most_cached(self, config: SourceConfig) -> int:
        """How many images `load` keeps in the cache, at most; 0: it does without."""
        return 0

    def content(self, config: SourceConfig) -> str | None:
        """A digest of what the set holds, the same wherever it lies: part of what a cell is.

        None where the name says it all, as of packaged files that are pinned by a checksum. Here the digest of both
        splits as they load; a source that knows it without decoding anything says so.
        """
        loaded = [self.load(config, split).checksum for split in SPLITS]
        return hashlib.sha256(" ".join(loaded).encode()).hexdigest()[:32]

    def offered(self, config: SourceConfig) -> tuple[int, ...] | None:
        """The sides that it can give of the set that a suite names, as far as that says; None: any."""
        return self.resolutions

    def wrong_key(self, config: SourceConfig) -> tuple[str, str] | None:
        """A key of the section that is wrong whatever the set holds, wherever it lies, and a sentence that names it."""
        if (said := self._wrong_resolution(config)) is not None:
            return "resolution", said
        for key in ("validation", "set", "download", "channels", "autoencoder", "scale", "shift"):
            if getattr(config, key) and key not in self.takes:
                return key, f"data set '{self.name}' does not read data.{key}: leave it out"
        for key, still in (("frames", None), ("frame_stride", 1)):
            if getattr(config, key) != still and key not in self.takes:
                return key, (
                    f"data set '{self.name}' does not read data.{key}: leave it out, or take data.name: clips for "
                    "videos of your own"
                )
        for key, what in self.needs.items():
            if getattr(config, key) is None:
                return key, f"data set '{self.name}' needs data.{key}, {what}"
        if config.frame_stride != 1 and config.frames is None:
            return "frame_stride", "data.frame_stride is of clips: leave it out, or set data.frames, such as 16"
        return None

    def check_keys(self, config: SourceConfig) -> None:
        """Raise DataError where a key is wrong whatever the set holds, see `wrong_key`."""
        if (wrong := self.wrong_key(config)) is not None:
            raise DataError(wrong[1])

    def check_resolution(self, config: SourceConfig) -> None:
        """Raise DataError when the resolution is not offered."""
        if (said := self._wrong_resolution(config)) is not None:
            raise DataError(said)

    def _wrong_resolution(self, config: SourceConfig) -> str | None:
        if self.resolutions is not None and config.resolution not in self.resolutions:
            offered = ", ".join(map(str, self.resolutions))
            return (
                f"data set '{self.name}' has no images of {config.resolution} px: "
                f"set data.resolution to one of {offered}"
            )
        if config.resolution < 1:
            return f"data.resolution is {config.resolution}: it must be at least 1 px"
        return None

    def check_no_path(self, config: SourceConfig) -> None:
        """Raise DataError when a packaged source is given a path, which it would silently ignore."""
        if config.path is not None:
            raise DataError(
                f"data set '{self.name}' comes from packages and takes no path: remove data.path, or use "
                "data.name: folder for your own images"
            )
