"""The data set `shards`; see the package."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pdebench.data import pixels
from pdebench.data.cache import cache_folder
from pdebench.data.clips import video
from pdebench.data.clips.index import decoders
from pdebench.data.clips.windows import cut_of, refuse_emptied, remarks, rows_of, usable
from pdebench.data.digests import file_digests, of_autoencoder
from pdebench.data.list_phrases import few
from pdebench.data.pieces import Pieces, find
from pdebench.data.shards import archive
from pdebench.data.shards.clips import placed_in
from pdebench.data.shards.index import NAMED, Arrays, Shard, ShardIndex, first_arrays, index_of, stranger
from pdebench.data.shards.rows import ArrayRows, DecodedRows, MemberTable
from pdebench.data.shards.samples import Kind
from pdebench.data.source import SPLITS, ClassSizes, ImageSet, Skipped, Source, SourceConfig, Split
from pdebench.data.space import Space
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import split_of
from pdebench.data.unit_variance import refuse_odd
from pdebench.errors import CellWarning, DataError
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RECIPE = "shards-1"
_REASONS = 10  # why something is left out, in a sentence
_LARGEST = 2**28  # bytes of what is remembered of damaged pictures
_NO_LABEL = "no label beside it, as others have"


class Undecodable(NamedTuple):
    """A picture that cannot be decoded: its row in the table of its split, what it is called, and why."""

    row: int
    name: str
    reason: str


class ShardsSource(Source):
    """Tar shards of pictures or videos, decoded when they are asked for, or of latents."""

    name = "shards"
    brought = "tar shards"
    summary = "webdataset's tar files, read where they lie: data.path is a folder, a pattern or a file"
    takes = ("path", "validation", "channels", "autoencoder", "scale", "shift", "frames", "frame_stride")

    def check(self, config: SourceConfig) -> None:
        """Raise DataError where a file is missing, compressed or cut short; looks at how each begins and ends."""
        self.check_resolution(config)
        for piece in _pieces(config).files:
            archive.check(piece.path)
        _check_kind(config)
        if config.frames is not None:
            video.require(self.name, video.CONTAINERS)
            return
        arrays = first_arrays(_pieces(config).files[0].path)
        if arrays is None:
            given = [key for key in ("channels", "autoencoder", "scale", "shift") if getattr(config, key) is not None]
            if given:
                raise DataError(
                    f"data.{given[0]} is of latents, and the shards in {config.path} hold pictures: leave it out"
                )
            return
        channels, *sides = arrays.shape
        if sides != [config.resolution, config.resolution]:
            raise DataError(
                f"data.resolution is {config.resolution}, and the latents in {config.path} are "
                f"{sides[0]} x {sides[1]}: it has to be their side"
            )
        if config.channels not in (None, channels):
            raise DataError(f"data.channels is {config.channels}, and the latents in {config.path} have {channels}")
        for key in ("scale", "shift"):
            if (given_values := getattr(config, key)) is not None and len(given_values) not in (1, channels):
                raise DataError(
                    f"data.{key} has {len(given_values)} numbers: give one, or one for each of {channels} channels"
                )
        if config.flip:
            raise DataError(
                f"data.flip: the latents in {config.path} are of images as they were, and a mirrored latent is none of "
                "a mirrored image: set data.flip: false"
            )

    def class_count(self, config: SourceConfig) -> int | None:
        """One more than the largest label; None for a set without labels. The first time, every shard is read."""
        return _classes([shard.holds for shard in _shards(config)])

    def class_sizes(self, config: SourceConfig) -> ClassSizes | None:
        """Samples of each label; chance decides where no name of a shard says the split."""
        sizes: Counter[tuple[str, Split | None]] = Counter()
        for piece, _, _, holds in _shards(config):
            sizes.update((str(label), piece.split) for label in holds.labels.tolist() if label >= 0)
        return sizes or None

    def channels_of(self, config: SourceConfig) -> int:
        """Three, or those of the latents. Where there are no shards yet, they are to be pictures."""
        if config.channels is not None:
            return config.channels
        if config.frames is not None:
            return self.channels
        try:
            arrays = first_arrays(_pieces(config).files[0].path)
        except DataError:  # which `check` raises
            return 3
        return 3 if arrays is None else arrays.shape[0]

    def drawable(self, config: SourceConfig) -> bool:
        """Pictures are; latents where something decodes them."""
        if config.frames is not None or config.autoencoder is not None:
            return True
        return first_arrays(_pieces(config).files[0].path) is None

    def content(self, config: SourceConfig) -> str:
        """A digest of every shard's bytes with its name and split: the order of rows is by the names of shards."""
        pieces = _pieces(config).files
        about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE]
        files = zip(pieces, file_digests([piece.path for piece in pieces]), strict=True)
        held = sorted((piece.split or "", piece.name, digest) for piece, digest in files)
        decoder = [] if config.autoencoder is None else [of_autoencoder(config.autoencoder)]
        return hashlib.sha256(json.dumps([about, held, *decoder]).encode()).hexdigest()[:32]

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns of what is left out."""
        if config.frames is not None:
            return self._clips(config, split)
        shards = _shards(config)
        arrays = _arrays(shards)
        classes = _classes([shard.holds for shard in shards])
        labelled = classes is not None
        damaged = self._damaged(config, shards, labelled=labelled) if arrays is None else {}
        left_out = _left_out(shards, [one for those in damaged.values() for one in those], labelled=labelled)
        for remark in (*_pieces(config).remarks, *left_out.sentences):
            warnings.warn(f"{config.path}: {remark}", CellWarning, stacklevel=2)
        table = _table(shards, split, labelled=labelled).without([one.row for one in damaged.get(split, ())])
        if not len(table.offsets):
            raise _empty(config, split)
        rows = DecodedRows(table, config.resolution) if arrays is None else ArrayRows(table, *arrays)
        names = _names(classes)
        space = None
        if arrays is not None:
            space = Space(config.shift or (0.0,), config.scale or (1.0,), None, config.autoencoder)
            refuse_odd(rows, space, Path(str(config.path)), "latents in shards")
        checksum = self._checksum(config, split)
        return ImageSet(
            rows, table.labels, names, self.name, config.resolution, split, checksum, left_out.number, space=space
        )

    def foresee(self, config: SourceConfig, *, trained: bool = True) -> None:
        """See `Source`: of clips a class or a split of which none can be used."""
        if config.frames is None:
            return
        shards = _shards(config)
        classes = _classes([shard.holds for shard in shards])
        placed, _ = placed_in(shards, labelled=classes is not None)
        for split in SPLITS:
            if all(one.split != split for one in placed):
                raise _empty(config, split)
        refuse_emptied(placed, _names(classes) if trained else None, cut_of(config), Path(str(config.path)))

    def _clips(self, config: SourceConfig, split: Split) -> ImageSet:
        """One split of shards of videos."""
        shards, cut = _shards(config), cut_of(config)
        classes = _classes([shard.holds for shard in shards])
        found = usable(*placed_in(shards, labelled=classes is not None), cut)
        left_out = _left_out(shards, found.left_out, labelled=classes is not None)
        names = _names(classes)
        said = (*_pieces(config).remarks, *left_out.sentences, *remarks(found, names, config.resolution))
        for remark in said:
            warnings.warn(f"{config.path}: {remark}", CellWarning, stacklevel=3)
        if not (mine := found.of(split)):
            raise _empty(config, split)
        rows, labels = rows_of(mine, cut, config.resolution, labelled=names is not None)
        about = [self.content(config), split, config.resolution, cut, decoders(["video"])]
        checksum = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return ImageSet(rows, labels, names, self.name, config.resolution, split, checksum, left_out.number)

    def _damaged(
        self, config: SourceConfig, shards: Sequence[Shard], *, labelled: bool
    ) -> dict[Split, list[Undecodable]]:
        """Pictures that are known to be damaged before any is asked for, by split; remembered in the cache.

        These are those that `DecodedRows` would find no other of their class for, which would end a training.
        """
        decides = "".join(self._checksum(config, split) for split in SPLITS)
        kept = cache_folder() / f"damaged-{hashlib.sha256(decides.encode()).hexdigest()[:32]}.json"
        if (known := read_sealed(kept, _LARGEST)) is None:
            known = {}
            for split in SPLITS:
                table = _table(shards, split, labelled=labelled)
                found = DecodedRows(table, config.resolution).damaged_first() if len(table.offsets) else {}
                known[split] = [
                    (row, f"{table.keys[row]} of {shards[table.shards[row]].piece.name}", why)
                    for row, why in sorted(found.items())
                ]
            with suppress(OSError):  # it takes time again, and no more
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_sealed(kept, known)
        return {split: [Undecodable(*one) for one in known[split]] for split in SPLITS}

    def _checksum(self, config: SourceConfig, split: Split) -> str:
        """sha256 (hex) of all that decides the rows, Pillow's version too: another may round otherwise."""
        import PIL

        about = [self.content(config), split, config.resolution, PIL.__version__, pixels.missing_decoders()]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _pieces(config: SourceConfig) -> Pieces:
    if config.path in (None, Path()):
        raise DataError(
            "data set 'shards' needs data.path: a folder of tar files, a pattern such as 'a-{000..146}.tar', or one"
        )
    return find(config.path, config.validation, (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"), "tar shards")


def _shards(config: SourceConfig) -> list[Shard]:
    pieces = _pieces(config).files
    _check_kind(config)
    kind: Kind = "images" if config.frames is None else "clips"
    stamps = [disk.stamp(piece.path.resolve()) or () for piece in pieces]  # before they are read: a change is seen
    digests = file_digests([piece.path for piece in pieces])
    return [
        Shard(piece, stamp, digest, index_of(piece.path, digest, kind))
        for piece, stamp, digest in zip(pieces, stamps, digests, strict=True)
    ]


def _check_kind(config: SourceConfig) -> None:
    """Refuse `data.frames` where the first shard has pictures or latents and no video, and the other way."""
    first = _pieces(config).files[0].path
    if config.frames is None:
        if (other := stranger(first, "images")) is not None:
            raise DataError(
                f"data.frames is missing, and the shards in {config.path} hold videos, such as {other.name}: say how "
                "many frames a clip has, such as 16"
            )
        return
    if (other := stranger(first, "clips")) is not None:
        raise DataError(
            f"data.frames is of clips, and the shards in {config.path} hold no videos but such as {other.name}: leave "
            "it out"
        )
    for key in ("channels", "autoencoder", "scale", "shift"):
        if getattr(config, key) is not None:
            raise DataError(f"data.{key} is of latents, and data.frames asks for clips: leave one of them out")


def _empty(config: SourceConfig, split: Split) -> DataError:
    return DataError(
        f"data.path: the {split} split of {config.path} is empty: a hash of each key sends a tenth of the "
        "samples to validation; add samples, or name shards to hold out as data.validation"
    )


def _arrays(shards: Sequence[Shard]) -> Arrays | None:
    """What all shards hold: arrays of one kind, or pictures."""
    full = [shard for shard in shards if shard.holds.keys]
    if not full:
        raise DataError(f"data.path: no picture or array is in {few(str(shard.piece.path) for shard in shards)}")
    for shard in full:
        if shard.holds.arrays != full[0].holds.arrays:
            raise DataError(
                f"data.path: {shard.piece.name} holds {_said(shard.holds.arrays)} and {full[0].piece.name} "
                f"{_said(full[0].holds.arrays)}: keep them apart"
            )
    return full[0].holds.arrays


def _said(arrays: Arrays | None) -> str:
    return "pictures" if arrays is None else f"arrays {arrays.shape} of {arrays.kind[1:]}"


def _classes(indexes: Sequence[ShardIndex]) -> int | None:
    largest = max((int(index.labels.max()) for index in indexes if len(index.labels)), default=-1)
    return largest + 1 or None


def _names(classes: int | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(map(str, range(classes)))


class _LeftOut(NamedTuple):
    number: int
    sentences: tuple[str, ...]


def _left_out(shards: Sequence[Shard], damaged: Sequence[Undecodable | Skipped], *, labelled: bool) -> _LeftOut:
    """How much is not used, and why."""
    counts: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    for shard in shards:
        reasons = {reason: (these.number, these.names) for reason, these in shard.holds.left_out.items()}
        if labelled and (
            bare := [key for key, label in zip(shard.holds.keys, shard.holds.labels, strict=True) if label < 0]
        ):
            reasons[_NO_LABEL] = (len(bare), tuple(bare[:NAMED]))
        for reason, (count, some) in reasons.items():
            counts[reason] += count
            names.setdefault(reason, []).extend(f"{name} of {shard.piece.name}" for name in some)
    for one in damaged:
        counts[one.reason] += 1
        names.setdefault(one.reason, []).append(one.name)
    if not counts:
        return _LeftOut(0, ())
    told = "; ".join(f"{few(names[reason], count)} ({reason})" for reason, count in counts.most_common(_REASONS))
    return _LeftOut(counts.total(), (f"{counts.total():,} members are left out, such as {told}",))


def _table(shards: Sequence[Shard], split: Split, *, labelled: bool) -> MemberTable:
    """The rows of one split in their order, by a hash of the shard's name and the key."""
    import numpy as np

    rows: list[tuple[bytes, int, int]] = []
    for number, (piece, _, _, index) in enumerate(shards):
        for at, key in enumerate(index.keys):
            if labelled and index.labels[at] < 0:
                continue
            if (piece.split or split_of(f"shards {key}".encode())) == split:
                rows.append((hashlib.sha256(f"{piece.name}/{key}".encode()).digest(), number, at))
    rows.sort()
    begins = np.cumsum([0, *(len(shard.holds.keys) for shard in shards)])
    numbers = np.asarray([number for _, number, _ in rows], np.int64)
    order = begins[numbers] + np.asarray([at for _, _, at in rows], np.int64)

    def column(name: Literal["offsets", "sizes", "labels"]) -> NDArray[np.int64]:
        whole = np.concatenate([getattr(shard.holds, name) for shard in shards])
        return np.asarray(whole[order], np.int64)

    return MemberTable(
        [shard.piece.path for shard in shards],
        [shard.stamp for shard in shards],
        numbers,
        column("offsets"),
        column("sizes"),
        [shards[number].holds.keys[at] for _, number, at in rows],
        column("labels") if labelled else None,
    )
