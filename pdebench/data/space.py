"""The space of latents: what of an autoencoder's latents a set holds, what a model sees of them, and the way back.

A model sees `(z - shift) * scale`, a channel at a time, which should be of about unit variance; a decoder is given z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pdebench.data.rows import Rows
from pdebench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Space:
    """Latents as a set holds them, and as a model sees them.

    Attributes:
        shift: subtracted from a latent, of each channel, or one for all.
        scale: what the rest is multiplied by, likewise.
        spread: what the second half of a row's channels is, beside the mean in the first: the standard deviation, or
            the logarithm of the variance. Latents are then drawn anew in every epoch. None: a row is a latent.
        autoencoder: what decodes them: a folder, or a name on a hub; None: nobody said.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    spread: Literal["std", "logvar"] | None = None
    autoencoder: str | None = None

    def channels(self, stored: int) -> int:
        """Channels of a latent of which a row has `stored`."""
        return stored // 2 if self.spread else stored

    def seen(self, rows: NDArray[Any], index: NDArray[Any], epoch: NDArray[Any] | int) -> NDArray[Any]:
        """Rows (B, ..., H, W) as a model sees them, float32 (B, C, H, W).

        Where latents are drawn, the draw is a function of the row's index in its set and of the epoch: it is the same
        in whatever batch, process or run, and another in each epoch.
        """
        import numpy as np

        z = rows.astype(np.float32)
        if self.spread:
            mean, spread = np.split(z, 2, axis=1)
            deviation = spread if self.spread == "std" else np.exp(0.5 * np.clip(spread, -30, 20))
            z = mean + deviation * self._noise(mean.shape, index, epoch)
        seen: NDArray[Any] = (z - self._each(self.shift)) * self._each(self.scale)
        return seen

    def latents(self, seen: NDArray[Any]) -> NDArray[Any]:
        """What a model made (B, C, H, W), as the decoder is given it."""
        z: NDArray[Any] = seen / self._each(self.scale) + self._each(self.shift)
        return z

    @staticmethod
    def _each(values: tuple[float, ...]) -> NDArray[Any]:
        import numpy as np

        return np.asarray(values, np.float32).reshape(1, -1, 1, 1)

    @staticmethod
    def _noise(shape: tuple[int, ...], index: NDArray[Any], epoch: NDArray[Any] | int) -> NDArray[Any]:
        import numpy as np

        found = np.empty(shape, np.float32)
        for at, (row, turn) in enumerate(np.broadcast(index, epoch)):
            random = np.random.Generator(np.random.Philox(key=[int(row), int(turn)]))
            found[at] = random.standard_normal(shape[1:], np.float32)
        return found


def space_from(found: Any) -> Space:
    """A space from the plain data that `dataclasses.asdict` makes of one, as JSON has it.

    Raises:
        ValueError: it is of none.
    """
    try:
        numbers = {key: tuple(map(float, found[key])) for key in ("shift", "scale")}
        spread, autoencoder = found["spread"], found["autoencoder"]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"its space of latents is none: {error}") from None
    usable = all(values and all(map(math.isfinite, values)) for values in numbers.values()) and all(numbers["scale"])
    if not usable or spread not in (None, "std", "logvar") or not isinstance(autoencoder, str | None):
        raise ValueError("its space of latents is none")
    return Space(**numbers, spread=spread, autoencoder=autoencoder)


LEAST, MOST, FARTHEST = 0.25, 4.0, 3.0
"""Standard deviations, and distance of a mean from 0, between which latents are as a model expects them."""

_LOOKED_AT = 256  # rows


def refuse_wrong_scale(rows: Rows, space: Space, where: object) -> None:
    """See that a model is shown latents of about unit variance: the wrong scale is learned without a complaint.

    Args:
        rows: as they lie there.
        space: what is said of them.
        where: they lie, for the message.

    Raises:
        DataError: they are not, with the numbers and what to do.
    """
    import numpy as np

    seen = SeenRows(rows, space)[: min(_LOOKED_AT, len(rows))]
    if not np.isfinite(seen).all():
        raise DataError(f"data.path: {where} holds latents that are not finite: encode the images again")
    each, spread = seen.mean((0, 2, 3)), float(seen.std())
    far = float(np.abs(each).max())
    if LEAST <= spread <= MOST and far <= FARTHEST:
        return
    given = f"scale {_few(space.scale)}, shift {_few(space.shift)}"
    raise DataError(
        f"data.path: with {given} the latents in {where} have a standard deviation of {spread:.3g} and a channel's "
        f"mean of up to {far:.3g}, where a model expects about 1 and 0: set data.scale and data.shift to what their "
        "autoencoder's authors give"
    )


def _few(values: tuple[float, ...]) -> str:
    return f"{values[0]:.4g}" if len(values) == 1 else f"{values[0]:.4g}, ... ({len(values)} channels)"


class SeenRows:
    """Rows as a model sees them, read and drawn when they are asked for; of what is drawn, one draw."""

    def __init__(self, rows: Rows, space: Space) -> None:
        import numpy as np

        self.rows, self.space = rows, space
        count, stored, *grid = rows.shape
        self.shape = (count, space.channels(stored), *grid)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """4."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`."""
        import numpy as np

        wanted = np.arange(len(self))[index]
        if wanted.ndim == 0:
            row: NDArray[Any] = self[wanted[None]][0]
            return row
        return self.space.seen(np.asarray(self.rows[index]), wanted, 0)
