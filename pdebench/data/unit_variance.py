"""Whether what a model sees of latents is of about unit variance.

A wrong scale trains without a complaint, and what is wrong with its results nobody sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdebench.data.rows import Rows
from pdebench.data.space import Space
from pdebench.errors import DataError

LOOKED_AT = 256  # rows
_LEAST, _MOST = 0.25, 4.0  # standard deviation of all that a model sees
_FARTHEST = 3.0  # from zero, of a channel's mean
_SHOWN = 8  # channels of which a sentence has the numbers


def refuse_odd(rows: Rows, space: Space, root: Path, what: str) -> None:
    """See that the first rows are numbers, and of about unit variance as a model sees them.

    Args:
        rows: of a split, in their mixed order.
        space: of them.
        root: where they lie.
        what: what they are taken for, in words.

    Raises:
        DataError: they are not; with the numbers, and what to do.
    """
    import numpy as np

    index = np.arange(min(len(rows), LOOKED_AT))
    stored = np.asarray(rows[index], np.float32)
    if not np.isfinite(stored).all():
        count = int((~np.isfinite(stored)).any((1, 2, 3)).sum())
        raise DataError(
            f"data.path: {count} of the first {len(index)} latents looked at in {root} have values that are no "
            "numbers (NaN or infinite): encode those images again"
        )
    if space.spread == "std" and float(np.split(stored, 2, axis=1)[1].min()) < 0:
        raise DataError(
            f"data.path: the second half of the channels in {root} has negative values, so that it is no "
            "standard "
            f"deviation: these are not {what}"
        )
    seen = space.seen(stored, index, 0).astype(np.float64)
    means, deviation = seen.mean((0, 2, 3)), float(seen.std())
    if _LEAST <= deviation <= _MOST and float(abs(means).max()) <= _FARTHEST:
        return
    raise DataError(
        f"data.path: with data.shift {_listed(space.shift)} and data.scale {_listed(space.scale)} a model would see "
        "the "
        f"latents in {root} with a standard deviation of {deviation:.3g} (of the channels: "
        f"{_listed(seen.std((0, 2, 3)).tolist())}) and means of {_listed(means.tolist())}, where about 1 and 0 are "
        "meant: "
        f"{_advice(as_stored=set(space.scale) == {1.0})}"
    )


def _advice(*, as_stored: bool) -> str:
    if as_stored:
        return "give data.scale as the autoencoder's authors have it (Stable Diffusion's is 0.18215), and data.shift"
    return (
        "they may have been scaled when they were written (then give data.shift: [0] and data.scale: [1]), or be of "
        "another autoencoder"
    )


def _listed(values: Sequence[float]) -> str:
    more = ", ..." if len(values) > _SHOWN else ""
    return ", ".join(f"{value:.4g}" for value in values[:_SHOWN]) + more
