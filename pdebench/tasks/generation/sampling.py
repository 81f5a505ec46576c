"""Samples of a trained model, shared out over the processes of its cell, and their speed."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from torch import Generator, Tensor, nn

from pdebench.data.source import ImageSet
from pdebench.errors import CellWarning
from pdebench.system.distributed import World
from pdebench.system.durations import spread
from pdebench.system.energy import EnergyMeter
from pdebench.tasks.generation.evaluation import GenerationEvaluation
from pdebench.tasks.generation.pixels import not_finite, to_data
from pdebench.tasks.generation.solver import sample
from pdebench.tasks.learner import Applied, Watch

# Samples start from this noise whatever the training seed: families are compared from the same starting points.
NOISE_SEED = 1234


def samples(
    model: nn.Module,
    evaluate: GenerationEvaluation,
    reference: ImageSet,
    *,
    time_scale: float,
    weights: str,
    world: World,
    watch: Watch,
) -> Applied:
    """Samples as `made`, (N, C, H, W) of the type that the data have, and the columns and seconds of their speed.

    Nothing is made where some came out NaN or infinite: pixels have no such values, and would show and be measured as
    something. The processes take turns at the batches, which are one process': its noise, its sizes and so its images.
    In a round each makes one; the images of a round over the seconds of its slowest process are what the cell's devices
    do.
    """
    count, size, device = evaluate.samples, evaluate.batch_size, world.device
    begins = range(0, count, size)
    ours = set(world.mine(len(begins)))
    noise_of = Generator().manual_seed(NOISE_SEED)
    # the classes of the training set in its own (mixed, fixed) order: samples follow its class frequencies
    labels = None if reference.labels is None else torch.from_numpy(np.resize(reference.labels, count).copy())
    kind = torch.from_numpy(np.empty(0, reference.seen.dtype)).dtype
    made: list[tuple[Tensor, float, int]] = []
    energy = EnergyMeter(device)
    for index, begin in enumerate(begins):
        shape = (min(size, count - begin), *reference.seen.shape[1:])
        noise = torch.randn(shape, generator=noise_of)
        if index not in ours:
            continue
        watch({"stage": "sample", "step": begin, "steps": count})
        noise = noise.to(device)
        given = None if labels is None else labels[begin : begin + len(noise)].to(device)
        energy.begin(len(noise))
        started = time.perf_counter()
        drawn = sample(
            model, noise, given,
            sampler=evaluate.sampler, nfe=evaluate.nfe, guidance=evaluate.guidance,
            guidance_channels=evaluate.guidance_channels, time_scale=time_scale,
        )  # fmt: skip
        pixels = to_data(drawn, kind).cpu()  # .cpu() waits for the device
        took = time.perf_counter() - started
        energy.end()
        made.append((pixels, took, not_finite(drawn)))
    batches, seconds, rates, busy, burst = [], [], [], [], 0
    for turn in world.rounds(made, len(begins)):
        seconds.append(max(one for _, one, _ in turn))
        rates.append(sum(len(pixels) for pixels, _, _ in turn) / seconds[-1])
        burst += sum(one for _, _, one in turn)
        busy.append(len(turn) == world.size)
        if world.first:
            batches += [pixels for pixels, _, _ in turn]
    if burst:
        batches = []
        text = f"{burst} of {count} samples came out NaN or infinite: none is shown or measured"
        warnings.warn(text, CellWarning, stacklevel=2)
    full = [rate for rate, all_worked in zip(rates, busy, strict=True) if all_worked] or rates
    speed = spread(full[1:] or full)
    columns = {
        "sampled_from": f"{weights} weights, cast once",
        "sample_seconds": sum(seconds),
        "sample_images_per_s": speed.median,
        "sample_images_per_s_q1": speed.q1,
        "sample_images_per_s_q3": speed.q3,
        "sample_images_per_s_n": speed.n,
        "sample_joules_per_image": energy.joules_an_image(world, first_counts=False),
    }
    return Applied(torch.cat(batches) if batches else None, columns, {"sample_batch_seconds": seconds})
