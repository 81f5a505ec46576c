"""Pictures of one survey, for `pdebench inspect --out`: one panel a layer. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from pdebench.measure.spatial.findings import Map, Survey

Rows = list[dict[str, Any]]
Picture = Any  # Altair's kinds of charts share no type that has all of their methods
COLUMNS, SIDE = 4, 128  # panels beside each other, and their side in pixels, about


def pictures(found: Survey, title: str) -> dict[str, bytes]:
    """PNG files by name: maps and curves of every layer, and of a PDE its learned physics."""
    import vl_convert

    charts = {
        "receptive_field.png": _maps({f"layer {one.layer}": one.field_map for one in found.mixers}, signed=False),
        "impulse_response.png": _maps({f"layer {one.layer}": one.impulse for one in found.mixers}, signed=True),
        "frequency_response.png": _responses(found),
        "mixing_length.png": _lengths(found),
    }
    if any(mixer.physics for mixer in found.mixers):
        charts["physics.png"] = _physics(found)
    titles = {
        "receptive_field.png": "where the centre token's gradient energy lies (share of it, logarithmic)",
        "impulse_response.png": "leading impulse response of the centre token to each token, signed",
        "frequency_response.png": "gain, and phase against the mean, by spatial frequency",
        "mixing_length.png": "mixing length by layer and time (0 noise, 1 image)",
        "physics.png": "learned physics by layer, one dot a channel",
    }
    drawn = {}
    for name, chart in charts.items():
        named = chart.properties(title=alt.TitleParams(f"{title}: {titles[name]}", anchor="start", fontSize=12))
        drawn[name] = vl_convert.vegalite_to_png(named.to_json(validate=False), scale=2)
    return drawn


def heat(values: Map, *, signed: bool) -> list[list[float]]:
    """A map as brightness: shares from 1e-4 of the largest on, to 1, logarithmic; signed ones as shares of it, -1 to 1.

    Most maps are a point with a faint surrounding, which a linear scale would hide; of signed ones the square root is
    taken for the same reason.
    """
    import numpy as np

    array = np.array(values)
    largest = np.abs(array).max() or 1.0
    if signed:
        shown = np.sign(array) * np.sqrt(np.abs(array) / largest)
    else:
        shown = np.clip(1 + np.log10(np.maximum(array / largest, 1e-30)) / 4, 0, 1)
    return shown.round(3).tolist()  # type: ignore[no-any-return]


def _maps(maps: Mapping[str, Map], *, signed: bool) -> Picture:
    rows: Rows = [
        {"panel": panel, "down": down, "right": right, "heat": value}
        for panel, values in maps.items()
        for down, line in enumerate(heat(values, signed=signed))
        for right, value in enumerate(line)
    ]
    scale = alt.Scale(scheme="purpleorange", domain=[-1, 1]) if signed else alt.Scale(scheme="viridis", domain=[0, 1])
    labels = "datum.value" if signed else "'1e' + format((datum.value - 1) * 4, '.0f')"
    ticks = [-1, 0, 1] if signed else [0, 0.25, 0.5, 0.75, 1]
    legend = alt.Legend(title="root of share of largest" if signed else "share of largest", values=ticks)
    legend.labelExpr = labels
    chart = alt.Chart(alt.Data(values=rows)).mark_rect()
    encoded = chart.encode(
        x=alt.X("right:O", axis=None),
        y=alt.Y("down:O", axis=None),
        color=alt.Color("heat:Q", scale=scale, legend=legend),
    )
    facet = alt.Facet("panel:N", title=None, sort=list(maps))
    cells = max(1 + row["right"] for row in rows)
    side = cells * max(1, round(SIDE / cells))  # whole pixels a token: no seams
    return encoded.properties(width=side, height=side).facet(facet, columns=COLUMNS)


def _responses(found: Survey) -> Picture:
    rows: Rows = [
        {"layer": one.layer, "cycles": cycles, "gain": gain, "phase": phase}
        for one in found.mixers
        for cycles, gain, phase in zip(one.frequency.cycles, one.frequency.gain, one.frequency.phase, strict=True)
    ]
    lines = alt.Chart(alt.Data(values=rows)).mark_line(point=True).encode(
        x=alt.X("cycles:Q", title="cycles an image"), color=_layer()
    )  # fmt: skip
    gain = lines.encode(y=alt.Y("gain:Q", title="gain", scale=alt.Scale(zero=True)))
    phase = lines.encode(y=alt.Y("phase:Q", title="phase against the mean, radians"))
    return alt.hconcat(gain.properties(width=300, height=220), phase.properties(width=300, height=220))


def _lengths(found: Survey) -> Picture:
    rows: Rows = [
        {"layer": one.layer, "time": f"t = {time:g}", "length": length}
        for one in found.mixers
        for time, length in zip(found.times, one.lengths, strict=True)
        if length is not None
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True).encode(
        x=alt.X("layer:O", title="layer"),
        y=alt.Y("length:Q", title="mixing length, tokens", scale=alt.Scale(zero=True)),
        color=alt.Color("time:N", title=None),
        strokeDash=alt.StrokeDash("time:N", title=None),
    )  # fmt: skip
    return chart.properties(width=400, height=220)


def _physics(found: Survey) -> Picture:
    rows: Rows = [
        {"layer": one.layer, "length": length, "drift": drift, "decay": decay, "place": place / len(one.physics.length)}
        for one in found.mixers
        if one.physics is not None
        for place, (length, drift, decay) in enumerate(
            zip(one.physics.length, one.physics.drift, one.physics.decay, strict=True)
        )
    ]
    dots = alt.Chart(alt.Data(values=rows)).mark_circle(size=18, opacity=0.6).encode(
        x=alt.X("layer:O", title="layer"), xOffset=alt.XOffset("place:Q"), color=_layer()
    )  # fmt: skip
    log = alt.Scale(type="symlog", constant=0.1)
    panels = [
        dots.encode(y=alt.Y("length:Q", title="diffusive length, tokens", scale=log)),
        dots.encode(y=alt.Y("drift:Q", title="drift, tokens", scale=log)),
        dots.encode(y=alt.Y("decay:Q", title="left of a constant, exp(tau r)", scale=alt.Scale(zero=False))),
    ]
    return alt.hconcat(*(panel.properties(width=220, height=220) for panel in panels))


def _layer() -> alt.Color:
    return alt.Color("layer:O", title="layer", scale=alt.Scale(scheme="viridis"))
