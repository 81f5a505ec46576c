"""Labels that other programs wrote as numbers: those of classes, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pdebench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST = 10**6


def whole_labels(values: Any, where: str, names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Labels (N,) as int64, from whatever numbers they were written as.

    Args:
        values: (N,).
        where: the file or folder that they are from.
        names: of each, for a sentence; None: its number.

    Raises:
        DataError: one is negative, no whole number, or too large for a class.
    """
    import numpy as np

    given = np.asarray(values)
    good = (given >= 0) & (given <= _LARGEST)
    if given.dtype.kind == "f":
        good &= given == np.floor(given)
    if not good.all():
        at = int(np.argmin(good))
        which = f"row {at}" if names is None else names[at]
        raise DataError(
            f"data.path: {which} of {where} has the label {given[at].item()}, not a whole number from 0 to {_LARGEST}"
        )
    return given.astype(np.int64)
