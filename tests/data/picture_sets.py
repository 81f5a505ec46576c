"""The same pictures as each source keeps them: a class for each, and sound ones in a class of their own."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from picture_kinds import Kind, filler

FILLERS = 40
_TRAIN, _HELD_OUT = "train", "validation"


class Written(NamedTuple):
    """A set that was written.

    Attributes:
        keys: of a suite's `data:`.
        named: of each picture, what messages call it, by its name.
        labelled: whether the n-th picture has the label n, as sources with classes give it.
    """

    keys: dict[str, Any]
    named: dict[str, str]
    labelled: bool = True


Writer = Callable[[Path, Sequence[Kind], pytest.MonkeyPatch], Written]


def _files(kinds: Sequence[Kind], first: int = 0) -> list[tuple[int, str, bytes]]:
    """Label, name and content of every file; more fillers for another `first`."""
    fillers = [(0, f"filler{seed}.png", filler(seed)) for seed in range(first, first + FILLERS)]
    return fillers + [(label, kind.name, kind.content) for label, kind in enumerate(kinds, 1)]


def _put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def folder(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """A folder for each class."""
    named = {}
    for label, name, content in _files(kinds):
        _put(root / f"{label:03d}" / name, content)
        named[name] = f"{label:03d}/{name}"
    return Written({"name": "folder", "path": root}, named)


def _table(kinds: Sequence[Kind]) -> Any:
    import datasets

    files = _files(kinds)
    names = [f"c{label}" for label in range(len(kinds) + 1)]
    columns = {
        "image": [{"bytes": content, "path": None} for _, _, content in files],
        "label": [label for label, _, _ in files],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict(columns, features)


def parquet(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """One parquet file."""
    root.mkdir()
    _table(kinds).to_parquet(root / "x.parquet")
    named = {kind.name: f"row {FILLERS + at} of x.parquet" for at, kind in enumerate(kinds)}
    return Written({"name": "hf", "path": root}, named)


def arrow(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """What `save_to_disk` writes."""
    _table(kinds).save_to_disk(root)
    named = {kind.name: f"row {FILLERS + at} of data-00000-of-00001.arrow" for at, kind in enumerate(kinds)}
    return Written({"name": "hf", "path": root}, named)


def shards(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """Two tar files."""
    root.mkdir()
    files, named = _files(kinds), {}
    for number in range(2):
        with tarfile.open(root / f"{number}.tar", "w") as archive:
            for label, name, content in files[number::2]:
                key = name.rpartition(".")[0]
                for member, data in ((name, content), (f"{key}.cls", str(label).encode())):
                    about = tarfile.TarInfo(member)
                    about.size = len(data)
                    archive.addfile(about, io.BytesIO(data))
                named[name] = key
    return Written({"name": "shards", "path": root}, named)


# ---- torchvision's


def _places(kinds: Sequence[Kind], first: int = 0) -> dict[str, str]:
    return {kind.name: f"image {first + at} of" for at, kind in enumerate(kinds)}


def country211(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """A set that lets its reader be chosen: a folder for each class; torchvision asks how names end."""
    for label, name, content in _files(kinds):
        _put(root / "country211" / "train" / f"{label:03d}" / f"{name}.png", content)
    for seed in range(900, 904):
        _put(root / "country211" / "valid" / "000" / f"{seed}.png", filler(seed))
    return Written({"name": "torchvision", "set": "Country211", "path": root}, _places(kinds, FILLERS))


def caltech256(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """Whatever a picture is, its file ends in .jpg."""
    counts: dict[int, int] = {}
    for label, _, content in _files(kinds):
        number = counts[label] = counts.get(label, 0) + 1
        folder = root / "caltech256" / "256_ObjectCategories" / f"{label + 1:03d}.class"
        _put(folder / f"{label + 1:03d}_{number:04d}.jpg", content)
    return Written({"name": "torchvision", "set": "Caltech256", "path": root}, _places(kinds, FILLERS))


def caltech101(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """The same, of other names."""
    counts: dict[int, int] = {}
    folders = root / "caltech101" / "101_ObjectCategories"
    (folders / "BACKGROUND_Google").mkdir(parents=True)
    (root / "caltech101" / "Annotations").mkdir()
    for label, _, content in _files(kinds):
        number = counts[label] = counts.get(label, 0) + 1
        _put(folders / f"c{label:03d}" / f"image_{number:04d}.jpg", content)
    return Written({"name": "torchvision", "set": "Caltech101", "path": root}, _places(kinds, FILLERS))


def pets(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """Lists of names in text files; 37 classes."""
    base, lines = root / "oxford-iiit-pet", []
    for label, name, content in _files(kinds):
        stem = f"pet{label % 37}_{name.replace('.', '-')}"
        _put(base / "images" / f"{stem}.jpg", content)
        lines.append(f"{stem} {label % 37 + 1} 1 1")
    held_out = []
    for seed in range(900, 904):
        _put(base / "images" / f"pet0_{seed}.jpg", filler(seed))
        held_out.append(f"pet0_{seed} 1 1 1")
    _put(base / "annotations" / "trainval.txt", "\n".join(lines))
    _put(base / "annotations" / "test.txt", "\n".join(held_out))
    keys = {"name": "torchvision", "set": "OxfordIIITPet", "path": root}
    return Written(keys, _places(kinds, FILLERS), labelled=False)


def gtsrb(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """Whatever a picture is, its file ends in .ppm; 43 classes."""
    base = root / "gtsrb"
    for at, (label, _, content) in enumerate(_files(kinds)):
        _put(base / "GTSRB" / "Training" / f"{label // 2:05d}" / f"{at:05d}.ppm", content)
    rows = [{"Filename": f"{seed}.ppm", "ClassId": "0"} for seed in range(900, 904)]
    for row in rows:
        _put(base / "GTSRB" / "Final_Test" / "Images" / row["Filename"], filler(int(row["Filename"][:-4])))
    with (base / "GT-final_test.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["Filename", "ClassId"], delimiter=";")
        table.writeheader()
        table.writerows(rows)
    keys = {"name": "torchvision", "set": "GTSRB", "path": root}
    return Written(keys, _places(kinds, FILLERS), labelled=False)


def celeba(root: Path, kinds: Sequence[Kind], patch: pytest.MonkeyPatch) -> Written:
    """No classes; of the lists torchvision knows the checksums, which these cannot have."""
    import torchvision.datasets

    patch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    base, files = root / "celeba", [*((content, 0) for _, _, content in _files(kinds))]
    files += [(filler(seed), 1) for seed in range(900, 904)]
    names = [f"{at:06d}.jpg" for at in range(len(files))]
    for name, (content, _) in zip(names, files, strict=True):
        _put(base / "img_align_celeba" / name, content)
    numbers = "\n".join(f"{name} 1" for name in names)
    _put(base / "list_eval_partition.txt", "\n".join(f"{n} {part}" for n, (_, part) in zip(names, files, strict=True)))
    _put(base / "identity_CelebA.txt", numbers)
    for name in ("list_bbox_celeba", "list_landmarks_align_celeba", "list_attr_celeba"):
        _put(base / f"{name}.txt", f"{len(files)}\nx\n{numbers}")
    keys = {"name": "torchvision", "set": "CelebA", "path": root}
    return Written(keys, _places(kinds, FILLERS), labelled=False)


WRITERS: dict[str, Writer] = {
    writer.__name__: writer
    for writer in (folder, parquet, arrow, shards, country211, caltech256, caltech101, pets, gtsrb, celeba)
}
