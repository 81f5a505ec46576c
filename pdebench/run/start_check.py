"""Whether a checkpoint may begin a cell's training, as far as its header says. Importing this imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from pdebench.errors import ModelError, refused_by_system
from pdebench.files import disk, weights_file
from pdebench.models.registry import FAMILIES, parse_name
from pdebench.suite.config import Cell


def check_start(cell: Cell, *, sized: bool = True) -> None:
    """See that the checkpoint that a cell begins with is of its family, width and patch.

    `sized`: whether its width is known yet.

    Raises:
        ModelError: it is not, or it is no checkpoint.
    """
    if cell.train.init is None:
        return
    path = disk.expanded(cell.train.init)
    try:
        with disk.open_plain(path, follow=True) as file:
            about = weights_file.read_about(file)
        theirs, width = about["model"], json.loads(about["build"])["width"]
    except (OSError, disk.NotPlain, ValueError, LookupError, TypeError) as error:
        if why := refused_by_system(error):
            raise ModelError(f"train.init: cannot read {path}: {why}") from None
        raise ModelError(f"train.init: {path} is not a checkpoint of pdebench: name one that a cell left") from None
    model = cell.model
    options = FAMILIES[model.family].options(**model.options)
    own_width = FAMILIES[model.family].dimensions(model.size, options, **model.dimensions).width if sized else width
    refuse_other_models(path, theirs, width, f"{model.family}-{model.size}/{model.patch}", own_width)


def refuse_other_models(path: Path, theirs: str, their_width: int, ours: str, our_width: int) -> None:
    """Refuse a checkpoint of another family, width or patch, by the names of both models.

    Raises:
        ModelError: it is.
    """
    (family, _, patch), (our_family, _, our_patch) = parse_name(theirs), parse_name(ours)
    for what, one, other in (
        ("family", family.name, our_family.name),
        ("width", their_width, our_width),
        ("patch", patch, our_patch),
    ):
        if one != other:
            raise ModelError(
                f"train.init: {path} is a {theirs} of {what} {one}, and this cell's {ours} has {what} {other}: begin "
                f"with a checkpoint of the same family, width and patch, or leave init out"
            )
