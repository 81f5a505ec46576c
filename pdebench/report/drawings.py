"""The figures as files, for papers and slides: the page's charts, drawn for white paper with a legend of their own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from pdebench.errors import ResultsError, did_you_mean
from pdebench.report import palette, vega
from pdebench.report.charts import Figure, file_name, slug
from pdebench.report.looks import looks_of

FORMATS = ("svg", "pdf", "png")
USUAL = ("svg", "pdf")  # a PNG takes longer than both
WIDTH = 380  # pixels of the plot: a column of a page, where 11 px letters are 8 pt


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


def figure_files(
    figures: Sequence[Figure], families: Sequence[str], wanted: Sequence[str] = USUAL
) -> tuple[Mapping[str, Callable[[], bytes]], Callable[[], object]]:
    """What gives each figure in each of the formats wanted, by the name of its file; and what begins to draw them.

    `families` are those of the table, in the order of `frame.family_order`.
    Another process draws, from when it is asked to begin, or else from when the first file is asked for: where the
    names may not be written to it need not. What gives a file raises ResultsError where they could not be drawn.
    """
    named = [(name, spec) for figure in figures for name, spec in drawings(figure)]

    @cache
    def begin() -> vega.Job | None:
        config = palette.paper_config(looks_of(families))
        return vega.drawings([spec for _, spec in named], config, wanted) if named else None

    @cache
    def drawn() -> list[dict[str, str]]:
        job = begin()
        return job.result() if job else []

    files = {
        f"{file_name(name)}.{kind}": partial(_file, drawn, place, kind)
        for place, (name, _) in enumerate(named)
        for kind in wanted
    }
    return files, begin


def _file(drawn: Callable[[], list[dict[str, str]]], place: int, kind: str) -> bytes:
    return base64.b64decode(drawn()[place][kind])


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
