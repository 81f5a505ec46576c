"""fast-DiT's `.npy` files: a latent in one folder, its label under the same name in another.

    ROOT/imagenet256_features/0.npy    float32 (1, C, H, W), drawn from the autoencoder, times 0.18215
    ROOT/imagenet256_labels/0.npy      int64 (1,)

Read from `extract_features.py` and `train.py` of chuanyangjin/fast-DiT at 0ddbd642. The scale is in the files, so a
model sees them as they are. About half of the images were mirrored before they were encoded, and which is not kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pdebench.data.encoded.alike import Alike, alike
from pdebench.data.encoded.files import Files, digest_of, list_files, remembered
from pdebench.data.encoded.layout import Declared, Latents
from pdebench.data.encoded.whole import whole_labels
from pdebench.data.rows import Extent, FileRows
from pdebench.data.source import Skipped
from pdebench.data.threads import in_threads
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

_FEATURES, _LABELS = "_features", "_labels"


class Pairs:
    """Two folders with a file an image in each."""

    looked_for = "fast-DiT's folders imagenet256_features and imagenet256_labels"

    def recognised(self, folder: Path) -> bool:
        """Whether it has a folder of features."""
        return any(one.name.endswith(_FEATURES) and one.is_dir() for one in folder.iterdir())

    def read(self, folder: Path) -> Latents:
        """The latents of such a folder."""
        features = sorted(one for one in folder.iterdir() if one.name.endswith(_FEATURES) and one.is_dir())
        if len(features) > 1:
            raise DataError(
                f"data.path: {folder} has several folders of features, {features[0].name} and {features[1].name}: move "
                "all but one, with its labels, to a folder of their own"
            )
        labels = folder / (features[0].name.removesuffix(_FEATURES) + _LABELS)
        if not labels.is_dir():
            raise DataError(f"data.path: {features[0]} has its labels in {labels}, and there is no such folder")
        return _made(folder, list_files(features[0]), list_files(labels))


def _made(root: Path, features: Files, labels: Files) -> Latents:
    found, said = _arrays(features), _arrays(labels)
    header, _, left_out = found
    shape = header.shape
    if len(shape) != 4 or shape[0] != 1 or header.dtype[1] != "f":
        raise DataError(
            f"data.path: the arrays in {features.root} are {shape} of {header.dtype}, but fast-DiT keeps (1, C, H, W) "
            "of "
            "floats: these are in no layout that is known here"
        )
    known = set(said.names)
    names = [name for name in found.names if name in known]
    broken = {one.name: one.reason for one in said.left_out}
    left_out += [
        Skipped(name, f"its label: {broken[name]}" if name in broken else "it has no label")
        for name in found.names
        if name not in known
    ]
    left_out += [Skipped(f"{labels.root.name}/{name}", "a label without latents") for name in known - set(found.names)]
    if not names:
        raise DataError(f"data.path: no file in {features.root} has a label of the same name in {labels.root}")
    whole = whole_labels(
        remembered(labels, names, "labels", lambda: _labels(labels, names, said)), str(labels.root), names
    )
    extents = [Extent(features.path(name), len(header.head), 1) for name in names]

    def digest() -> str:
        about = hashlib.sha256(digest_of(features, names).encode())
        about.update(whole.data)
        return about.hexdigest()

    return Latents(
        root=root,
        layout="fast-DiT's folders",
        rows=FileRows(extents, shape[1:], header.dtype, header.head),
        mirrored=None,
        labels=whole,
        members=[(name, 1) for name in names],
        spread=None,
        declared=lambda: Declared((0.0,), (1.0,)),
        digest=digest,
        looked_at=[root, *features.folders, *labels.folders],
        left_out=left_out,
    )


def _arrays(files: Files) -> Alike:
    names = [name for name in files.sizes if name.endswith(".npy")]
    if not names:
        raise DataError(f"data.path: there is no .npy file in {files.root}")
    found = alike(files, names)
    others = [name for name in files.sizes if not name.endswith(".npy")]
    named = [Skipped(f"{files.root.name}/{name}", "no .npy file") for name in (*others, *files.odd)]
    return Alike(found.header, found.names, [*found.left_out, *named])


def _labels(files: Files, names: Sequence[str], said: Alike) -> list[float]:
    """The one value of each file; as numbers of JSON."""
    import numpy as np

    head, dtype = said.header.head, np.dtype(said.header.dtype)
    if said.header.size != len(head) + dtype.itemsize:
        raise DataError(f"data.path: labels in {files.root} are arrays of {said.header.shape}, not of one number")

    def read(some: Sequence[str]) -> list[float]:
        found = []
        for name in some:
            try:
                with disk.open_plain(Path(files.path(name)), follow=True) as file:
                    held = file.read(said.header.size)
            except (OSError, disk.NotPlain) as error:
                raise DataError(f"cannot read {files.path(name)}: {refused_by_system(error) or error}") from None
            if len(held) < said.header.size or not held.startswith(head):
                raise DataError(f"{files.path(name)} is not as the other labels are: write it again as they are")
            found.append(np.frombuffer(held, dtype, offset=len(head))[0].item())
        return found

    return in_threads(read, names)
