"""`dataset.json`, the labels of a folder of images as StyleGAN, EDM and their successors write it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pdebench.errors import DataError, printable, refused_by_system
from pdebench.files.disk import read_plain

LABELS = "dataset.json"
_LARGEST_FILE = 2**30  # bytes; ImageNet's has 60 MB
_LARGEST_LABEL = 10**6


def listed_name(name: str) -> str:
    """A file's name as `dataset.json` and a folder agree on it: `./a\\b.png` is `a/b.png`."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def is_labels(path: Path) -> bool:
    """Whether a file called `dataset.json` is one of labels, as others may be called too.

    Raises:
        DataError: that cannot be told now, because a disk or this process has a failure.
    """
    try:
        about = {"labels": None} if path.stat().st_size > _LARGEST_FILE else _read(path)
        return isinstance(about, Mapping) and "labels" in about
    except (PermissionError, FileNotFoundError, ValueError, RecursionError):
        return False
    except OSError as error:
        raise DataError(f"data.path: cannot read {path}: {error.strerror or error}") from None


def read_labels(path: Path) -> dict[str, int] | None:
    """Label by `listed_name`, relative to the folder that the file lies in; None where it says that there are none.

        {"labels": [["00000/img00000000.png", 6], ...]}        or {"labels": null}

    The labels may be an object too, {"00000/img00000000.png": 6, ...}.

    Raises:
        DataError: it holds anything else.
    """
    try:
        about = _read(path)
        if not isinstance(about, Mapping) or "labels" not in about:
            raise ValueError('it has no "labels"')
        listed = about["labels"]
        return None if listed is None else _checked(_pairs(listed))
    except (OSError, ValueError, RecursionError) as error:
        if said := refused_by_system(error):
            raise DataError(f"data.path: cannot read {path}: {said}") from None
        raise DataError(
            f'data.path: {path} is no list of labels such as {{"labels": [["00000/img0.png", 3], ...]}} '
            f"({printable(str(error))[:160]}); mend it, or move it away"
        ) from None


def _read(path: Path) -> Any:
    text = read_plain(path, _LARGEST_FILE, follow=True).decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that stands there twice Python would keep the last, in silence."""
    made = dict(pairs)
    if len(made) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"'{name}' stands there twice")
    return made


def _pairs(listed: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(listed, Mapping):
        return listed.items()
    if not isinstance(listed, list):
        raise ValueError(f'"labels" is {_shown(listed)}')
    for entry in listed:
        if not isinstance(entry, list) or len(entry) != 2:
            raise ValueError(f"{_shown(entry)} is no file name with its label")
    return listed


def _checked(pairs: Iterable[tuple[Any, Any]]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for written, label in pairs:
        if not isinstance(written, str) or _leads_out(name := listed_name(written)):
            raise ValueError(f"{_shown(written)} is no name of a file below it")
        if name in labels:
            raise ValueError(f"'{name}' stands there twice")
        labels[name] = _label(written, label)
    return labels


def _label(name: str, label: Any) -> int:
    """A whole number, be it written as 3 or as 3.0."""
    if isinstance(label, list):
        raise ValueError(f"'{name}' has a list for a label, {_shown(label)}: give the number of its class instead")
    known = isinstance(label, int | float) and not isinstance(label, bool)
    if not known or label != label // 1 or not 0 <= label <= _LARGEST_LABEL:
        raise ValueError(f"'{name}' has the label {_shown(label)}, not a whole number from 0 to {_LARGEST_LABEL}")
    return int(label)


def _shown(value: Any) -> str:
    """A value as JSON has it, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name
