"""What torchvision's sets are called, where their files lie under a root, and which splits they have.

Known here so that a suite is checked without importing torchvision, which takes seconds. Left out are videos, pairs,
boxes and masks, which are no images with at most one class each, and `ImageFolder`, which is data set `folder` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Keywords: TypeAlias = Mapping[str, Any]

_TRAIN: Keywords = {"train": True}
_TEST: Keywords = {"train": False}


@dataclass(frozen=True)
class TorchvisionSet:
    """A class of `torchvision.datasets`.

    Attributes:
        files: files and folders under the root that hold it.
        classes: how many; None: it has no classes.
        train: keywords of its class for the images to train on.
        held_out: for those that are held out: its validation split where it has one, else its test split; None: a hash
            of each image decides.
        first: the number that it gives its first class.
        fetches: it can be downloaded.
        needs: a package beside torchvision that reads it, other than those that pdebench needs.
        item: file and label of an image, by the set and a number; of sets whose class opens files itself and cannot be
            told how. None: its class takes a reader of files, or holds pixels.
    """

    files: tuple[str, ...]
    classes: int | None
    train: Keywords = field(default_factory=dict)
    held_out: Keywords | None = None
    first: int = 0
    fetches: bool = True
    needs: str | None = None
    item: Callable[[Any, int], tuple[Path, Any]] | None = None


def _of_caltech101(opened: Any, at: int) -> tuple[Path, Any]:
    label = opened.y[at]
    folder = Path(opened.root, "101_ObjectCategories", opened.categories[label])
    return folder / f"image_{opened.index[at]:04d}.jpg", label


def _of_caltech256(opened: Any, at: int) -> tuple[Path, Any]:
    label = opened.y[at]
    folder = Path(opened.root, "256_ObjectCategories", opened.categories[label])
    return folder / f"{label + 1:03d}_{opened.index[at]:04d}.jpg", label


def _of_celeba(opened: Any, at: int) -> tuple[Path, Any]:
    return Path(opened.root, opened.base_folder, "img_align_celeba", opened.filename[at]), None


def _of_gtsrb(opened: Any, at: int) -> tuple[Path, Any]:
    path, label = opened._samples[at]
    return Path(path), label


def _of_pets(opened: Any, at: int) -> tuple[Path, Any]:
    return opened._images[at], opened._labels[at]


def _flagged(classes: int, *files: str) -> TorchvisionSet:
    return TorchvisionSet(files, classes, _TRAIN, _TEST)


def _split(classes: int, files: str, held_out: str, train: str = "train", **more: Any) -> TorchvisionSet:
    return TorchvisionSet((files,), classes, {"split": train}, {"split": held_out}, **more)


SETS: Mapping[str, TorchvisionSet] = {
    "CIFAR10": _flagged(10, "cifar-10-batches-py"),
    "CIFAR100": _flagged(100, "cifar-100-python"),
    "CLEVRClassification": _split(8, "clevr", "val", first=3),  # how many things are in it, 3 to 10
    "Caltech101": TorchvisionSet(("caltech101/101_ObjectCategories",), 101, item=_of_caltech101),
    "Caltech256": TorchvisionSet(("caltech256/256_ObjectCategories",), 257, item=_of_caltech256),
    "CelebA": TorchvisionSet(("celeba",), None, {"split": "train"}, {"split": "valid"}, item=_of_celeba),
    "Country211": _split(211, "country211", "valid"),
    "DTD": _split(47, "dtd", "val"),
    "EMNIST": TorchvisionSet(("EMNIST/raw",), 47, {"split": "balanced", **_TRAIN}, {"split": "balanced", **_TEST}),
    "EuroSAT": TorchvisionSet(("eurosat",), 10),
    "FER2013": _split(7, "fer2013", "test", fetches=False),
    "FGVCAircraft": _split(100, "fgvc-aircraft-2013b", "val"),
    "FashionMNIST": _flagged(10, "FashionMNIST/raw"),
    "Flowers102": _split(102, "flowers-102", "val"),
    "Food101": _split(101, "food-101", "test"),
    "GTSRB": _split(43, "gtsrb", "test", item=_of_gtsrb),
    "ImageNet": TorchvisionSet(("train", "val"), 1000, {"split": "train"}, {"split": "val"}, fetches=False),
    "Imagenette": _split(10, "imagenette2", "val"),
    "KMNIST": _flagged(10, "KMNIST/raw"),
    "MNIST": _flagged(10, "MNIST/raw"),
    "Omniglot": TorchvisionSet(("omniglot-py/images_background",), 964),  # of its other half all classes are others
    "OxfordIIITPet": _split(37, "oxford-iiit-pet", "test", "trainval", item=_of_pets),
    "PCAM": _split(2, "pcam", "val", needs="h5py"),
    "Places365": TorchvisionSet(
        (
            "data_256_standard", "val_256",
            "categories_places365.txt", "places365_train_standard.txt", "places365_val.txt",
        ),
        365, {"split": "train-standard", "small": True}, {"split": "val", "small": True},
    ),
    "QMNIST": _flagged(10, "QMNIST/raw"),
    "RenderedSST2": _split(2, "rendered-sst2", "val"),
    "SEMEION": TorchvisionSet(("semeion.data",), 10),
    "STL10": _split(10, "stl10_binary", "test"),
    "SUN397": TorchvisionSet(("SUN397",), 397),
    "SVHN": TorchvisionSet(("train_32x32.mat", "test_32x32.mat"), 10, {"split": "train"}, {"split": "test"}),
    "StanfordCars": _split(196, "stanford_cars", "test", fetches=False),
    "USPS": _flagged(10, "usps.bz2", "usps.t.bz2"),
}  # fmt: skip
