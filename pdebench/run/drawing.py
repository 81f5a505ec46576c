"""Samples of a checkpoint, drawn to disk on one or several devices; what was drawn before stays."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pdebench.data.space import Space
from pdebench.errors import ModelError
from pdebench.run.checkpoint import Checkpoint, read_checkpoint
from pdebench.tasks.generation.decoding import Decoder
from pdebench.tasks.generation.drawn import DrawnBatches
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.pixels import not_finite, to_data
from pdebench.tasks.generation.sampling import noise_on_the_way, noises
from pdebench.tasks.registry import TASKS

Said = Callable[[int, int], None]
"""Told how many batches are drawn, and of how many."""

LOOK = 0.5  # seconds between looks at what other processes drew


@dataclass(frozen=True)
class Wanted:
    """What is asked of a checkpoint, as another process can be handed it.

    Attributes:
        checkpoint: the file.
        asked: keys of the `evaluate:` section of its task.
        seed: of the noise.
        labels: int64 (count,), the class of each sample; None: the model has none.
        autoencoder: what decodes latents; None: samples are images.
    """

    checkpoint: Path
    asked: dict[str, Any]
    seed: int
    labels: NDArray[np.int64] | None
    autoencoder: str | None


def devices_here() -> list[str]:
    """All GPUs, else the CPU."""
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def draw(found: Checkpoint, wanted: Wanted, drawn: DrawnBatches, devices: Sequence[str], said: Said) -> None:
    """Draw what is missing, a process a device where there are several.

    Args:
        found: what `wanted.checkpoint` holds.
        wanted: what is asked of it.
        drawn: where samples go.
        devices: that draw; one may stand there twice, to draw two batches at once.
        said: told how far it is.

    Raises:
        ModelError: a process failed; what it had drawn stays.
    """
    missing = drawn.missing()
    if len(devices) == 1:
        _draw(found, wanted, drawn, devices[0], missing, said)
        return
    spawning = multiprocessing.get_context("spawn")
    shares = [(device, missing[place :: len(devices)]) for place, device in enumerate(devices)]
    told = (drawn.folder, drawn.about, drawn.count, drawn.size)
    threads = max(1, torch.get_num_threads() // len(devices))
    processes = [
        spawning.Process(target=_share, args=(wanted, told, device, share, threads))
        for device, share in shares
        if share
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            for process in processes:
                process.join(LOOK / len(processes))
                if process.exitcode:
                    raise ModelError(f"a process that draws samples ended with status {process.exitcode}: see above")
            drawn.look_again()
            said(len(drawn) - len(drawn.missing()), len(drawn))
    finally:
        for process in processes:
            process.terminate()
            process.join()
    drawn.look_again()


def _share(
    wanted: Wanted, told: tuple[Path, dict[str, Any], int, int], device: str, numbers: list[int], threads: int
) -> None:
    """A process of its own."""
    torch.set_num_threads(threads)
    _draw(
        read_checkpoint(wanted.checkpoint), wanted, DrawnBatches(*told, look=False), device, numbers,
        lambda done, of: None,
    )  # fmt: skip


@torch.no_grad()
def _draw(
    found: Checkpoint, wanted: Wanted, drawn: DrawnBatches, device: str, numbers: Sequence[int], said: Said
) -> None:
    model, learner = found.model.to(device), found.learner
    assert isinstance(learner, GenerationLearner)
    evaluate = TASKS[learner.task].evaluation(**wanted.asked)
    decoder = decoder_of(found, wanted.autoencoder, torch.device(device))
    ours, left = set(numbers), len(drawn) - len(numbers)
    for number, noise in enumerate(noises(drawn, (model.in_channels, *model.sides), wanted.seed)):
        if number not in ours:
            continue
        begin = drawn.begin(number)
        labels = None
        if wanted.labels is not None:
            labels = torch.from_numpy(wanted.labels[begin : begin + len(noise)]).to(device)
        noise = noise.to(device)
        solved = learner.sampled(
            model, noise, labels, evaluate, noise_on_the_way(wanted.seed, begin, torch.device(device))
        )
        made = to_data(solved.images, torch.uint8 if decoder is None else torch.float32).cpu()
        pixels = made if decoder is None else decoder.images(made)
        drawn.put(number, pixels.numpy(), {"burst": not_finite(solved.images), "nfe": solved.nfe})
        left += 1
        said(left, len(drawn))


def decoder_of(found: Checkpoint, autoencoder: str | None, device: torch.device) -> Decoder | None:
    """What decodes a checkpoint's latents; None for a model of images.

    Raises:
        ModelError: it cannot be loaded.
    """
    if autoencoder is None:
        return None
    return Decoder(dataclasses.replace(found.space or Space(), autoencoder=autoencoder), device)
