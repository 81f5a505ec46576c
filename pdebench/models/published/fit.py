"""From a state dict in a published layout to a backbone's name, arguments and weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdebench.errors import ModelError
from pdebench.models.embedding import sincos_position_embedding
from pdebench.models.published.layouts import Measures, PublishedLayout
from pdebench.models.registry import FAMILIES, Family
from pdebench.models.sizes import SIZES

FAR = 1e-4  # of a position embedding from sines and cosines, which different machines round differently


@dataclass(frozen=True)
class Fitted:
    """A published model as one of ours.

    Attributes:
        name: as `create_model` takes it.
        build: its arguments, plain data.
        state: its weights, for `load_state_dict`.
        measures: what its shapes say.
        remarks: what is unlike the published models, a sentence each.
    """

    name: str
    build: dict[str, Any]
    state: dict[str, Tensor]
    measures: Measures
    remarks: tuple[str, ...]

    @property
    def params(self) -> int:
        """Numbers in its weights, the frozen position embedding included."""
        return sum(tensor.numel() for tensor in self.state.values())


def fitted(weights: Mapping[str, Tensor], layout: PublishedLayout, heads: int | None = None) -> Fitted:
    """Read the dimensions from the shapes, see that every tensor is there and of its shape, and take our names.

    Args:
        weights: by their published names.
        layout: of the repository that they are from.
        heads: of attention, where no shape tells them; None: those of the size with that depth and width.

    Raises:
        ModelError: a tensor is missing, is of another shape, is of no such model or is not finite; or the heads are not
            known, or do not divide the width.
    """
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(layout.left_out or ("\0",))}
    found = _measures(given, layout)
    expected = layout.shapes(found)
    for name, shape in expected.items():
        _shape(given, name, layout, shape)
    if foreign := sorted(given.keys() - expected.keys()):
        raise ModelError(f"no {layout.name} has a tensor {foreign[0][:80]}, and this file has {len(foreign)} such")
    if burst := [name for name, tensor in given.items() if not tensor.isfinite().all()]:
        raise ModelError(f"its tensor {burst[0]} holds values that are NaN or infinite")
    family = FAMILIES[layout.family]
    size, heads = _size(family, found, found.width // found.head if found.head else heads)
    build: dict[str, Any] = {"input_size": found.side, "in_channels": found.channels, "num_classes": found.classes}
    if found.made != found.channels:
        build["out_channels"] = found.made
    build |= {"depth": found.depth, "width": found.width, "heads": heads, "mlp_hidden": found.hidden}
    grid = found.side // found.patch
    places = sincos_position_embedding((grid, grid), found.width)
    remarks = []
    held = given["pos_embed"]
    if (held.float() - places).abs().max() > max(FAR, torch.finfo(held.dtype).eps):
        remarks.append("its position embedding is not of sines and cosines, and serves no other resolution")
    return Fitted(f"{layout.family}-{size}/{found.patch}", build, layout.rewritten(given, found), found, tuple(remarks))


def _measures(weights: Mapping[str, Tensor], layout: PublishedLayout) -> Measures:
    width, channels, patch, other = _shape(weights, "x_embedder.proj.weight", layout, (None,) * 4)
    if not width or width % 4 or not channels or not patch or other != patch:
        raise ModelError(
            f"x_embedder.proj.weight is {(width, channels, patch, other)}, where (width, channels, patch, patch) "
            "belongs, of a width that is a multiple of 4"
        )
    _, tokens, _ = _shape(weights, "pos_embed", layout, (1, None, width))
    grid = math.isqrt(tokens)
    if not grid or grid**2 != tokens:
        raise ModelError(f"pos_embed is {(1, tokens, width)}: {tokens} tokens are no square, as {layout.name}'s are")
    rows, _ = _shape(weights, "y_embedder.embedding_table.weight", layout, (None, width))
    if rows < 2:
        raise ModelError(
            f"y_embedder.embedding_table.weight has {rows} rows, where one a class and one for none belong"
        )
    numbers = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    depth = len(numbers)
    if missing := [number for number in range(max(1, depth)) if str(number) not in numbers]:
        raise ModelError(f"it lacks blocks.{missing[0]}, and has {depth} blocks by other numbers")
    if depth % layout.turns:
        raise ModelError(f"it has {depth} blocks, where {layout.name} has a multiple of {layout.turns}")
    _, hidden = _shape(weights, f"blocks.0.{layout.hidden}", layout, (width, None))
    head = _shape(weights, f"blocks.0.{layout.head}", layout, (None,))[0] if layout.head else None
    if head is not None and (not head or width % head):
        raise ModelError(f"its tensor blocks.0.{layout.head} has {head} numbers, which do not divide the width {width}")
    last, _ = _shape(weights, "final_layer.linear.weight", layout, (None, width))
    made, rest = divmod(last, patch * patch)
    allowed = [channels * (2 if twice else 1) for twice in (True, False) if layout.variance in (None, twice)]
    if rest or made not in allowed:
        wanted = " or ".join(str((patch * patch * one, width)) for one in allowed)
        raise ModelError(
            f"final_layer.linear.weight is {(last, width)}, where {wanted} belongs: patches of {patch} x {patch} and "
            f"{' or '.join(map(str, allowed))} channels, of images of {channels}"
        )
    return Measures(depth, width, hidden, patch, grid * patch, channels, made, rows - 1, head)


def _shape(
    weights: Mapping[str, Tensor], name: str, layout: PublishedLayout, expected: tuple[int | None, ...]
) -> tuple[int, ...]:
    """A tensor's shape; None stands for any number.

    Raises:
        ModelError: the tensor is missing, or of another shape.
    """
    if name not in weights:
        raise ModelError(f"it lacks the tensor {name}, which every {layout.name} of its depth has")
    shape = tuple(weights[name].shape)
    if len(shape) != len(expected) or any(one not in (None, other) for one, other in zip(expected, shape, strict=True)):
        wanted = f"({', '.join('any' if one is None else str(one) for one in expected)})"
        raise ModelError(f"its tensor {name} is {shape}, where {wanted} belongs")
    return shape


def _size(family: Family, found: Measures, heads: int | None) -> tuple[str, int | None]:
    """The name of the size, and the heads; beside the table, the name of the nearest size."""
    for name in SIZES:
        depth, width, usual = family.size(name)
        if (depth, width) == (found.depth, found.width):
            break
    else:
        if family.heads and heads is None:
            raise ModelError(
                f"no size of {family.name} has {found.depth} blocks of width {found.width}, and no tensor tells the "
                "heads of attention: give --heads"
            )
        name = min(SIZES, key=lambda one: abs(math.log(_volume(*family.size(one)[:2]) / _volume(*found[:2]))))
        usual = heads or 0
    if not family.heads:
        return name, None
    chosen = heads or usual
    if chosen < 1 or found.width % (family.heads * chosen):
        raise ModelError(f"{chosen} heads do not divide the width {found.width}: give others with --heads")
    return name, chosen


def _volume(depth: int, width: int) -> int:
    return depth * width**2
