"""One colour and one shape a family, the same in chart, key and table, on a light page and a dark one.

The built-in families have the first ones, in their order; the further ones are for those of other packages, as
`looks.py` gives them out.

Neighbours in the order differ in lightness as well as in hue, and the shape repeats what the colour says,
so that the charts can be read without colour. Charts leave colours to Vega's configuration: on the page they
are CSS variables, so that one drawing follows the reader's colour scheme and the printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdebench.report.looks import Look

LIGHT = (
    "#0067b1",
    "#d1500a",
    "#00896b",
    "#a8459f",
    "#a87400",
    "#3f93cf",
    "#8b2252",
    "#5645a8",
    "#77841a",
    "#6f4e37",
    "#c62839",
    "#007c91",
    "#7a3fb0",
    "#4c7a1e",
    "#b0487a",
    "#2f5d8a",
    "#5f6875",
    "#9a5b1f",
    "#3a8f5c",
    "#805a9c",
    "#b5533c",
    "#5a6e8c",
    "#946b2d",
    "#4f7a70",
    "#6b6bb0",
)
DARK = (
    "#55aaf5",
    "#ff8c52",
    "#2fc9a0",
    "#e08ad8",
    "#f0bd3d",
    "#a9ddfb",
    "#f0709f",
    "#a79aff",
    "#c6d04a",
    "#cfa98c",
    "#ff7b8a",
    "#4fd0e6",
    "#c79bff",
    "#a3d96b",
    "#ff9fcb",
    "#8fc0f0",
    "#a3acb8",
    "#e3a865",
    "#7fe0a6",
    "#cfaee8",
    "#f2a08c",
    "#b3c4de",
    "#e0bd7f",
    "#a6d6cb",
    "#b8b8f0",
)
SHAPES = (
    "M0,-1A1,1,0,1,1,0,1A1,1,0,1,1,0,-1Z",  # disc
    "M-.89,-.89H.89V.89H-.89Z",  # square
    "M0,-1.1L1.05,.8H-1.05Z",  # triangle up
    "M0,-1.25L1.05,0L0,1.25L-1.05,0Z",  # diamond
    "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",  # plus
    "M0,1.1L1.05,-.8H-1.05Z",  # triangle down
    "M-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0L-1,-.5Z",  # cross
    "M1.1,0L-.8,1.05V-1.05Z",  # triangle right
    "M0,-1.1L1.05,-.34L.65,.89H-.65L-1.05,-.34Z",  # pentagon
    "M-1.1,0L.8,1.05V-1.05Z",  # triangle left
    "M0,-1.1L.95,-.55V.55L0,1.1L-.95,.55V-.55Z",  # hexagon
    "M-1,-1H1L-1,1H1Z",  # hourglass
    "M0,-1.2L.32,-.32L1.2,0L.32,.32L0,1.2L-.32,.32L-1.2,0L-.32,-.32Z",  # star of four
    "M-1,-1L1,1V-1L-1,1Z",  # hourglass, lying
    "M-1.05,.5A1.05,1.05,0,1,1,1.05,.5Z",  # half a disc, upper
    "M0,-1.2C.9,-.2,.9,.9,0,1C-.9,.9,-.9,-.2,0,-1.2Z",  # drop
    "M0,-1.2L.3,-.35L1.2,-.35L.48,.15L.75,1L0,.5L-.75,1L-.48,.15L-1.2,-.35L-.3,-.35Z",  # star
    "M-1.1,-.45H1.1V.45H-1.1Z",  # bar
    "M1.05,-.5A1.05,1.05,0,1,1,-1.05,-.5Z",  # half a disc, lower
    "M-.45,-1.1H.45V1.1H-.45Z",  # pole
    "M0,-1L1,0V.9L0,-.1L-1,.9V0Z",  # chevron
    "M-.45,-.9H1.2L.45,.9H-1.2Z",  # parallelogram
    "M-1.1,-1H1.1V-.3H.4V1H-.4V-.3H-1.1Z",  # tee
    "M-1.2,0Q0,-1.4,1.2,0Q0,1.4,-1.2,0Z",  # lens
    "M-1.1,1V-1H-.4V.3H1.1V1Z",  # ell
)
"""SVG paths within about 1 of the origin, as Vega takes them."""

BUILT_IN = 17
"""How many of each are the built-in families' own."""


def css(looks: Sequence[Look]) -> str:
    """The families' colours as CSS variables `--family-0` and on, for both schemes."""
    light = "".join(f"--family-{place}:{look.light};" for place, look in enumerate(looks))
    dark = "".join(f"--family-{place}:{look.dark};" for place, look in enumerate(looks))
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def page_config(looks: Sequence[Look]) -> dict[str, Any]:
    """Vega-Lite's `config` on the page: ink from the text around it, legends left to the page's own."""
    ink = "currentColor"
    return {
        "background": None,
        "aria": False,  # the figure carries one sentence; hundreds of labelled marks would drown it
        "font": "inherit",
        "view": {"stroke": None},
        "range": {
            "category": [f"var(--family-{place})" for place in range(len(looks))],
            "symbol": [look.shape for look in looks],
        },
        "axis": {
            "labelColor": ink,
            "labelOpacity": 0.72,
            "labelFontSize": 11,
            "labelOverlap": True,
            "titleColor": ink,
            "titleOpacity": 0.9,
            "titleFontSize": 11.5,
            "titleFontWeight": 500,
            "titlePadding": 8,
            "domainColor": ink,
            "domainOpacity": 0.45,
            "tickColor": ink,
            "tickOpacity": 0.45,
            "tickSize": 4,
            "gridColor": ink,
            "gridOpacity": 0.1,
        },
        "axisX": {"grid": False},
    }


def paper_config(looks: Sequence[Look]) -> dict[str, Any]:
    """Vega-Lite's `config` in a file of its own: the light palette on white, and a legend, since there is no key."""
    ink, quiet = "#16202b", "#55616e"
    axis = {key: ink if value == "currentColor" else value for key, value in page_config(looks)["axis"].items()}
    return {
        **page_config(looks),
        "background": "white",
        "font": "Helvetica, Arial, sans-serif",
        "range": {"category": [look.light for look in looks], "symbol": [look.shape for look in looks]},
        "axis": axis,
        "legend": {
            "orient": "bottom",
            "columns": 4,
            "labelColor": ink,
            "titleColor": quiet,
            "symbolSize": 80,
            "symbolOpacity": 1,  # not the faintest of the marks that the key stands for
        },
    }
