"""What is settled of a suite's cells only where they run: the arithmetic, and what their data hold.

Before, a cell may say `train.precision: auto`, and of its data where they lie. Afterwards nothing that decides its
numbers is left open, and its identity is final.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pdebench.data import registry
from pdebench.data.digests import file_digests
from pdebench.errors import DataError, SuiteError
from pdebench.files.disk import expanded
from pdebench.suite.config import Cell, DataConfig
from pdebench.suite.precision import Precision, precision_here
from pdebench.tasks.training import TrainSection


def as_here(cells: Iterable[Cell]) -> list[Cell]:
    """The cells as this machine runs them; one whose data or checkpoint are not to be had is left as it is."""
    content, begun = cache(_content), cache(_begun)
    cells = list(cells)
    precision = precision_here() if any(cell.train.precision == "auto" for cell in cells) else "fp32"
    return [_settled(cell, precision, content(cell.data), begun(cell.train)) for cell in cells]


def _content(data: DataConfig) -> str | None:
    try:
        return registry.content(data)
    except DataError:
        return data.content


def _begun(train: TrainSection) -> str | None:
    try:
        return init_content(train)
    except DataError:
        return train.init_content


def init_content(train: TrainSection) -> str | None:
    """A digest of the checkpoint that a training begins with; None where it begins with none.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    if train.init is None:
        return None
    path = expanded(train.init)
    if not path.is_file():
        raise DataError(f"train.init: there is no checkpoint {path}; a relative path begins at its suite's file")
    return file_digests([path])[0][:32]


def _settled(cell: Cell, precision: Precision, content: str | None, begun: str | None) -> Cell:
    exact = precision if cell.train.precision == "auto" else cell.train.precision
    if (cell.data.content, cell.train.precision, cell.train.init_content) == (content, exact, begun):
        return cell
    return cell.with_sections(
        data=cell.data.model_copy(update={"content": content}),
        train=cell.train.model_copy(update={"precision": exact, "init_content": begun}),
    )


def resolved(cells: Iterable[Cell], precision: Precision) -> list[Cell]:
    """The cells as they are run, in their order.

    Args:
        cells: of a suite.
        precision: what `auto` means here.

    Raises:
        DataError: a data set or a checkpoint to begin with is not there, or holds something else than the suite says
            (`data.content`, `train.init_content`).
        SuiteError: two cells turn out to be one.
    """
    content, begun = cache(registry.content), cache(init_content)
    found: dict[str, tuple[Cell, Cell]] = {}
    for cell in cells:
        held, asked = content(cell.data), cell.data.content
        if asked is not None and asked != held:
            raise DataError(_other_content(cell, asked, held))
        start = begun(cell.train)
        if cell.train.init_content not in (None, start):
            raise DataError(
                f"train.init_content is {cell.train.init_content} in the suite, and train.init, {cell.train.init}, is "
                f"{start}: put that checkpoint there, or remove the key"
            )
        made = _settled(cell, precision, held, start)
        if made.id in found:
            raise SuiteError(_said_twice(cell, found[made.id][1]))
        found[made.id] = (made, cell)
    return [made for made, _ in found.values()]


def _other_content(cell: Cell, asked: str, held: str | None) -> str:
    if held is None:
        return f"data set '{cell.data.name}' is known by its name: remove data.content"
    where = cell.data.path or f"data set '{cell.data.name}'"
    return f"data.content is {asked} in the suite, and {where} holds {held}: put those images there, or remove the key"


def _said_twice(cell: Cell, other: Cell) -> str:
    if cell.train.precision != other.train.precision:
        both = f"train.precision {other.train.precision} and {cell.train.precision}"
        return f"{both} are one and the same here; keep one of them"
    if cell.data.path == other.data.path:
        return f"train.init {other.train.init} and {cell.train.init} are the same checkpoint; keep one of them"
    return f"data.path {other.data.path} and {cell.data.path} hold the same images; keep one of them"
