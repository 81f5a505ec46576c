"""What a mixer of another package does wrong, in a sentence for its author. Of ours it is a bug, and stays one."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdebench.errors import FOREIGN, ModelError, PdebenchError, out_of_memory
from pdebench.models.registry import Family

if TYPE_CHECKING:
    from pdebench.models.backbone import Backbone

_IMAGES = 2  # of one, a mixer that loses the batch's axis would go unseen
_LONGEST = 300  # characters of what its error says


@contextmanager
def blamed_on_mixer(family: Family, done: str) -> Iterator[None]:
    """What is done here with a model of another package's family fails with a `ModelError`, whatever it raises.

    Args:
        family: whose mixer runs.
        done: what its mixer then cannot be, such as `counted`.

    Raises:
        ModelError: names the family, the error and the line of the package that it was raised at.
    """
    try:
        yield
    except PdebenchError:  # a sentence already
        raise
    except FOREIGN as error:
        if not family.of_another_package or out_of_memory(error):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        where = _line(error, family.mixer.partition(".")[0])
        raise ModelError(f"family '{family.name}': its mixer {family.mixer} cannot be {done}: {said}{where}") from error


def _line(error: BaseException, package: str) -> str:
    """The last line of a package that an error came by, as the end of a sentence; empty where it came by none."""
    lines = [
        f" ({Path(frame.f_code.co_filename).name}, line {line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] == package
    ]
    return lines[-1] if lines else ""


def check_shapes(model: Backbone, family: Family) -> None:
    """See that another package's mixers give tokens of the shape that they were given.

    One that gives another may still be added to its tokens, and then mixes something else than it says.

    Args:
        model: on the meta device, where nothing is computed.
        family: whose mixers it has.

    Raises:
        ModelError: one gives another shape, or no tensor.
    """
    if not family.of_another_package:
        return
    width = model.pos_embed.shape[-1]
    tokens = torch.zeros(_IMAGES, math.prod(model.grid), width, device="meta")
    conditioning = None if model.t_embedder is None else torch.zeros(_IMAGES, width, device="meta")
    with torch.no_grad():
        for block in model.blocks:
            mixed = block.mixer(tokens, conditioning)  # type: ignore[operator, union-attr]
            if not isinstance(mixed, Tensor) or mixed.shape != tokens.shape:
                gives = tuple(mixed.shape) if isinstance(mixed, Tensor) else f"a {type(mixed).__name__}"
                raise ModelError(
                    f"family '{family.name}': its mixer {family.mixer} gives {gives} of tokens "
                    f"{tuple(tokens.shape)}: it must keep their shape, (B, N, D)"
                )
