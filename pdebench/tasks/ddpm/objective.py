"""What a denoising diffusion model is shown, and its loss.

The network puts out the noise, and beside it where the variance of the step before lies between the least and the most
that it can be, from -1 to 1, for each value of the image. Its loss is

    |eps - predicted eps|^2 + KL(q(x_{k-1} | x_k, x) || p(x_{k-1} | x_k)) / ln 2      (L_simple + L_vlb / 1000)

averaged over values and steps (arXiv 2102.09672, equation 16), where the second term teaches the variance alone. At
step 0 it is the negative log-likelihood of an image of 8 bits. As in the authors' code it is in bits, is the same for
latents, and takes the normal distribution function by its tanh approximation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.tasks.ddpm.schedule import STEPS, WHOLE, Tables

HALF_A_BYTE = 1 / 255  # half the distance of two pixel values in [-1, 1]
EDGE = 0.999  # beyond it a pixel is black or white, and whatever lies further out counts with it
LEAST = 1e-12  # of a probability


def denoising_error(
    model: nn.Module, images: Tensor, labels: Tensor | None, t: Tensor, noise: Tensor, time_scale: float
) -> Tensor:
    """The loss, (B,), of clean `images` (B, C, H, W) with `noise` (B, C, H, W) at times `t` (B,) in [0, 1)."""
    tables, step = WHOLE.tables(images.device), step_at(t)
    noisy = shown(tables, step, images, noise)
    predicted, share = answer(model, noisy, step, labels, time_scale)
    simple = F.mse_loss(predicted, noise, reduction="none").flatten(1).mean(1)
    return simple + _bound(tables, step, images, noisy, predicted.detach(), share)


def step_at(t: Tensor) -> Tensor:
    """The step of times in [0, 1), whole numbers."""
    return (t * STEPS).long().clamp(max=STEPS - 1)


def shown(tables: Tables, step: Tensor, images: Tensor, noise: Tensor) -> Tensor:
    """Images (B, C, H, W) after so many steps (B,) with this noise."""
    return at(tables.image, step, images) * images + at(tables.noise, step, images) * noise


def answer(
    model: nn.Module, x: Tensor, step: Tensor, labels: Tensor | None, time_scale: float
) -> tuple[Tensor, Tensor]:
    """The predicted noise and the share of the variance, float32 (B, C, H, W) each, at steps (B,) of all STEPS.

    Raises:
        ModelError: the model puts out something else.
    """
    made: Tensor = model(x, step.float() * (time_scale / STEPS), labels)
    if made.shape[1] != 2 * x.shape[1]:
        raise ModelError(
            f"the model puts out {made.shape[1]} channels for {x.shape[1]}, where the task ddpm needs twice as many, "
            "the noise and its variance"
        )
    predicted, share = made.float().chunk(2, dim=1)
    return predicted, share


def log_variance(tables: Tables, step: Tensor, share: Tensor) -> Tensor:
    """Of the step before, from the share that the network puts out."""
    part = (share + 1) / 2
    return part * at(tables.log_most, step, share) + (1 - part) * at(tables.log_least, step, share)


def mean(tables: Tables, step: Tensor, images: Tensor, noisy: Tensor) -> Tensor:
    """Of the step before, given the image and the noisy image."""
    return at(tables.mean_image, step, images) * images + at(tables.mean_state, step, images) * noisy


def at(table: Tensor, step: Tensor, like: Tensor) -> Tensor:
    """A table's numbers at steps (B,), to be multiplied with images."""
    return table[step].view(-1, *[1] * (like.dim() - 1))


def _bound(tables: Tables, step: Tensor, images: Tensor, noisy: Tensor, predicted: Tensor, share: Tensor) -> Tensor:
    """The term of the variational bound at each step (B,), in bits a value; (B,)."""
    guess = at(tables.by_state, step, noisy) * noisy - at(tables.by_noise, step, noisy) * predicted
    true, believed = mean(tables, step, images, noisy), mean(tables, step, guess, noisy)
    least, chosen = at(tables.log_least, step, share), log_variance(tables, step, share)
    apart = (chosen - least) - 1 + torch.exp(least - chosen) + (true - believed).square() * torch.exp(-chosen)
    likelihood = _log_likelihood(images, believed, chosen)
    term = torch.where(step.view(-1, *[1] * (images.dim() - 1)) == 0, -likelihood, apart / 2)
    return term.flatten(1).mean(1) / math.log(2)


def _log_likelihood(images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of images of 8 bits in [-1, 1] under a normal distribution: what lies nearer to them than to other values."""
    scale = torch.exp(-log_variance / 2)
    above, below = (_normal(scale * (images - mean + side * HALF_A_BYTE)) for side in (1, -1))
    chance = torch.where(images < -EDGE, above, torch.where(images > EDGE, 1 - below, above - below))
    return chance.clamp(min=LEAST).log()


def _normal(x: Tensor) -> Tensor:
    """The normal distribution function, by the approximation that GELU's is."""
    return (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
