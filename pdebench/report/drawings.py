"""The figures as files, for papers and slides: the page's charts, drawn for white paper with a legend of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from pdebench.report import palette
from pdebench.report.charts import Figure, file_name, slug
from pdebench.store import write_atomic

SUFFIXES = (".svg", ".pdf", ".png")
WIDTH = 380  # pixels of the plot: a column of a page, where 11 px letters are 8 pt
PIXELS = 2  # of a PNG for each of these; its time grows with their number


def write_figures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write each figure into the folder as SVG, PDF and PNG; returns the files.

    Raises:
        ResultsError: the folder cannot be written.
    """
    written = []
    for figure in figures:
        for name, spec in drawings(figure):
            svg = vl_convert.vegalite_to_svg(spec, config=palette.paper_config())
            contents: dict[str, str | bytes] = {
                ".svg": svg,
                ".pdf": vl_convert.svg_to_pdf(svg),
                ".png": vl_convert.svg_to_png(svg, scale=PIXELS),
            }
            for suffix, content in contents.items():
                path = folder / f"{file_name(name)}{suffix}"
                write_atomic(path, content)
                written.append(path)
    return written


def drawings(figure: Figure) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figure's name and what to draw; paper has no menus, so a figure with one is drawn for each choice."""
    spec = figure.spec()
    if spec.get("width") == "container":  # on the page as wide as its place
        spec |= {"width": WIDTH, "autosize": {"type": "pad"}}
    menus = [param for param in spec.get("params", []) if "options" in param.get("bind", {})]
    if not menus:
        yield figure.name, spec
        return
    menu = menus[0]
    for choice in menu["bind"]["options"]:
        params = [{"name": menu["name"], "value": choice} if param is menu else param for param in spec["params"]]
        yield f"{figure.name}-{slug(str(choice))}", {**spec, "params": params}
