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
    """PNG files by name: maps and curves of every layer, of clips what happens in time, and of a PDE its physics."""
    import vl_convert

    charts = {
        "receptive_field.png": _maps({f"layer {one.layer}": one.field_map for one in found.mixers}, signed=False),
        "impulse_response.png": _maps({f"layer {one.layer}": one.impulse for one in found.mixers}, signed=True),
        "frequency_response.png": _responses(found),
        "mixing_length.png": _lengths(found),
    }
    if found.of_clips:
        charts["time.png"] = _time(found)
    if any(mixer.physics for mixer in found.mixers):
        charts["physics.png"] = _physics(found)
    frame = ", in its frame" if found.of_clips else ""
    titles = {
        "receptive_field.png": f"where the centre token's gradient energy lies{frame} (share of it, logarithmic)",
        "impulse_response.png": f"leading impulse response of the centre token to each token{frame}, signed",
        "frequency_response.png": "gain, and phase against the mean, by spatial frequency",
        "mixing_length.png": f"mixing length by layer{f' and time (0 noise, 1 {found.noun})' if found.noised else ''}",
        "time.png": "share of the gradient energy by tokens of time, and gain by frequency in time",
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
        x=alt.X("cycles:Q", title="cycles a frame" if found.of_clips else "cycles an image"), color=_layer()
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
    )  # fmt: skip
    if found.noised:
        chart = chart.encode(color=alt.Color("time:N", title=None), strokeDash=alt.StrokeDash("time:N", title=None))
    return chart.properties(width=400, height=220)


def _time(found: Survey) -> Picture:
    """Where in time the centre token's input comes from, and what becomes of waves that change with time alone."""
    shares: Rows = [
        {"layer": one.layer, "later": place - len(one.by_time) // 2, "share": share}
        for one in found.mixers
        if one.by_time is not None
        for place, share in enumerate(one.by_time)
    ]
    gains: Rows = [
        {"layer": one.layer, "cycles": cycles, "gain": gain}
        for one in found.mixers
        if one.time_frequency is not None
        for cycles, gain in zip(one.time_frequency.cycles, one.time_frequency.gain, strict=True)
    ]
    by_time = alt.Chart(alt.Data(values=shares)).mark_line(point=True).encode(
        x=alt.X("later:Q", title="tokens later than the centre token"),
        y=alt.Y("share:Q", title="share of the gradient energy"),
        color=_layer(),
    )  # fmt: skip
    gain = alt.Chart(alt.Data(values=gains)).mark_line(point=True).encode(
        x=alt.X("cycles:Q", title="cycles a clip"), y=alt.Y("gain:Q", title="gain"), color=_layer()
    )  # fmt: skip
    return alt.hconcat(by_time.properties(width=300, height=220), gain.properties(width=300, height=220))


def _physics(found: Survey) -> Picture:
    rows: Rows = [
        {"layer": one.layer, "place": place / len(one.physics.length), **dict(zip(terms, values, strict=True))}
        for one in found.mixers
        if one.physics is not None
        for terms in [one.physics.terms]
        for place, values in enumerate(zip(*terms.values(), strict=True))
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
    if found.of_clips:
        panels += [
            dots.encode(y=alt.Y("time_length:Q", title="diffusive length in time, tokens", scale=log)),
            dots.encode(y=alt.Y("time_drift:Q", title="drift in time, tokens later", scale=log)),
        ]
    return alt.hconcat(*(panel.properties(width=220, height=220) for panel in panels))


def _layer() -> alt.Color:
    return alt.Color("layer:O", title="layer", scale=alt.Scale(scheme="viridis"))
