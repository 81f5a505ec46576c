"""The figures as files, for papers and slides: the page's charts, drawn for white paper with a legend of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import vl_convert

from pdebench.errors import ResultsError, did_you_mean
from pdebench.report import palette
from pdebench.report.charts import Figure, file_name, slug

FORMATS = ("svg", "pdf", "png")
USUAL = ("svg", "pdf")  # a PNG takes longer than both
WIDTH = 380  # pixels of the plot: a column of a page, where 11 px letters are 8 pt
PIXELS = 2  # of a PNG for each of these; its time grows with their number


def formats(text: str) -> tuple[str, ...]:
    """The formats of a list such as `svg,pdf`.

    Raises:
        ResultsError: one of them is none that figures are written in.
    """
    named = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in named:
        if name not in FORMATS:
            raise ResultsError(f"--figures {text}: there is no format {name!r}; {did_you_mean(name, FORMATS)}")
    return named


def figure_files(figures: Sequence[Figure], wanted: Sequence[str] = USUAL) -> dict[str, Callable[[], str | bytes]]:
    """What draws each figure in each of the formats wanted, by the name of its file."""
    draw: dict[str, Callable[[str], str | bytes]] = {
        "svg": str,
        "pdf": vl_convert.svg_to_pdf,
        "png": partial(vl_convert.svg_to_png, scale=PIXELS),
    }
    files: dict[str, Callable[[], str | bytes]] = {}
    for figure in figures:
        for name, spec in drawings(figure):
            svg = cache(partial(vl_convert.vegalite_to_svg, spec, config=palette.paper_config()))
            for kind in wanted:
                files[f"{file_name(name)}.{kind}"] = partial(_drawn, draw[kind], svg)
    return files


def _drawn(draw: Callable[[str], str | bytes], svg: Callable[[], str]) -> str | bytes:
    return draw(svg())


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
