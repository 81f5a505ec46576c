"""Samples of a trained model, shared out over the processes of its cell, and their speed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from pdebench.data.source import ImageSet
from pdebench.errors import CellWarning
from pdebench.system.distributed import World
from pdebench.system.durations import spread
from pdebench.system.energy import EnergyMeter
from pdebench.tasks.generation.drawn import DrawnBatches
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.pixels import not_finite, to_data
from pdebench.tasks.generation.solver import Solved
from pdebench.tasks.learner import Applied, Watch

# Samples start from this noise whatever the training seed: families are compared from the same starting points.
NOISE_SEED = 1234


def noise_on_the_way(seed: int, begin: int, device: torch.device) -> Generator:
    """The source of what a stochastic sampler adds to the batch from sample `begin` on, whichever process draws it."""
    (state,) = np.random.SeedSequence([seed, begin]).generate_state(1, np.uint64)
    return Generator(device).manual_seed(int(state))


Sampled = Callable[[Tensor, Tensor | None, SamplesEvaluation, Generator], Solved]
"""Makes samples of noise (B, C, ...), labels (B,) or None, what is asked, and what is random on the way."""


def samples(
    sampled: Sampled,
    evaluate: SamplesEvaluation,
    reference: ImageSet,
    drawn: DrawnBatches,
    *,
    decode: Callable[[Tensor], Tensor] | None,
    weights: str,
    world: World,
    watch: Watch,
) -> Applied:
    """Samples as `made`, rows (N, C, ...), and the columns and seconds of what they took.

    They are of the type that the data have, or what `decode` makes of that. Nothing is made where some came out NaN or
    infinite: pixels have no such values, and would show and be measured as something. The processes take turns at the
    batches that `drawn` lacks, which are one process': its noise, its sizes and so its images. In a round each makes
    one; the images of a round over the seconds of its slowest process are what the cell's devices do.

    Args:
        sampled: makes them.
        evaluate: how many, and how.
        reference: whose classes the samples have.
        drawn: keeps them, and has those that were drawn before this cell was interrupted.
        decode: of latents, what makes images of them.
        weights: what the model's are, for the record.
        world: whose processes take turns.
        watch: told of progress.
    """
    device = world.device
    # the classes of the training set in its own (mixed, fixed) order: samples follow its class frequencies
    labels = (
        None if reference.labels is None else torch.from_numpy(np.resize(reference.labels, evaluate.samples).copy())
    )
    kind = torch.from_numpy(np.empty(0, reference.seen.dtype)).dtype
    missing = drawn.missing()
    ours = {missing[place] for place in world.mine(len(missing))}
    took: list[tuple[int, float]] = []
    energy = EnergyMeter(device)
    for number, noise in enumerate(noises(drawn, reference.seen.shape[1:], NOISE_SEED)):
        if number not in ours:
            continue
        begin = drawn.begin(number)
        watch({"stage": "sample", "step": begin, "steps": evaluate.samples})
        noise = noise.to(device)
        given = None if labels is None else labels[begin : begin + len(noise)].to(device)
        energy.begin(len(noise))
        started = time.perf_counter()
        solved = sampled(noise, given, evaluate, noise_on_the_way(NOISE_SEED, begin, device))
        made = to_data(solved.images, kind).cpu()  # .cpu() waits for the device
        took.append((len(made), time.perf_counter() - started))
        energy.end()
        found = {"burst": not_finite(solved.images), "nfe": solved.nfe, "passes": solved.passes}
        drawn.put(number, (made if decode is None else decode(made)).numpy(), found)
    rounds = list(world.rounds(took, len(missing)))
    world.wait()  # for the last of their files
    drawn.look_again()
    found_of = drawn.found()
    counts = [drawn.of(number) for number in range(len(drawn))]
    burst = round(sum(one["burst"] for one in found_of))
    if burst:
        text = f"{burst} of {evaluate.samples} samples came out NaN or infinite: none is shown or measured"
        warnings.warn(text, CellWarning, stacklevel=2)
    columns: dict[str, Any] = {
        "sampled_from": f"{weights} weights, {evaluate.arithmetic}",
        "sample_nfe_mean": sum(n * one["nfe"] for n, one in zip(counts, found_of, strict=True)) / evaluate.samples,
        "sample_nfe_max": round(max(one["nfe"] for one in found_of)),
        "sample_passes_mean": sum(n * one["passes"] for n, one in zip(counts, found_of, strict=True))
        / evaluate.samples,
        "sample_joules_per_image": energy.joules_an_image(world, first_counts=False),
    }
    seconds, speed = _speed(rounds, world.size)
    if len(missing) == len(drawn):  # others took what was drawn before, under conditions of theirs
        columns["sample_seconds"] = sum(seconds)
    return Applied(None if burst else drawn.rows(), columns | speed, {"sample_batch_seconds": seconds})


def noises(drawn: DrawnBatches, shape: tuple[int, ...], seed: int) -> Iterator[Tensor]:
    """The noise of each batch, (B, *shape), on the host: the same whoever draws which."""
    noise_of = Generator().manual_seed(seed)
    for number in range(len(drawn)):
        yield torch.randn((drawn.of(number), *shape), generator=noise_of)


def _speed(rounds: list[list[tuple[int, float]]], size: int) -> tuple[list[float], dict[str, float]]:
    """The seconds of the slowest process in each round, and how many images a second full rounds made."""
    seconds = [max(one for _, one in turn) for turn in rounds]
    if not rounds:
        return seconds, {}
    rates = [sum(images for images, _ in turn) / one for turn, one in zip(rounds, seconds, strict=True)]
    full = [rate for rate, turn in zip(rates, rounds, strict=True) if len(turn) == size] or rates
    speed = spread(full[1:] or full)
    return seconds, {
        "sample_images_per_s": speed.median,
        "sample_images_per_s_q1": speed.q1,
        "sample_images_per_s_q3": speed.q3,
        "sample_images_per_s_n": speed.n,
    }
