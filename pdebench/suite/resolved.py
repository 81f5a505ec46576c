"""What is settled of a suite's cells only where they run: the arithmetic, and what their data hold.

Before, a cell may say `train.precision: auto`, and of its data where they lie. Afterwards nothing that decides its
numbers is left open, and its identity is final.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pdebench.data import registry
from pdebench.errors import DataError, SuiteError
from pdebench.suite.config import Cell, DataConfig
from pdebench.suite.precision import Precision, precision_here


def as_here(cells: Iterable[Cell]) -> list[Cell]:
    """The cells as this machine runs them; one whose data are not to be had is left as it is."""
    content = cache(_content)
    cells = list(cells)
    precision = precision_here() if any(cell.train.precision == "auto" for cell in cells) else "fp32"
    return [_settled(cell, precision, content(cell.data)) for cell in cells]


def _content(data: DataConfig) -> str | None:
    try:
        return registry.content(data)
    except DataError:
        return data.content


def _settled(cell: Cell, precision: Precision, content: str | None) -> Cell:
    exact = precision if cell.train.precision == "auto" else cell.train.precision
    if (cell.data.content, cell.train.precision) == (content, exact):
        return cell
    return cell.with_sections(
        data=cell.data.model_copy(update={"content": content}),
        train=cell.train.model_copy(update={"precision": exact}),
    )


def resolved(cells: Iterable[Cell], precision: Precision) -> list[Cell]:
    """The cells as they are run, in their order.

    Args:
        cells: of a suite.
        precision: what `auto` means here.

    Raises:
        DataError: a data set is not there, or holds something else than the suite says (`data.content`).
        SuiteError: two cells turn out to be one.
    """
    content = cache(registry.content)
    found: dict[str, tuple[Cell, Cell]] = {}
    for cell in cells:
        held, asked = content(cell.data), cell.data.content
        if asked is not None and asked != held:
            raise DataError(_other_content(cell, asked, held))
        made = _settled(cell, precision, held)
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
    return f"data.path {other.data.path} and {cell.data.path} hold the same images; keep one of them"
