"""The space of latents: what of an autoencoder's latents a set holds, what a model sees of them, and the way back.

A model sees `(z - shift) * scale`, a channel at a time, which should be of about unit variance; a decoder is given z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pdebench.data.rows import Rows, ShapedRows

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
        black: what it gives for black, white being 1. Most are given images from -1 to 1, and EDM2's from 0 to 1.
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    spread: Literal["std", "logvar"] | None = None
    autoencoder: str | None = None
    black: float = -1.0

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
        spread, autoencoder, black = found["spread"], found["autoencoder"], float(found.get("black", -1))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"its space of latents is none: {error}") from None
    usable = all(values and all(map(math.isfinite, values)) for values in numbers.values()) and all(numbers["scale"])
    usable = usable and math.isfinite(black) and black < 1
    if not usable or spread not in (None, "std", "logvar") or not isinstance(autoencoder, str | None):
        raise ValueError("its space of latents is none")
    return Space(numbers["shift"], numbers["scale"], spread, autoencoder, black)


class SeenRows(ShapedRows):
    """Rows as a model sees them, read and drawn when they are asked for; of what is drawn, one draw."""

    def __init__(self, rows: Rows, space: Space) -> None:
        import numpy as np

        self.rows, self.space = rows, space
        count, stored, *grid = rows.shape
        self.shape = (count, space.channels(stored), *grid)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`."""
        import numpy as np

        wanted = np.arange(len(self))[index]
        if wanted.ndim == 0:
            row: NDArray[Any] = self[wanted[None]][0]
            return row
        return self.space.seen(np.asarray(self.rows[index]), wanted, 0)
