"""The velocity that solvers follow: a network's, guided where that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdebench.tasks.generation.options import SamplingOptions
from pdebench.tasks.generation.path import LEAST_REMAINING, TIME_SCALE, Prediction, velocity


class GuidedVelocity:
    """A network's velocity, moved away from its answer without a label, which counts what it is asked.

    Attributes:
        nfe: evaluations so far, for each sample of the batch; one that is guided counts once.
        passes: passes through the network so far, likewise; one that is guided takes two.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: Tensor | None,
        how: SamplingOptions,
        *,
        time_scale: float = TIME_SCALE,
        prediction: Prediction = "velocity",
    ) -> None:
        """Args:
        model: called as `model(x, t, y)`.
        labels: (B,) or None, without which nothing is guided.
        how: where and when samples are guided.
        time_scale: of the times that the model sees.
        prediction: what the model puts out.
        """
        self.model, self.labels, self.how = model, labels, how
        self.time_scale, self.prediction = time_scale, prediction
        # a score is made of the velocity itself; the sampler that needs one has its last evaluation before t = 1
        self.least_remaining = 0.0 if how.sampler == "euler_maruyama" else LEAST_REMAINING
        self.nfe = self.passes = 0

    @property
    def turns(self) -> list[float]:
        """Times at which it is not smooth: where guidance begins and ends, and where 1 - t is no longer divided by."""
        bend = 1 - self.least_remaining
        ends = self.how.guidance_interval if self.labels is not None and self.how.guidance_interval else ()
        return sorted({t for t in (*ends, *([bend] if self.prediction == "x" else [])) if 0 < t < 1})

    def __call__(self, x: Tensor, t: float) -> Tensor:
        """The velocity, float32 (B, C, ...), of `x` (B, C, ...) at a time in [0, 1]."""
        times = torch.full((len(x),), t, device=x.device)
        self.nfe += 1
        if self.labels is None or not self.how.guides(t):
            self.passes += 1
            return self._answer(x, times, self.labels)
        self.passes += 2
        asked = torch.cat([self.labels, torch.full_like(self.labels, -1)])
        given, free = self._answer(torch.cat([x, x]), torch.cat([times, times]), asked).chunk(2)
        guided = torch.lerp(free, given, self.how.guidance)
        if (channels := self.how.guidance_channels) is None:
            return guided
        return torch.cat([guided[:, :channels], given[:, channels:]], 1)

    def _answer(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        return velocity(self.model, x, t, labels, self.time_scale, self.prediction, self.least_remaining)
