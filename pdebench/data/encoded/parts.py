"""What of a set of latents is trained on and what is held out, and the order of either."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pdebench.data.encoded.layout import Latents
from pdebench.data.encoded.layouts import latents_in
from pdebench.data.folder_names import split_called
from pdebench.data.source import SPLITS, SourceConfig, Split
from pdebench.data.split import VALIDATION_SHARE, split_of
from pdebench.errors import DataError
from pdebench.files.disk import expanded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = b"latents-order-1\0"
"""Begins what is hashed to mix rows; a change to that must change it."""


class Parts(NamedTuple):
    """What is trained on; and what is held out, None: a tenth of it, by a hash of each row's file and number."""

    train: Latents
    held_out: Latents | None

    def of(self, split: Split) -> Latents:
        """Where the rows of a split are."""
        return self.train if split == "train" or self.held_out is None else self.held_out

    def all(self) -> list[Latents]:
        """Both, or the one."""
        return [self.train] if self.held_out is None else [self.train, self.held_out]


def parts_of(config: SourceConfig, *, afresh: bool = False) -> Parts:
    """The latents that a suite's `data:` section names.

    Args:
        config: of which `path` and `validation` are read.
        afresh: as `latents_in`.

    Raises:
        DataError: they are not there, cannot be read, or what is held out is of another kind.
    """
    train = _folder(config.path, "path")
    within = _splits(train)
    if config.validation is not None:
        if within:
            raise DataError(
                f"data.validation: {train} has what is held out in {within['validation'].name}/ already: leave it "
                "out, or "
                f"set data.path to {within['train']}"
            )
        within = {"train": train, "validation": _folder(config.validation, "validation")}
    if not within:
        return Parts(latents_in(train, afresh=afresh), None)
    found = Parts(*(latents_in(within[split], afresh=afresh) for split in SPLITS))
    _refuse_unlike(*found.all())
    return found


def rows_of(parts: Parts, split: Split) -> NDArray[np.int64]:
    """Which rows of `parts.of(split)` the split has, mixed: any leading slice is a fair sample.

    Raises:
        DataError: it has none.
    """
    import numpy as np

    latents = parts.of(split)
    chosen, keys = [], []
    for number, identity in enumerate(latents.identities()):
        if parts.held_out is not None or split_of(identity) == split:
            chosen.append(number)
            keys.append(hashlib.sha256(ORDER + identity).digest()[:8])
    if not chosen:
        raise DataError(
            f"data.path: the {split} split of {latents.root} is empty ({len(latents):,} latents in all): add some, or "
            "name "
            f"those that are held out as data.validation; else a hash of names holds out about {VALIDATION_SHARE:.0%}"
        )
    order = np.argsort(np.frombuffer(b"".join(keys), ">u8"), kind="stable")
    return np.asarray(chosen, np.int64)[order]


def see_both(parts: Parts) -> None:
    """See that there is something in both splits, reading as many names as that takes; raises DataError."""
    if parts.held_out is None:
        seen = set()
        for identity in parts.train.identities():
            seen.add(split_of(identity))
            if len(seen) == len(SPLITS):
                return
        for split in SPLITS:
            if split not in seen:
                rows_of(parts, split)


def _folder(path: Path | None, key: str) -> Path:
    if path in (None, Path()):
        raise DataError("data set 'encoded' needs data.path, the folder that holds your latents")
    root = expanded(path)
    try:
        there = root.exists()
    except OSError as error:
        raise DataError(f"data.{key}: {str(root)[:80]}: {error.strerror}") from None
    if not there:
        raise DataError(f"data.{key}: there is no folder {root}; a relative path begins at its suite's file")
    if not root.is_dir():
        unpack = ": unpack it, and give that folder" if root.suffix in (".zip", ".tar", ".gz") else ""
        raise DataError(f"data.{key}: {root} is a file, not a folder of latents{unpack}")
    return root.resolve()


def _splits(root: Path) -> dict[Split, Path]:
    """Sub-folders that are called as splits are, where they are both there; one of tests is not used.

    Raises:
        DataError: two are called as the same split.
    """
    found: dict[Split, Path] = {}
    try:
        below = sorted(one for one in root.iterdir() if one.is_dir())
    except OSError as error:
        raise DataError(f"data.path: {root} cannot be read: {error.strerror}") from error
    for one in below:
        called = split_called(one.name)
        if called is None or called == "test":
            continue
        if called in found:
            raise DataError(f"data.path: {root} has two folders for one split, {found[called].name}/ and {one.name}/")
        found[called] = one
    return found if len(found) == len(SPLITS) else {}


def _refuse_unlike(train: Latents, held_out: Latents) -> None:
    """Refuse what is held out where a model that was trained would not be asked of the same."""
    if held_out.layout != train.layout:
        what = f"in {held_out.layout}, and those in {train.root} are in {train.layout}"
    elif held_out.rows.shape[1:] != train.rows.shape[1:]:
        what = f"of {held_out.rows.shape[1:]}, and those in {train.root} of {train.rows.shape[1:]}"
    elif (held_out.labels is None) != (train.labels is None):
        what = f"{'without' if held_out.labels is None else 'with'} labels, and those in {train.root} are not"
    else:
        return
    raise DataError(f"data.validation: the latents in {held_out.root} are {what}: hold out some of the same kind")
