"""The data sets by name: those shipped here and those that other packages add.

A package adds one through the entry-point group `pdebench.data`, whose value names an instance of
`pdebench.data.source.Source`:

    [project.entry-points."pdebench.data"]
    cells = "my_package.data:CELLS"

The entry point has the source's name. `pdebench.registry` says what happens to one that is broken or takes a name that
is taken.
"""

from __future__ import annotations

from pdebench.data.clips.source import ClipsSource
from pdebench.data.digits import DigitsSource
from pdebench.data.emoji import EmojiSource
from pdebench.data.emoji_masks import EmojiMasksSource
from pdebench.data.emoji_sets import EmojiSetsSource
from pdebench.data.encoded.source import EncodedSource
from pdebench.data.folder import FolderSource
from pdebench.data.hf import HfSource
from pdebench.data.masks.source import Ade20kSource, CityscapesSource, MasksSource
from pdebench.data.noise import LATENTS, NOISE
from pdebench.data.packed.source import PackedSource
from pdebench.data.photographs.source import PhotographsSource
from pdebench.data.photos import PhotosSource
from pdebench.data.shards.source import ShardsSource
from pdebench.data.source import ImageSet, Source, SourceConfig, Split, Target
from pdebench.data.sprites import SpritesSource
from pdebench.data.sprites_video import SpritesVideoSource
from pdebench.data.torchvision import TorchvisionSource
from pdebench.errors import DataError
from pdebench.registry import Registry

__all__ = ["SOURCES", "ImageSet", "Source", "SourceConfig", "check", "class_count", "content", "load", "verify"]

IMAGES = (
    EmojiSource(),
    EmojiSetsSource(),
    PhotosSource(),
    PhotographsSource(),
    DigitsSource(),
    FolderSource(),
    TorchvisionSource(),
    HfSource(),
    ShardsSource(),
)
CLIPS = (SpritesVideoSource(), ClipsSource())
MAPS = (SpritesSource(), EmojiMasksSource(), MasksSource(), Ade20kSource(), CityscapesSource())

SOURCES: Registry[Source] = Registry(
    "data set",
    "pdebench.data",
    Source,  # type: ignore[type-abstract]
    (*IMAGES, *MAPS, *CLIPS, PackedSource(), EncodedSource(), NOISE, LATENTS),
    DataError,
)


def check(config: SourceConfig) -> None:
    """Raise DataError for what can be known to fail before anything is decoded; takes well under a second."""
    source = SOURCES.find(config.name)
    source.check_keys(config)
    source.check(config)
    if config.classes is None:
        return
    maps = source.map_classes(config)
    found = (source.class_count(config) or 0) if maps is None else len(maps)
    if found != config.classes:
        raise DataError(f"data.classes is {config.classes}, and data set '{config.name}' has {found}")


def foresee(config: SourceConfig, *, trained: bool = True) -> None:
    """Raise DataError where a split or class would be left empty by what cannot be used, see `Source.foresee`."""
    SOURCES.find(config.name).foresee(config, trained=trained)


def class_count(config: SourceConfig, target: Target = "labels") -> int | None:
    """Number of classes of images, or of their pixels, without decoding anything, or as it is given where there is no
    set; None: there are no labels, or maps.
    """
    source = SOURCES.find(config.name)
    try:
        if target == "labels":
            return source.class_count(config)
        return None if (names := source.map_classes(config)) is None else len(names)
    except DataError:
        if config.classes is None:
            raise
        return config.classes or None


def content(config: SourceConfig) -> str | None:
    """A digest of what a data set holds, read afresh; None where its name says it all. Raises DataError."""
    return SOURCES.find(config.name).content(config)


def verify(config: SourceConfig, expected: str | None) -> None:
    """See that a data set holds what it held when `content` gave this digest; None: its name says it all.

    Raises:
        DataError: it holds something else by now.
    """
    if expected is not None and (found := content(config)) != expected:
        where = f"the images in {config.path}" if config.path else f"what data set '{config.name}' holds"
        raise DataError(
            f"{where} changed since this cell was begun (content {expected[:8]} then, {found and found[:8]} now): put "
            "them back and run again with --retry failed, or run the suite again as it is, for cells of the new ones"
        )


def load(config: SourceConfig, split: Split) -> ImageSet:
    """Check, decode where that has not been done, and return one split; raises DataError."""
    source = SOURCES.find(config.name)
    source.check_keys(config)
    source.check(config)
    return source.load(config, split)
