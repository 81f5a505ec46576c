"""`dataset.json`, the labels of a folder of images as StyleGAN, EDM and their successors write it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from pdebench.errors import DataError, printable, refused_by_system

LABELS = "dataset.json"
_LARGEST_FILE = 2**30  # bytes; ImageNet's has 60 MB
_LARGEST_LABEL = 10**6


def read_labels(path: Path) -> dict[str, int] | None:
    """Label by file name, relative to the folder that the file lies in; None where it says that there are none.

        {"labels": [["00000/img00000000.png", 6], ...]}        or {"labels": null}

    Raises:
        DataError: it holds anything else.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"it is larger than {_LARGEST_FILE // 2**20} MiB")
        listed = json.loads(path.read_text(encoding="utf-8"))["labels"]
        return None if listed is None else _checked(listed)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if said := refused_by_system(error):
            raise DataError(f"data.path: cannot read {path}: {said}") from None
        why = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f'data.path: {path} is no list of labels such as {{"labels": [["00000/img0.png", 3], ...]}} '
            f"({printable(why)[:120]}); mend it, or move it away"
        ) from None


def _checked(listed: list[tuple[str, int]]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for name, label in listed:
        if not isinstance(name, str) or name in labels or _leads_out(name):
            raise ValueError(f"{name!r} is no name of a file below it, or stands there twice")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label <= _LARGEST_LABEL:
            raise ValueError(f"{name} has the label {str(label)[:40]}, not a whole number from 0 on")
        labels[name] = label
    return labels


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name
