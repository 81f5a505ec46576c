"""The warning that names images which could not be used, of a set that is not a folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pdebench.data.list_phrases import by_reason
from pdebench.data.source import Skipped
from pdebench.errors import CellWarning, DataError


def warn_of(where: str, skipped: Sequence[Skipped], used: int) -> None:
    """Warn of images that are left out, by reason.

    Raises:
        DataError: there are no others.
    """
    if not skipped:
        return
    names: dict[str, list[str]] = {}
    for item in skipped:
        names.setdefault(item.reason, []).append(item.name)
    if not used:
        raise DataError(f"none of the {len(skipped)} images of {where} can be used: {by_reason(names)}")
    said = f"{len(skipped)} of {len(skipped) + used} images of {where} are left out: {by_reason(names)}"
    warnings.warn(said, CellWarning, stacklevel=3)
