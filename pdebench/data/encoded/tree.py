"""EDM2's and REPA's `.npy` files: of each image the mean and standard deviation that the autoencoder gave.

    ROOT/00000/img-mean-std-00000000.npy    float32 (2C, H, W): the mean, then the standard deviation
    ROOT/dataset.json                       {"labels": [["00000/img-mean-std-00000000.npy", 6], ...]}, or null

Read from `dataset_tool.py` (`encode`), `training/encoders.py` and `training/dataset.py` of NVlabs/edm2 at 4bf8162f, and
from `preprocessing/dataset_tools.py`, `preprocessing/encoders.py` and `train.py` of sihyun-yu/REPA at 67f71450. Names
of files are not asked: the dataset of both takes any `.npy`.

Both write the same names, and mean different latents. EDM2 gives its autoencoder images from 0 to 1, and has a model
see latents less a mean of each channel, over its standard deviation, times 0.5. REPA gives it images from -1 to 1 and
multiplies by 0.18215. Which of them it is, is told by the means of the channels, and said.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pdebench.data.encoded.alike import Alike, alike
from pdebench.data.encoded.files import Files, digest_of, list_files
from pdebench.data.encoded.layout import Declared, Latents
from pdebench.data.labels import LABELS, listed_name, read_labels
from pdebench.data.rows import Extent, FileRows, Rows
from pdebench.data.source import Skipped
from pdebench.errors import DataError

_EDM2_MEAN, _EDM2_STD, _EDM2_FINAL = (5.81, 3.25, 0.12, -2.15), (4.17, 4.62, 3.71, 3.28), 0.5
_REPA_SCALE = 0.18215
_LOOKED_AT = 256  # rows by whose means the two are told apart
_SURE = 2.0  # by how much nearer the means have to be to those of one of them
_FEW = 3  # sub-folders that are looked into to tell a layout


class NpyTree:
    """One file an image, below sub-folders or not."""

    looked_for = f"EDM2's and REPA's .npy files with a {LABELS}"

    def recognised(self, folder: Path) -> bool:
        """Whether there are `.npy` files in it, or in one of its first sub-folders."""
        there = sorted(folder.iterdir())
        within = [one for one in there if one.is_dir() and not one.name.startswith(".")][:_FEW]
        return _has_arrays(there) or any(_has_arrays(sorted(one.iterdir())) for one in within)

    def read(self, folder: Path) -> Latents:
        """The latents of such a folder."""
        files = list_files(folder)
        names = [name for name in files.sizes if name.endswith(".npy")]
        found = alike(files, names)
        shape = found.header.shape
        if len(shape) != 3 or shape[0] % 2 or found.header.dtype[1] != "f":
            raise DataError(
                f"data.path: the arrays in {folder} are {shape} of {found.header.dtype}, but EDM2 and REPA keep "
                "(2C, H, W) of floats, a mean and a standard deviation: these are in no layout that is known here"
            )
        left_out = [*found.left_out, *_others(files)]
        labels = read_labels(folder / LABELS) if LABELS in files.sizes else None
        kept = found.names
        if labels is not None:
            kept, unlabelled = _labelled(labels, found, folder)
            left_out += unlabelled
        return _made(files, Alike(found.header, kept, left_out), labels)


def _listed(name: str) -> str:
    """A file's name as `dataset.json` has it: as it is here, but for a backslash; a million are asked several times."""
    return listed_name(name) if "\\" in name else name


def _has_arrays(there: Sequence[Path]) -> bool:
    return any(one.name.endswith(".npy") for one in there)


def _others(files: Files) -> list[Skipped]:
    others = [name for name in files.sizes if not name.endswith(".npy") and name != LABELS]
    return [Skipped(name, "no .npy file") for name in others] + [Skipped(name, "no plain file") for name in files.odd]


def _labelled(labels: Mapping[str, int], found: Alike, folder: Path) -> tuple[list[str], list[Skipped]]:
    """The files with a label, and what is left out because it has none or is not there."""
    kept = [name for name in found.names if _listed(name) in labels]
    if not kept:
        raise DataError(
            f"data.path: {folder / LABELS} lists none of the {len(found.names):,} .npy files beside it (there is "
            f"{found.names[0]}): names begin at its folder"
        )
    there = {_listed(name) for name in found.names} | {_listed(one.name) for one in found.left_out}
    left_out = [Skipped(name, f"not in {LABELS}") for name in found.names if _listed(name) not in labels]
    left_out += [Skipped(name, f"in {LABELS}, but there is no such file") for name in labels if name not in there]
    return kept, left_out


def _made(files: Files, found: Alike, labels: Mapping[str, int] | None) -> Latents:
    import numpy as np

    header, names, left_out = found
    head = len(header.head)
    rows = FileRows([Extent(files.path(name), head, 1) for name in names], header.shape, header.dtype, header.head)
    known = None if labels is None else np.asarray([labels[_listed(name)] for name in names], np.int64)

    def digest() -> str:
        about = hashlib.sha256(digest_of(files, names).encode())
        about.update(b"" if known is None else known.data)
        return about.hexdigest()

    return Latents(
        root=files.root,
        layout="EDM2's and REPA's .npy files",
        rows=rows,
        mirrored=None,
        labels=known,
        members=[(name, 1) for name in names],
        spread="std",
        declared=lambda: _declared(rows, files.root),
        digest=digest,
        looked_at=[*files.folders, *([files.root / LABELS] if LABELS in files.sizes else [])],
        left_out=left_out,
        remarks=[] if known is not None else [f"there are no labels in a {LABELS}: latents without classes"],
    )


# ---- whose normalisation


def _declared(rows: Rows, root: Path) -> Declared:
    """EDM2's or REPA's, whichever the channels' means speak for.

    Raises:
        DataError: they speak for neither, or there are not four channels.
    """
    import numpy as np

    channels = rows.shape[1] // 2
    ask = "say how a model sees them: give data.shift ([0] for none) and data.scale"
    if channels != len(_EDM2_MEAN):
        raise DataError(
            f"data.path: latents in {root} have {channels} channels, of which EDM2 and REPA say nothing; {ask}"
        )
    index = np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).astype(np.int64)
    stored = np.asarray(rows[index], np.float64)[:, :channels]
    means = [float(mean) for mean in stored.mean((0, 2, 3), where=np.isfinite(stored))]  # others are refused elsewhere
    edm2 = _away([(mean - raw) / std for mean, raw, std in zip(means, _EDM2_MEAN, _EDM2_STD, strict=True)])
    repa = _away([mean * _REPA_SCALE for mean in means])
    shown = ", ".join(f"{mean:.2f}" for mean in means)
    if not math.isfinite(edm2 + repa) or max(edm2, repa) < _SURE * min(edm2, repa):
        raise DataError(
            f"data.path: the channels of the latents in {root} have the means {shown}, by which nobody can tell EDM2's "
            f"from REPA's: {ask}"
        )
    if edm2 < repa:
        scale = tuple(_EDM2_FINAL / std for std in _EDM2_STD)
        return Declared(
            _EDM2_MEAN, scale, 0.0, f"the channels' means ({shown}) are those of EDM2, whose scale is taken"
        )
    remark = f"the channels' means ({shown}) are as REPA has them, whose scale is taken, {_REPA_SCALE}"
    return Declared((0.0,), (_REPA_SCALE,), -1.0, remark)


def _away(values: Sequence[float]) -> float:
    """Root of the mean square."""
    return math.sqrt(sum(value * value for value in values) / len(values))
