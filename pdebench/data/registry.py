"""The data sets by name: those shipped here and those that other packages add.

A package adds one through the entry-point group `pdebench.data`, whose value names an instance of
`pdebench.data.source.Source`:

    [project.entry-points."pdebench.data"]
    cells = "my_package.data:CELLS"
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from pdebench.data.emoji import EmojiSource
from pdebench.data.folder import FolderSource
from pdebench.data.noise import LATENTS, NOISE
from pdebench.data.photos import PhotosSource
from pdebench.data.source import ImageSet, Source, SourceConfig, Split
from pdebench.errors import FOREIGN, DataError, did_you_mean, out_of_memory

__all__ = ["SOURCES", "ImageSet", "Source", "SourceConfig", "check", "class_count", "content", "load", "verify"]

_SHIPPED: dict[str, Source] = {
    source.name: source for source in (EmojiSource(), PhotosSource(), FolderSource(), NOISE, LATENTS)
}


@functools.cache
def _added() -> dict[str, EntryPoint]:
    """Sources from other packages, not yet imported; a shipped name cannot be taken over."""
    return {point.name: point for point in entry_points(group="pdebench.data") if point.name not in _SHIPPED}


@functools.cache
def _import(point: EntryPoint) -> Source:
    try:
        source = point.load()
    except FOREIGN as error:
        if out_of_memory(error):
            raise
        raise DataError(
            f"data set '{point.name}' of another package cannot be imported from {point.value}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(source, Source):
        raise DataError(f"data set '{point.name}': {point.value} is not an instance of pdebench.data.source.Source")
    return source


class _Sources(Mapping[str, Source]):
    """Imports an added source only when it is asked for, so that a broken one harms nobody else."""

    def __getitem__(self, name: str) -> Source:
        return _SHIPPED[name] if name in _SHIPPED else _import(_added()[name])

    def __iter__(self) -> Iterator[str]:
        return iter((*_SHIPPED, *_added()))

    def __len__(self) -> int:
        return len(_SHIPPED) + len(_added())

    def __contains__(self, name: object) -> bool:
        return name in _SHIPPED or name in _added()


SOURCES: Mapping[str, Source] = _Sources()


def _source(config: SourceConfig) -> Source:
    if config.name not in SOURCES:
        raise DataError(f"data.name: there is no data set '{config.name}'; {did_you_mean(config.name, SOURCES)}")
    return SOURCES[config.name]


def check(config: SourceConfig) -> None:
    """Raise DataError for what can be known to fail before anything is decoded; takes well under a second."""
    _source(config).check(config)


def class_count(config: SourceConfig) -> int | None:
    """Number of classes without decoding anything; None for images without labels."""
    return _source(config).class_count(config)


def content(config: SourceConfig) -> str | None:
    """A digest of what a data set holds, read afresh; None where its name says it all. Raises DataError."""
    return _source(config).content(config)


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
    source = _source(config)
    source.check(config)
    return source.load(config, split)
