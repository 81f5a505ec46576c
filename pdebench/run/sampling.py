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
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.pixels import not_finite, to_pixels
from pdebench.tasks.generation.sampling import noise_on_the_way
from pdebench.tasks.registry import TASKS

BATCH = 64


def sample_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    count: int,
    label: int | None,
    seed: int,
    autoencoder: str | None = None,
    **how: Any,
) -> Path:
    """Draw `count` images from the averaged weights in `checkpoint` and write them as one PNG.

    Latents are decoded by `autoencoder`, or by what the checkpoint names; `how` are keys of the `evaluate:` section of
    its task, and None what that says.

    Raises:
        ModelError: the file is no checkpoint, or of another task, the label is none of its classes, nothing is there to
            guide by, its task is not sampled so, or the images are not finite.
        ResultsError: something else than a PNG is at `out`, or it cannot be written.
    """
    refuse_unlike(out, PNG)
    found = read_checkpoint(checkpoint)
    model, learner = found.model, found.learner
    if not isinstance(learner, GenerationLearner):
        raise ModelError(f"{checkpoint} was trained for the task {learner.task}, which draws no samples")
    classes = model.num_classes
    evaluate = _asked(learner.task, {key: value for key, value in how.items() if value is not None})
    guidance, guidance_channels = evaluate.guidance, evaluate.guidance_channels
    if guidance != 1 and (classes is None or learner.label_dropout == 0):
        lacks = "classes" if classes is None else "label dropout"
        raise ModelError(
            f"{checkpoint} was trained without {lacks}, so guidance {guidance:g} has nothing to go by; leave it out"
        )
    if guidance_channels is not None and guidance_channels > model.in_channels:
        why = f"there are {model.in_channels}"
        raise ModelError(f"--guidance-channels {guidance_channels} does not work: {why}; change it, or leave it out")
    if label is not None and (classes is None or label >= classes):
        known = "it was trained without classes" if classes is None else f"its classes are 0 to {classes - 1}"
        raise ModelError(f"{checkpoint} has no class {label}: {known}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder = _decoder(checkpoint, found, autoencoder, device)
    model = model.to(device)
    noise = torch.randn(count, model.in_channels, *model.sides, generator=torch.Generator().manual_seed(seed))
    labels = None
    if classes is not None:
        labels = torch.arange(count) % classes if label is None else torch.full((count,), label)
    drawn = [
        learner.sampled(
            model,
            noise[begin : begin + BATCH].to(device),
            None if labels is None else labels[begin : begin + BATCH].to(device),
            evaluate,
            noise_on_the_way(seed, begin, device),
        )
        for begin in range(0, count, BATCH)
    ]
    if burst := not_finite(together := torch.cat([one.images for one in drawn])):
        raise ModelError(f"{burst} of {count} images came out NaN or infinite; a guidance nearer to 1 may help")
    images = to_pixels(together).cpu() if decoder is None else decoder.images(together.cpu())
    make_folder(out.parent)
    write_atomic(out, png_grid(images, columns=max(1, round(count**0.5))))
    return out


def _asked(task: str, given: dict[str, Any]) -> SamplesEvaluation:
    """The `evaluate:` section that asks for this.

    Raises:
        ModelError: the task has none such.
    """
    try:
        asked = TASKS[task].evaluation(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        said = f"{key} {problem['input']!r}: {problem['msg']}" if key else problem["msg"]
        raise ModelError(f"a model of the task {task} is not sampled so: {said}") from None
    assert isinstance(asked, SamplesEvaluation)
    return asked


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
