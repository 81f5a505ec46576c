"""From noise to images, a step of the diffusion at a time, with or without guidance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from pdebench.tasks.ddpm.objective import answer, at, log_variance, mean
from pdebench.tasks.ddpm.schedule import respaced

TIME_SCALE = 1000.0


@torch.no_grad()
def denoise(
    model: nn.Module,
    noise: Tensor,
    labels: Tensor | None = None,
    *,
    generator: Generator,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    nfe: int = 250,
    guidance: float = 1.0,
    guidance_channels: int | None = None,
    time_scale: float = TIME_SCALE,
) -> Tensor:
    """Go from `noise` (B, C, H, W) back to images; predicted images are not clipped on the way, as in DiT.

    Args:
        model: called as `model(x, t, y)`.
        noise: standard normal, (B, C, H, W).
        labels: (B,) or None.
        generator: of the noise of every step; `ddim` draws none.
        sampler: `ddpm` draws each step from the learned distribution (arXiv 2102.09672); `ddim` takes none of its
            noise and no learned variance (arXiv 2010.02502, eta 0).
        nfe: steps that are kept, and evaluations of the network.
        guidance: classifier-free guidance scale, of the noise; other than 1 each evaluation sees the batch twice.
        guidance_channels: the first so many channels are guided, the others are the answer to the labels, as the
            variance is; None: all. DiT guides three of a latent's four.
        time_scale: of the times that the model sees.

    Raises:
        ModelError: the model does not put out the noise and its variance.
    """
    schedule = respaced(nfe)
    tables, x = schedule.tables(noise.device), noise

    def asked(x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        step = torch.full((len(x),), number, device=x.device)
        if labels is None or guidance == 1:
            return answer(model, x, step, labels, time_scale)
        both = torch.cat([labels, torch.full_like(labels, -1)])
        (given, free), (share, _) = (
            part.chunk(2) for part in answer(model, torch.cat([x, x]), torch.cat([step, step]), both, time_scale)
        )
        guided = torch.lerp(free, given, guidance)
        if guidance_channels is not None:
            guided = torch.cat([guided[:, :guidance_channels], given[:, guidance_channels:]], 1)
        return guided, share

    for place in reversed(range(nfe)):
        step = torch.tensor([place], device=x.device)
        predicted, share = asked(x, schedule.kept[place])
        image = at(tables.by_state, step, x) * x - at(tables.by_noise, step, x) * predicted
        if sampler == "ddim":
            x = at(tables.image_before, step, x) * image + at(tables.noise_before, step, x) * predicted
            continue
        x = mean(tables, step, image, x)
        if place:
            drawn = torch.randn(x.shape, generator=generator, device=generator.device).to(x)
            x = x + torch.exp(log_variance(tables, step, share) / 2) * drawn
    return x
