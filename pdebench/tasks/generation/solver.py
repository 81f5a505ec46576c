"""Solvers of the flow's equation: from noise at t = 0 to an image at t = 1, with or without guidance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pdebench.tasks.generation.path import TIME_SCALE, velocity


@torch.no_grad()
def sample(
    model: nn.Module,
    noise: Tensor,
    labels: Tensor | None = None,
    *,
    sampler: Literal["euler", "heun"] = "heun",
    nfe: int = 50,
    guidance: float = 1.0,
    guidance_channels: int | None = None,
    time_scale: float = TIME_SCALE,
) -> Tensor:
    """Integrate the flow from `noise` (B, C, H, W) at t = 0 to images in [-1, 1] at t = 1.

    Args:
        model: called as `model(x, t, y)`.
        noise: standard normal, (B, C, H, W).
        labels: (B,) or None.
        sampler: `euler` spends one evaluation of the network a step, `heun` two.
        nfe: evaluations of the network in all; even for `heun`.
        guidance: classifier-free guidance scale; other than 1 each evaluation sees the batch twice.
        guidance_channels: the first so many channels are guided, the others are the answer to the labels; None: all.
            DiT and SiT guide three of a latent's four.
        time_scale: of the times that the model sees.
    """
    if sampler == "heun" and nfe % 2:
        raise ValueError(f"heun spends two evaluations a step: nfe must be even, not {nfe}")

    def slope_at(x: Tensor, t: float) -> Tensor:
        times = torch.full((len(x),), t, device=x.device)
        if labels is None or guidance == 1:
            return velocity(model, x, times, labels, time_scale)
        asked = torch.cat([labels, torch.full_like(labels, -1)])
        given, free = velocity(model, torch.cat([x, x]), torch.cat([times, times]), asked, time_scale).chunk(2)
        guided = torch.lerp(free, given, guidance)
        if guidance_channels is None:
            return guided
        return torch.cat([guided[:, :guidance_channels], given[:, guidance_channels:]], 1)

    steps = nfe // 2 if sampler == "heun" else nfe
    x, dt = noise, 1 / steps
    for step in range(steps):
        t = step / steps
        slope = slope_at(x, t)
        if sampler == "heun":
            slope = (slope + slope_at(x + dt * slope, t + dt)) / 2
        x = x + dt * slope
    return x
