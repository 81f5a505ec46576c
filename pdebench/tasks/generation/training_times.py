"""The times at which a network is trained: what a suite's `train.times` draws them from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from pdebench.errors import printable
from pdebench.tasks.generation.time_shift import shifted


@dataclass(frozen=True)
class TrainingTimes:
    """A distribution of times in [0, 1], 0 at noise and 1 at an image.

    Attributes:
        kind: `uniform`; `lognormal`, the logit-normal distribution of SD3 (arXiv 2403.03206, section 3.1), logit(t)
            being normal; `shifted`, uniform times moved as SD3's, see `time_shift.py`.
        mean: of logit(t); None but with `lognormal`. SD3 counts time from the image, so that its mean is ours with the
            other sign: below 0 is towards noise here.
        std: of logit(t), likewise.
        shift: of `shifted`, above 1 towards noise; None otherwise.
    """

    kind: Literal["uniform", "lognormal", "shifted"] = "uniform"
    mean: float | None = None
    std: float | None = None
    shift: float | None = None

    def draw(self, count: int, generator: Generator) -> Tensor:
        """Times (count,), float32, on the generator's device."""
        if self.mean is not None and self.std is not None:
            normal = torch.randn(count, device=generator.device, generator=generator)
            return torch.sigmoid(self.mean + self.std * normal)
        even = torch.rand(count, device=generator.device, generator=generator)
        return even if self.shift is None else shifted(even, self.shift)

    def about(self) -> Mapping[str, Any]:
        """What a checkpoint says of it."""
        given = {"kind": self.kind, "mean": self.mean, "std": self.std, "shift": self.shift}
        return {key: value for key, value in given.items() if value is not None}


UNIFORM = TrainingTimes()

_PARAMETERS: Mapping[str, tuple[str, ...]] = {"uniform": (), "lognormal": ("mean", "std"), "shifted": ("shift",)}


def times_from(about: Any) -> TrainingTimes:
    """The distribution that `TrainingTimes.about` told of.

    Raises:
        ValueError: it told of none.
    """
    given = dict(about) if isinstance(about, dict) else {}
    kind = given.pop("kind", None)
    known = isinstance(kind, str) and kind in _PARAMETERS and given.keys() == set(_PARAMETERS[kind])
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in given.values())
    if not (known and numbers and all(value > 0 for key, value in given.items() if key != "mean")):
        raise ValueError(f"its times are none: {printable(str(about))[:100]}")
    return TrainingTimes(kind, **given)
