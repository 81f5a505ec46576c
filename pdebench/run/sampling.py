"""`pdebench sample`: images or clips from a checkpoint, to disk as they are drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from pdebench.data import image_npz, registry
from pdebench.data.rows import Rows
from pdebench.errors import ModelError, ResultsError, did_you_mean
from pdebench.files.picture import PNG, RIFF, png_grid, webp_grid
from pdebench.results.store import make_folder, read_config, refuse_unlike, replacing, write_atomic
from pdebench.run.checkpoint import Checkpoint, read_checkpoint
from pdebench.run.drawing import Said, Wanted, devices_here, draw
from pdebench.tasks.generation.drawn import DrawnBatches, digest_of
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.registry import TASKS

BATCH = 64  # images, or as many clips as have about so many frames
IN_A_GRID = 4096  # samples that are shown in one picture
CLIPS_IN_A_GRID = 256
_DIGITS = re.compile(r"-?\d+")
ZIP = b"PK\x03\x04"  # how a `.npz` begins
AT_ONCE = 256  # images that are written at a time


def sample_checkpoint(
    checkpoint: Path,
    out: Path | None,
    *,
    count: int | None = None,
    labels: Sequence[int | str] = (),
    proportional: bool = False,
    seed: int = 0,
    autoencoder: str | None = None,
    devices: Sequence[str] = (),
    called: str = "",
    said: Said = lambda done, of: None,
    remark: Callable[[str], None] = lambda text: None,
    **how: Any,
) -> Path:
    """Draw `count` images from the averaged weights in `checkpoint`, and write them as `out` asks.

    A name that ends in `.png` becomes one picture, one in `.npz` ADM's file of samples, another a folder of PNGs. Of
    clips a name that ends in `.webp` becomes one picture that moves, another a folder of folders of frames. What
    is drawn stands beside it in `OUT.drawn` until all is there: the same call goes on after an interruption, to the
    same images.

    Args:
        checkpoint: the file.
        out: what is written; None: `samples.png`, of clips `samples.webp`.
        count: images or clips; None: 64, of clips 16.
        labels: classes that are drawn in turn, by number or name; none: all. A text of digits is a number.
        proportional: the classes are instead as frequent as in the set that the cell was trained on.
        seed: of the noise.
        autoencoder: what decodes latents; None: what the checkpoint names.
        called: what tells this checkpoint's `out` from others', put before its suffix.
        devices: that draw; none: all GPUs, else the CPU.
        said: told how many batches are drawn.
        remark: told which class a number is, where names of classes look like numbers.
        how: keys of the `evaluate:` section of its task; None is what that says.

    Raises:
        ModelError: the file is no checkpoint, or of another task, a label is none of its classes, nothing is there to
            guide by, its task is not sampled so, or the images are not finite.
        ResultsError: something else is at `out`, or it cannot be written.
        DataError: of `proportional`, the set is not there.
    """
    found = read_checkpoint(checkpoint)
    model, learner = found.model, found.learner
    frames = model.sides[0] if len(model.sides) == 3 else None
    if out is None:
        out = Path("samples.png" if frames is None else "samples.webp")
    if called:
        out = out.with_name(f"{out.stem}-{called}{out.suffix}")
    if count is None:
        count = 64 if frames is None else 16
    _refuse_what_is_there(out, count, frames)
    if not isinstance(learner, GenerationLearner):
        raise ModelError(f"{checkpoint} was trained for the task {learner.task}, which draws no samples")
    evaluate = _asked(learner.task, {key: value for key, value in how.items() if value is not None})
    _refuse_impossible(checkpoint, found, learner, evaluate)
    where = _decoded_by(checkpoint, found, autoencoder)
    wanted_classes = [_number(checkpoint, found, label) for label in labels]
    given = _labels(checkpoint, model.num_classes, count, wanted_classes, proportional)
    for number in dict.fromkeys(wanted_classes):
        if said_of_number := _other_name(number, found.class_names):
            remark(said_of_number)
    about = {
        "weights": digest_of(model),
        "seed": seed,
        "labels": None if given is None else "as the set" if proportional else sorted(wanted_classes) or "all in turn",
        "decoded_by": where,
        **evaluate.asked,
    }
    make_folder(out.parent)
    drawn = DrawnBatches(out.with_name(f"{out.name}.drawn"), about, count, max(1, BATCH // (frames or 1)))
    wanted = Wanted(checkpoint, evaluate.model_dump(mode="json", exclude_unset=True), seed, given, where)
    draw(found, wanted, drawn, devices or devices_here(), said)
    if burst := round(sum(one["burst"] for one in drawn.found())):
        drawn.clear()
        raise ModelError(f"{burst} of {count} images came out NaN or infinite; a guidance nearer to 1 may help")
    _write(drawn.rows(), out)
    drawn.clear()
    return out


def names_apart(checkpoints: Sequence[Path]) -> list[str]:
    """What to call each of several checkpoints: its cell, the folder that it lies in; of one alone nothing.

    Raises:
        ModelError: two lie in folders of one name, so that one's samples would be written over the other's.
    """
    if len(checkpoints) == 1:
        return [""]
    names = [path.absolute().parent.name for path in checkpoints]
    for name, path in zip(names, checkpoints, strict=True):
        if names.count(name) > 1:
            raise ModelError(
                f"{path}: several checkpoints lie in a folder '{name}': sample them one by one, with --out"
            )
    return names


def _refuse_what_is_there(out: Path, count: int, frames: int | None) -> None:
    """Refuse to write what is not to be written there; `frames` are of a clip, None of images."""
    if frames is not None and out.suffix in (".png", ".npz"):
        what = "ADM's file holds images" if out.suffix == ".npz" else "no PNG moves"
        raise ResultsError(f"{out}: these are clips, and {what}: name a .webp or a folder with --out")
    if frames is None and out.suffix == ".webp":
        raise ResultsError(f"{out}: these are still images: name a .png, a .npz or a folder with --out")
    if out.suffix in (".png", ".webp"):
        refuse_unlike(out, PNG if frames is None else RIFF)
        most, what = (IN_A_GRID, "images") if frames is None else (CLIPS_IN_A_GRID, "clips")
        if count > most:
            others = "a folder or a .npz" if frames is None else "a folder"
            raise ResultsError(
                f"{out} would be one picture of {count} {what}: name {others} with --out, or take at most {most}"
            )
    elif out.suffix == ".npz":
        refuse_unlike(out, ZIP)
    elif out.exists() and not (out.is_dir() and all(path.stem.isdecimal() for path in out.iterdir())):
        raise ResultsError(f"{out} is there, and is no folder of samples: name another with --out")


def _refuse_impossible(
    checkpoint: Path, found: Checkpoint, learner: GenerationLearner, evaluate: SamplesEvaluation
) -> None:
    """Guidance that has nothing to go by."""
    model, guidance, channels = found.model, evaluate.guidance, evaluate.guidance_channels
    if guidance != 1 and (model.num_classes is None or learner.label_dropout == 0):
        lacks = "classes" if model.num_classes is None else "label dropout"
        raise ModelError(
            f"{checkpoint} was trained without {lacks}, so guidance {guidance:g} has nothing to go by; leave it out"
        )
    if channels is not None and channels > model.in_channels:
        why = f"there are {model.in_channels}"
        raise ModelError(f"--guidance-channels {channels} does not work: {why}; change it, or leave it out")


def _number(checkpoint: Path, found: Checkpoint, label: int | str) -> int:
    """The number of a class; a name is one of those that the checkpoint keeps.

    Raises:
        ModelError: it has no class of that name.
    """
    if not isinstance(label, str) or _DIGITS.fullmatch(label):
        return int(label)
    names = found.class_names
    if names is not None and label in names:
        return names.index(label)
    if found.model.num_classes is None:
        raise ModelError(f"{checkpoint} has no class '{label}': it was trained without classes")
    if names is None:
        most = found.model.num_classes - 1
        raise ModelError(f"{checkpoint} keeps no names of its classes: give a number from 0 to {most} with --label")
    raise ModelError(f"{checkpoint} has no class '{label}'; {did_you_mean(label, names)}")


def _other_name(number: int, names: Sequence[str] | None) -> str | None:
    """What is to be known of a number that could be taken for a name: which class it is, and which is named so."""
    if names is None or names[number] == str(number) or not any(map(_DIGITS.fullmatch, names)):
        return None
    named = f", and the class named '{number}' is --label {names.index(str(number))}" if str(number) in names else ""
    return f"--label {number} is a number: class {number}, counted from 0, is named '{names[number]}'{named}"


def _labels(
    checkpoint: Path, classes: int | None, count: int, wanted: Sequence[int], proportional: bool
) -> NDArray[np.int64] | None:
    """The class of each sample."""
    for label in wanted:
        if classes is None or not 0 <= label < classes:
            known = "it was trained without classes" if classes is None else f"its classes are 0 to {classes - 1}"
            raise ModelError(f"{checkpoint} has no class {label}: {known}")
    if classes is None:
        return None
    if not proportional:
        return np.resize(np.array(wanted or range(classes), np.int64), count)
    if wanted:
        raise ModelError("--proportional takes the classes of the whole set: leave --label out")
    try:
        data = read_config(checkpoint.absolute().parent).data
    except (FileNotFoundError, ResultsError):
        raise ModelError(
            f"--proportional needs the cell's config.yaml beside {checkpoint}, which says what it was trained on"
        ) from None
    images = registry.load(data, "train")
    assert images.labels is not None
    return np.resize(np.asarray(images.labels, np.int64), count)


def _write(images: Rows, out: Path) -> None:
    if out.suffix == ".png":
        pixels = torch.from_numpy(np.asarray(images[:]))
        write_atomic(out, png_grid(pixels, columns=max(1, round(len(images) ** 0.5))))
    elif out.suffix == ".webp":
        clips = torch.from_numpy(np.asarray(images[:]))
        write_atomic(out, webp_grid(clips, columns=max(1, round(len(images) ** 0.5))))
    elif out.suffix == ".npz":
        with replacing(out) as file:
            image_npz.write_images(images, file)
    elif images.ndim == 5:
        for number in range(len(images)):
            folder = out / f"{number:06}"
            make_folder(folder)
            for place, frame in enumerate(images[number].swapaxes(0, 1)):
                _write_png(folder / f"{place:06}.png", frame)
    else:
        make_folder(out)
        with ThreadPoolExecutor() as pool:
            for begin in range(0, len(images), AT_ONCE):
                part = np.asarray(images[begin : begin + AT_ONCE])
                paths = (out / f"{begin + place:06}.png" for place in range(len(part)))
                list(pool.map(_write_png, paths, part))


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """One image (C, H, W), grey or RGB."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


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


def _decoded_by(checkpoint: Path, found: Checkpoint, autoencoder: str | None) -> str | None:
    """What decodes its latents; None for a model of images.

    Raises:
        ModelError: nobody says what does.
    """
    channels = found.model.in_channels
    if found.space is None and autoencoder is None:
        if channels not in (1, 3):
            raise ModelError(
                f"{checkpoint} was trained on {channels} channels, which are no picture, and does not say what decodes "
                "them: name it with --autoencoder"
            )
        return None
    if (where := autoencoder or (None if found.space is None else found.space.autoencoder)) is None:
        raise ModelError(f"{checkpoint} does not say what decodes its latents: name it with --autoencoder")
    return where
