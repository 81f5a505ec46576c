"""`pdebench sample`: images from a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from pdebench.data.space import Space
from pdebench.errors import ModelError
from pdebench.files.picture import PNG, png_grid
from pdebench.results.store import make_folder, refuse_unlike, write_atomic
from pdebench.run.checkpoint import Checkpoint, read_checkpoint
from pdebench.tasks.generation.decoding import Decoder
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.pixels import not_finite, to_pixels
from pdebench.tasks.registry import TASKS
from pdebench.tasks.task import Evaluation

BATCH = 64


def sample_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    count: int,
    label: int | None,
    guidance: float,
    nfe: int | None,
    seed: int,
    sampler: str | None = None,
    guidance_channels: int | None = None,
    autoencoder: str | None = None,
) -> Path:
    """Draw `count` images from the averaged weights in `checkpoint` and write them as one PNG.

    Latents are decoded by `autoencoder`, or by what the checkpoint names. What `sampler` and `nfe` may be, and what
    None is, says the `evaluate:` section of its task.

    Raises:
        ModelError: the file is no checkpoint, or of another task, the label is none of its classes, nothing is there to
            guide by, its task has no such sampler or `nfe`, or the images are not finite.
        ResultsError: something else than a PNG is at `out`, or it cannot be written.
    """
    refuse_unlike(out, PNG)
    found = read_checkpoint(checkpoint)
    model, learner = found.model, found.learner
    if not isinstance(learner, GenerationLearner):
        raise ModelError(f"{checkpoint} was trained for the task {learner.task}, which draws no samples")
    classes = model.num_classes
    if guidance != 1 and (classes is None or learner.label_dropout == 0):
        lacks = "classes" if classes is None else "label dropout"
        raise ModelError(
            f"{checkpoint} was trained without {lacks}, so guidance {guidance:g} has nothing to go by; leave it out"
        )
    if guidance_channels is not None and not (guidance != 1 and guidance_channels <= model.in_channels):
        why = "guidance is 1" if guidance == 1 else f"there are {model.in_channels}"
        raise ModelError(f"--guidance-channels {guidance_channels} does not work: {why}; change it, or leave it out")
    if label is not None and (classes is None or label >= classes):
        known = "it was trained without classes" if classes is None else f"its classes are 0 to {classes - 1}"
        raise ModelError(f"{checkpoint} has no class {label}: {known}")
    given = {"nfe": nfe, "sampler": sampler, "guidance": guidance, "guidance_channels": guidance_channels}
    evaluate = _asked(learner.task, {key: value for key, value in given.items() if value is not None})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder = _decoder(checkpoint, found, autoencoder, device)
    model = model.to(device)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, model.in_channels, *model.sides, generator=generator)
    labels = None
    if classes is not None:
        labels = torch.arange(count) % classes if label is None else torch.full((count,), label)
    drawn = [
        learner.sampled(
            model,
            noise[part].to(device),
            None if labels is None else labels[part].to(device),
            evaluate,
            generator,
        )
        for part in (slice(begin, begin + BATCH) for begin in range(0, count, BATCH))
    ]
    if burst := not_finite(together := torch.cat(drawn)):
        raise ModelError(f"{burst} of {count} images came out NaN or infinite; a guidance nearer to 1 may help")
    images = to_pixels(together).cpu() if decoder is None else decoder.images(together.cpu())
    make_folder(out.parent)
    write_atomic(out, png_grid(images, columns=max(1, round(count**0.5))))
    return out


def _asked(task: str, given: dict[str, Any]) -> Evaluation:
    """The `evaluate:` section that asks for this.

    Raises:
        ModelError: the task has none such.
    """
    try:
        return TASKS[task].evaluation(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        said = f"{key} {problem['input']!r}: {problem['msg']}" if key else problem["msg"]
        raise ModelError(f"a model of the task {task} is not sampled so: {said}") from None


def _decoder(checkpoint: Path, found: Checkpoint, autoencoder: str | None, device: torch.device) -> Decoder | None:
    """What decodes its latents; None for a model of images.

    Raises:
        ModelError: nobody says what does, or it cannot be loaded.
    """
    channels = found.model.in_channels
    if found.space is None and autoencoder is None:
        if channels not in (1, 3):
            raise ModelError(
                f"{checkpoint} was trained on {channels} channels, which are no picture, and does not say what decodes "
                "them: name it with --autoencoder"
            )
        return None
    space = found.space or Space()
    if (where := autoencoder or space.autoencoder) is None:
        raise ModelError(f"{checkpoint} does not say what decodes its latents: name it with --autoencoder")
    return Decoder(dataclasses.replace(space, autoencoder=where), device)
