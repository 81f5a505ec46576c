"""Flow matching along SiT's linear path: what the network is shown, its loss, and the loss on held-out images.

    x_t = t x_1 + (1 - t) eps,   velocity target x_1 - eps        (arXiv 2401.08740, 2210.02747)

Images are in [-1, 1]; `eps` is standard normal. The network sees `t` times a scale, `train.time_scale` in a suite:
1000, the range that DiT's sinusoidal embedding was made for, as in ZigMa's code, or 1, as in SiT's. Of a network with a
learned variance the first half of the channels is the velocity, as in SiT.

A network may predict x_1 in the velocity's place (`train.prediction: x`, arXiv 2511.13720). Its velocity is

    v = (x - x_t) / max(1 - t, .05):

up to t = .95 the velocity that ends at x; later a shorter one, since 1 - t goes to 0. It is trained on the squared
error of v against (x_1 - x_t) / max(1 - t, .05), of which an exact x has none. On held-out images it is judged as any
other: by the squared error of the velocity that solvers follow against x_1 - eps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pdebench.data.rows import Rows
from pdebench.system.distributed import ALONE, World
from pdebench.tasks.generation.pixels import to_model
from pdebench.tasks.generation.training_times import UNIFORM, TrainingTimes

Prediction = Literal["velocity", "x"]
TIME_SCALE = 1000.0
LEAST_REMAINING = 0.05  # what 1 - t is taken for at least, where it divides: `t_eps` of the code of arXiv 2511.13720
VALIDATION_BATCH = 64  # images at a time, at most


def velocity(
    model: nn.Module,
    x: Tensor,
    t: Tensor,
    labels: Tensor | None,
    time_scale: float = TIME_SCALE,
    prediction: Prediction = "velocity",
    least_remaining: float = LEAST_REMAINING,
) -> Tensor:
    """The predicted velocity, float32 (B, C, ...), of `x` (B, C, ...) at times `t` (B,) in [0, 1].

    `least_remaining` is what 1 - t is taken for at least, where a predicted image is divided by it.
    """
    predicted: Tensor = model(x, t * time_scale, labels)
    predicted = predicted[:, : x.shape[1]].float()
    if prediction == "velocity":
        return predicted
    return (predicted - x.float()) / _remaining(t, x.dim(), least_remaining)


def velocity_error(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    t: Tensor,
    noise: Tensor,
    time_scale: float = TIME_SCALE,
    prediction: Prediction = "velocity",
) -> Tensor:
    """Squared error of the predicted velocity, (B,), for clean `images` (B, C, ...) at times `t` (B,)."""
    noisy = torch.lerp(noise, images, t.view(-1, *[1] * (images.dim() - 1)))
    predicted = velocity(model, noisy, t, labels, time_scale, prediction)
    return F.mse_loss(predicted, images - noise, reduction="none").flatten(1).mean(1)


Error = Callable[[nn.Module, Tensor, Tensor | None, Tensor, Tensor], Tensor]
"""As `velocity_error`: of the model, images, labels, times in [0, 1) and noise, an error (B,)."""


def _remaining(t: Tensor, dimensions: int, least: float = LEAST_REMAINING) -> Tensor:
    """What remains of the way, (B, 1, ...), kept from 0."""
    return (1 - t).clamp_min(least).view(-1, *[1] * (dimensions - 1))


@dataclass(frozen=True)
class FlowDraws:
    """What the loss of one batch draws at random; slices are of images.

    Attributes:
        t: times, (B,).
        noise: standard normal, (B, C, ...).
        hidden: which labels are hidden, (B,); None: none.
    """

    t: Tensor
    noise: Tensor
    hidden: Tensor | None

    def __getitem__(self, part: slice) -> FlowDraws:
        return FlowDraws(self.t[part], self.noise[part], None if self.hidden is None else self.hidden[part])

    def shown(self, labels: Tensor | None) -> Tensor | None:
        """Labels (B,) as the model sees them: -1 for those that are hidden."""
        return labels if labels is None or self.hidden is None else torch.where(self.hidden, -1, labels)


def draw(
    shape: torch.Size, generator: Generator, label_dropout: float = 0.0, times: TrainingTimes = UNIFORM
) -> FlowDraws:
    """The draws of a batch of images of `shape` (B, C, ...), on the generator's device.

    Args:
        shape: of the whole batch, whatever part of it is computed here.
        generator: the source of times, noise and dropout.
        label_dropout: probability of hiding a label, for guidance; 0 where there are none.
        times: what times are drawn from.
    """
    batch, device = shape[0], generator.device
    t = times.draw(batch, generator)
    noise = torch.randn(shape, device=device, generator=generator)
    hidden = torch.rand(batch, device=device, generator=generator) < label_dropout if label_dropout > 0 else None
    return FlowDraws(t, noise, hidden)


def loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    draws: FlowDraws,
    time_scale: float = TIME_SCALE,
    prediction: Prediction = "velocity",
) -> Tensor:
    """The training loss of one batch, a scalar.

    Args:
        model: called as `model(x, t, y)`.
        images: (B, C, ...) in [-1, 1].
        labels: (B,) or None; the model sees -1 for those that are hidden.
        draws: of these images.
        time_scale: of the times that the model sees.
        prediction: what the model puts out; of `x` the error is that of the velocity up to t = .95, and less later.
    """
    labels = draws.shown(labels)
    if prediction == "velocity":
        return velocity_error(model, images, labels, draws.t, draws.noise, time_scale).mean()
    noisy = torch.lerp(draws.noise, images, draws.t.view(-1, *[1] * (images.dim() - 1)))
    predicted = velocity(model, noisy, draws.t, labels, time_scale, prediction)
    return F.mse_loss(predicted, (images - noisy) / _remaining(draws.t, images.dim()))


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    images: Rows | Tensor,
    labels: Tensor | None,
    *,
    draws: int = 2,
    batch_size: int = VALIDATION_BATCH,
    seed: int = 0,
    device: torch.device | None = None,
    world: World = ALONE,
    error: Error = velocity_error,
) -> float:
    """The loss on held-out images: the squared error of the velocity that solvers follow, whatever the model puts out.

    Times are even over [0, 1], whatever a model was trained at, and like the noise the same for every model.

    Args:
        model: called as `model(x, t, y)`.
        images: (N, C, ...) as a data set has them, read a batch at a time.
        labels: (N,) or None; none is hidden.
        draws: times for each image, one in each of `draws` equal parts of [0, 1], so that the mean varies little.
        batch_size: images at a time.
        seed: of the draws; not the training seed, so that runs with different seeds can be compared.
        device: where the model is, which is handed a batch at a time; None: where the images are.
        world: whose processes take turns at the batches; the sum is one process', bit for bit.
        error: of an image.
    """
    generator = Generator().manual_seed(seed)
    count = len(images)
    if device is None:
        device = images.device if isinstance(images, Tensor) else torch.device("cpu")
    # one stratified time for each (image, draw): every model sees the same ones, whatever its batch size
    strata = (torch.arange(draws)[:, None] + torch.rand(draws, count, generator=generator)) / draws
    pieces = [(one, begin) for one in range(draws) for begin in range(0, count, batch_size)]
    ours = set(world.mine(len(pieces)))
    sums: list[float] = []
    for index, (one, begin) in enumerate(pieces):
        if begin == 0:
            noises = _in_batches(images.shape, batch_size, generator)
        noise = next(noises)
        if index in ours:
            part = slice(begin, begin + batch_size)
            given = None if labels is None else labels[part].to(device)
            clean, t = to_model(_tensor(images[part]).to(device)), strata[one, part].to(device)
            sums.append(error(model, clean, given, t, noise.to(device)).sum().item())
    total = 0.0
    for turn in world.rounds(sums, len(pieces)):
        for of_a_batch in turn:  # one after another: in another order the sum would round otherwise
            total += of_a_batch
    return total / (draws * count)


def _tensor(part: Any) -> Tensor:
    return part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))


def _in_batches(shape: Sequence[int], batch_size: int, generator: Generator) -> Iterator[Tensor]:
    """The noise `torch.randn(shape)` a batch at a time, number for number.

    PyTorch draws normal numbers sixteen at a time. So what is drawn in blocks of sixteen images is what would be drawn
    at once; the last block takes the rest with it, since fewer than sixteen numbers are drawn in another way.
    """
    count, held = shape[0], torch.empty(0, *shape[1:])
    begins = list(range(0, max(count - 15, 1), 16))
    blocks = (torch.randn(end - begin, *shape[1:], generator=generator) for begin, end in pairwise([*begins, count]))
    for begin in range(0, count, batch_size):
        while len(held) < min(batch_size, count - begin):
            held = torch.cat([held, next(blocks)])
        yield held[:batch_size]
        held = held[batch_size:]
