"""Which published results are near a cell, and in what their protocols differ from its own.

Near is what learnt the same data at the same resolution with the same backbone, size and number of tokens; all else is
a difference, and told. Nothing here ranks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdebench.anchors.printed import agrees
from pdebench.anchors.schema import IMAGENET, Anchor
from pdebench.report import formatting
from pdebench.suite.config import DEFAULT_TASK
from pdebench.tasks.registry import TASKS

CLASSES, IMAGES = 1000, 1_281_167
"""Of ImageNet-1K's training split. No other set has both, and a name or a path proves nothing."""

LATENT_CHANNELS, DOWNSAMPLING = 4, 8
"""Of the one latent space whose channels say how large its images were: Stable Diffusion's."""

WEIGHTS = {"inception-2015": "inception-v3-compat"}  # the extractor that has them
SAMPLERS = {
    "ddpm": "DDPM",
    "euler": "Euler",
    "heun": "Heun",
    "dopri5": "dopri5",
    "euler_maruyama": "Euler-Maruyama",
    "dpm-solver": "DPM-Solver",
}
OBJECTIVES = {"noise": "a diffusion's noise", "velocity": "a flow's velocity", "x": "the image"}
METRICS = {"fid": "FID", "is": "IS", "kid": "KID"}
OWN = {"fid": ("fid",), "is": ("is_adm", "is"), "kid": ("kid",)}
"""The columns that have them; of the Inception score first that whose splits are the papers'."""

Row = Mapping[str, Any]
Told = Callable[[Any], str]


@dataclass(frozen=True)
class Gap:
    """What a published protocol and a cell's own have not in common.

    Attributes:
        differ: in words, own first: `steps 100,000, published 400,000`.
        unread: what the publication does not say, as far as it was read.
        unrecorded: what the cell does not say.
    """

    differ: tuple[str, ...]
    unread: tuple[str, ...]
    unrecorded: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all is known of both, and the same."""
        return not (self.differ or self.unread or self.unrecorded)


def imagenet_side(row: Row) -> int | None:
    """Side in pixels of the ImageNet images that a cell learnt, itself or as latents; None: of other data, or unsure.

    ImageNet is told by its 1000 classes and 1,281,167 training images. Latents of four channels are an eighth of their
    images' side, as Stable Diffusion's; those of other channels do not say of what side they are.
    """
    if (_number(row, "classes"), _number(row, "train_images")) != (CLASSES, IMAGES):
        return None
    if (task := TASKS.get(str(row.get("task") or DEFAULT_TASK))) is not None and not task.samples:
        return None  # what is published here is of images that were made
    side, channels = _number(row, "data.resolution"), _channels(row)
    if side is None or channels not in (3, LATENT_CHANNELS):
        return None
    return int(side) * (DOWNSAMPLING if channels == LATENT_CHANNELS else 1)


def near(row: Row, anchors: Sequence[Anchor]) -> list[Anchor]:
    """The published results of a cell's backbone, size, data, resolution and tokens, in the order of `anchors`."""
    if (side := imagenet_side(row)) is None:
        return []
    return [
        one
        for one in anchors
        if (one.data, one.conditioning, one.resolution) == (IMAGENET, "class", side)
        if one.backbone is not None
        and (one.backbone, one.size, one.tokens) == (row.get("model.family"), row.get("model.size"), row.get("tokens"))
    ]


def own_score(row: Row, name: str) -> float | None:
    """A cell's own value of what is published; None: it was not measured."""
    return next((found for column in OWN[name] if (found := _number(row, column)) is not None), None)


def gap(row: Row, anchor: Anchor) -> Gap:
    """In what a near result was made otherwise than a cell."""
    differ, unread, unrecorded = [], [], []
    for what, own, published, told in _compared(row, anchor):
        if published is None:
            unread.append(what)
        elif own is None:
            unrecorded.append(what)
        elif own != published:
            differ.append(f"{what} {told(own)}, published {told(published)}")
    return Gap((*_of_the_model(row, anchor), *differ, *_of_scores(row, anchor)), tuple(unread), tuple(unrecorded))


def _of_the_model(row: Row, anchor: Anchor) -> Iterator[str]:
    params = _number(row, "params")
    frozen = (_number(row, "tokens") or 0) * (_number(row, "model.width") or 0)  # position embedding, left out by DiT
    if anchor.params and params and not any(agrees(anchor.params, n / 1e6) for n in (params, params - frozen)):
        yield f"{params / 1e6:.1f} M parameters, published {anchor.params} M"
    own = "noise" if row.get("task") == "ddpm" else _text(row, "train.prediction") or "velocity"
    if anchor.objective not in (None, own):
        yield f"predicts {OBJECTIVES[own]}, published {OBJECTIVES[anchor.objective]}"
    # papers that have either name it as their own: of the others it is known
    if (times := _text(row, "train.times") or "uniform") != "uniform":
        yield f"training times {times}, published uniform"
    if (shift := _number(row, "evaluate.time_shift") or 1) != 1:
        yield f"steps shifted by {shift:g}, published even"


def _compared(row: Row, anchor: Anchor) -> Iterator[tuple[str, Any, Any, Told]]:
    """What is compared by value: in words, of the cell, as published, and how a value is told; None: not known."""
    if anchor.steps is None and anchor.images is not None:
        yield "training images", _images(row, anchor.images), anchor.images, lambda millions: f"{millions} M"
    else:
        yield "steps", _number(row, "train.steps"), anchor.steps, formatting.number
    yield "batch size", _number(row, "train.batch_size"), anchor.batch_size, formatting.number
    for key, value in anchor.train.known().items():
        yield from _of_recipe(row, key, value)
    yield "space", _space(row), _published_space(anchor), str
    yield "decoder", _decoder(row), anchor.decoder, str
    guidance = _number(row, "evaluate.guidance")
    yield "guidance", guidance, anchor.guidance, _plain
    if guidance not in (None, 1) and anchor.guidance not in (None, 1):
        own = _number(row, "evaluate.guidance_channels") or _channels(row)
        yield "guided channels", own, anchor.guidance_channels, _plain
        yield (
            "guidance interval",
            _interval(row),
            anchor.guidance_interval or (0, 1),
            lambda ends: f"{ends[0]} to {ends[1]}",
        )
    yield "sampler", row.get("evaluate.sampler") or None, anchor.sampler, lambda name: SAMPLERS.get(name, str(name))
    yield "NFE", _number(row, "evaluate.nfe"), anchor.nfe, formatting.number
    samples = _number(row, "metric_samples") or _number(row, "evaluate.samples")
    yield "samples", samples, anchor.samples, formatting.number
    yield "metric's weights", row.get("metric_extractor") or None, WEIGHTS.get(anchor.weights or ""), str
    yield "reference", _reference(row), anchor.reference and f"all of {anchor.reference}", str


def _images(row: Row, printed: str) -> str | None:
    """Millions of images seen, as printed where that is the same."""
    seen = _number(row, "images_seen")
    if seen is None:
        return None
    return printed if agrees(printed, seen / 1e6) else f"{seen / 1e6:.4g}"


def _of_recipe(row: Row, key: str, value: Any) -> Iterator[tuple[str, Any, Any, Told]]:
    column, what = f"train.{key}", key.replace("_", " ")
    own = row.get(column)
    if value is None:  # none, as of `clip`; a cell's own none is no value, and the same
        if not formatting.missing(own):
            yield what, own, "none", _plain
        return
    yield what, None if formatting.missing(own) else _comparable(own), _comparable(value), _plain


def _of_scores(row: Row, anchor: Anchor) -> Iterator[str]:
    lacking = [METRICS[name] for name in anchor.values if own_score(row, name) is None]
    if lacking:
        yield f"no {' or '.join(lacking)} was measured here"
    sampled, trained = _number(row, "evaluate.resolution"), _number(row, "data.resolution")
    if sampled is not None and trained is not None and sampled != trained:
        yield f"sampled at {sampled / trained:g} times the side that was trained on, published at the same"


def _space(row: Row) -> str:
    return f"latents f8d{LATENT_CHANNELS}" if _channels(row) == LATENT_CHANNELS else "pixels"


def _published_space(anchor: Anchor) -> str:
    return "pixels" if anchor.space == "pixels" else f"latents f{anchor.downsampling}d{anchor.channels}"


def _decoder(row: Row) -> str | None:
    """The last part of the autoencoder's path or name; pixels have none."""
    if _channels(row) != LATENT_CHANNELS:
        return "none"
    name = row.get("data.autoencoder")
    return None if formatting.missing(name) else re.split(r"[/\\]", str(name).rstrip("/\\"))[-1]


def _reference(row: Row) -> str | None:
    """Which split the reference images are, and whether all of it: a record names the set, the split and the side."""
    count = _number(row, "metric_reference_count")
    found = re.search(r"/(train|validation)/", str(row.get("metric_reference") or ""))
    if found is None or count is None:
        return None
    total = _number(row, "train_images" if found[1] == "train" else "val_images")
    return f"all of {found[1]}" if count == total else f"{count:,.0f} images of {found[1]}"


def _channels(row: Row) -> float | None:
    """Of what the model sees; records of before say it only where their suite did."""
    found = _number(row, "channels")
    return _number(row, "data.channels") if found is None else found


def _interval(row: Row) -> Any:
    found = row.get("evaluate.guidance_interval")
    return (0, 1) if formatting.missing(found) else _comparable(found)


def _text(row: Row, column: str) -> str | None:
    value = row.get(column)
    return None if formatting.missing(value) else str(value)


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    if formatting.missing(value) or isinstance(value, str | bool | list | tuple):
        return None
    return float(value)  # type: ignore[arg-type]


def _comparable(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's, of a table that was read from Parquet
    if isinstance(value, list | tuple):
        return tuple(float(part) for part in value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(f"{part:g}" for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
