"""Samples of a trained model, shared out over the processes of its cell, and their speed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from pdebench.data.source import ImageSet
from pdebench.errors import CellWarning
from pdebench.system.distributed import World
from pdebench.system.durations import spread
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.pixels import not_finite, to_data
from pdebench.tasks.generation.solver import Solved
from pdebench.tasks.learner import Applied, Watch

# Samples start from this noise whatever the training seed: families are compared from the same starting points.
NOISE_SEED = 1234


class _Batch(NamedTuple):
    """Samples of a batch, the seconds that they took, how many are not finite, and what each of them took."""

    pixels: Tensor
    seconds: float
    burst: int
    nfe: int
    passes: int


def noise_on_the_way(seed: int, begin: int, device: torch.device) -> Generator:
    """The source of what a stochastic sampler adds to the batch from sample `begin` on, whichever process draws it."""
    (state,) = np.random.SeedSequence([seed, begin]).generate_state(1, np.uint64)
    return Generator(device).manual_seed(int(state))


def samples(
    sampled: Callable[[Tensor, Tensor | None, SamplesEvaluation, Generator], Solved],
    evaluate: SamplesEvaluation,
    reference: ImageSet,
    *,
    weights: str,
    world: World,
    watch: Watch,
) -> Applied:
    """Samples as `made`, (N, C, H, W) of the type that the data have, and the columns and seconds of what they took.

    Nothing is made where some came out NaN or infinite: pixels have no such values, and would show and be measured as
    something. The processes take turns at the batches, which are one process': its noise, its sizes and so its images.
    In a round each makes one; the images of a round over the seconds of its slowest process are what the cell's devices
    do.

    Args:
        sampled: makes images of noise (B, C, H, W), labels (B,) or None and a source of what is random on the way.
        evaluate: how many, and how.
        reference: whose classes the samples have.
        weights: what the model's are, for the record.
        world: whose processes take turns.
        watch: told of progress.
    """
    count, size, device = evaluate.samples, evaluate.batch_size, world.device
    begins = range(0, count, size)
    ours = set(world.mine(len(begins)))
    noise_of = Generator().manual_seed(NOISE_SEED)
    # the classes of the training set in its own (mixed, fixed) order: samples follow its class frequencies
    labels = None if reference.labels is None else torch.from_numpy(np.resize(reference.labels, count).copy())
    kind = torch.from_numpy(np.empty(0, reference.seen.dtype)).dtype
    made: list[_Batch] = []
    for index, begin in enumerate(begins):
        shape = (min(size, count - begin), *reference.seen.shape[1:])
        noise = torch.randn(shape, generator=noise_of)
        if index not in ours:
            continue
        watch({"stage": "sample", "step": begin, "steps": count})
        noise = noise.to(device)
        given = None if labels is None else labels[begin : begin + len(noise)].to(device)
        started = time.perf_counter()
        solved = sampled(noise, given, evaluate, noise_on_the_way(NOISE_SEED, begin, device))
        pixels = to_data(solved.images, kind).cpu()  # .cpu() waits for the device
        took = time.perf_counter() - started
        made.append(_Batch(pixels, took, not_finite(solved.images), solved.nfe, solved.passes))
    batches, seconds, rates, busy, burst = [], [], [], [], 0
    taken: list[tuple[int, int, int]] = []  # images, and the evaluations and passes that each of them took
    for turn in world.rounds(made, len(begins)):
        seconds.append(max(one.seconds for one in turn))
        rates.append(sum(len(one.pixels) for one in turn) / seconds[-1])
        burst += sum(one.burst for one in turn)
        busy.append(len(turn) == world.size)
        taken += [(len(one.pixels), one.nfe, one.passes) for one in turn]
        if world.first:
            batches += [one.pixels for one in turn]
    if burst:
        batches = []
        text = f"{burst} of {count} samples came out NaN or infinite: none is shown or measured"
        warnings.warn(text, CellWarning, stacklevel=2)
    full = [rate for rate, all_worked in zip(rates, busy, strict=True) if all_worked] or rates
    speed = spread(full[1:] or full)
    columns = {
        "sampled_from": f"{weights} weights, {evaluate.arithmetic}",
        "sample_nfe_mean": sum(images * nfe for images, nfe, _ in taken) / count,
        "sample_nfe_max": max(nfe for _, nfe, _ in taken),
        "sample_passes_mean": sum(images * passes for images, _, passes in taken) / count,
        "sample_seconds": sum(seconds),
        "sample_images_per_s": speed.median,
        "sample_images_per_s_q1": speed.q1,
        "sample_images_per_s_q3": speed.q3,
        "sample_images_per_s_n": speed.n,
    }
    return Applied(torch.cat(batches) if batches else None, columns, {"sample_batch_seconds": seconds})
