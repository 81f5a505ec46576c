"""Charts and pictures of the section on space: curves by frequency, depth and time, and receptive fields."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image

from pdebench.measure.spatial.findings import FrequencyResponse, Map
from pdebench.measure.spatial.pictures import heat
from pdebench.report import formatting
from pdebench.report.charts import Chart, Figure, Layers, Row, color_of, digits
from pdebench.report.frame import family_order
from pdebench.report.sections.spatial_runs import Seen

# nine colours of viridis, dark to light: perceptually even, and told apart by the colour-blind
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")

TERMS = (
    ("length", "Diffusive length", "diffusive length, tokens"),
    ("drift", "Drift", "drift, tokens"),
    ("time_length", "Diffusive length in time", "diffusive length, tokens of time"),
    ("time_drift", "Drift in time", "drift, tokens later"),
    ("decay", "What reaction leaves of a constant", "exp(tau r)"),
)

TOKENS = "mixing length, tokens"


def field_uri(maps: Sequence[Map]) -> str:
    """The mean of the layers' receptive fields as a PNG in a data URI, one pixel a token; see `heat` for the scale."""
    shown = np.array(heat(np.mean([np.array(one) for one in maps], axis=0).tolist(), signed=False))
    colours = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in VIRIDIS])
    places = np.linspace(0, 1, len(VIRIDIS))
    pixels = np.stack([np.interp(shown, places, colours[:, channel]) for channel in range(3)], -1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def state_figures(
    seen: Sequence[Seen], table: pd.DataFrame, kind: Literal["frequency", "length", "time"]
) -> list[Figure]:
    """For each place and state of training: gain and phase by frequency; or mixing length by depth, and by time where
    there is noise; or of clips where in time input comes from, and gain by frequency there.
    """
    makers = {"frequency": (_gain, _phase), "length": (_by_depth, _by_time), "time": (_shares, _gain_in_time)}[kind]
    figures = []
    for place, state in dict.fromkeys((one.place, one.state) for one in seen):
        own = [one for one in seen if (one.place, one.state) == (place, state)]
        where = f"{place}, {state}" if len({one.place for one in seen}) > 1 else state
        figures += [figure for make in makers if (figure := make(own, table, where)) is not None]
    return figures


def _gain(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = [row for one in seen for row in _gains(one, [mixer.frequency for mixer in one.found.mixers])]
    title, cycles = f"Gain by spatial frequency, {where}", _cycles(seen)
    sentence = (
        f"{title}, over that at one cycle {cycles}: {_ends(rows, 'at the finest')}. Below 1 a mixer smooths, above 1 "
        "it sharpens."
    )
    return _figure("gain", where, title, sentence, rows, table, f"cycles {cycles}", "gain, 1 at one cycle")


def _gain_in_time(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = []
    for one in seen:
        waves = [mixer.time_frequency for mixer in one.found.mixers if mixer.time_frequency is not None]
        rows += _gains(one, waves)
    title = f"Gain by frequency in time, {where}"
    sentence = (
        f"{title}, of waves that change with time alone, over that at one cycle a clip: {_ends(rows, 'at the finest')}."
    )
    return _figure("gain-in-time", where, title, sentence, rows, table, "cycles a clip", "gain, 1 at one cycle")


def _shares(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = []
    for one in seen:
        shares = [mixer.by_time for mixer in one.found.mixers if mixer.by_time is not None]
        if shares:
            count = len(shares[0])
            rows += _curve(one, [place - count // 2 for place in range(count)], np.mean(shares, axis=0))
    title = f"Where in time input comes from, {where}"
    own = {row["run"]: row["y"] for row in rows if row["x"] == 0}
    told = formatting.listed([f"{run} {formatting.number(share, 3)}" for run, share in own.items()])
    sentence = f"{title}: share of the centre token’s gradient energy by tokens of time. Of its own time: {told}."
    return _figure("shares", where, title, sentence, rows, table, "tokens later than its own", "share of the energy")


def _gains(one: Seen, responses: Sequence[FrequencyResponse]) -> list[Row]:
    """The mean gain over layers, over that at one cycle."""
    if not responses:
        return []
    gains = np.mean([response.gain for response in responses], axis=0)
    return _curve(one, responses[0].cycles[1:], gains[1:] / gains[1]) if len(gains) > 2 and gains[1] > 0 else []


def _cycles(seen: Sequence[Seen]) -> str:
    """What waves of one place are counted by: all of it are of images, or of clips."""
    return "a frame" if seen[0].found.of_clips else "an image"


def _phase(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = []
    for one in seen:
        responses = [mixer.frequency for mixer in one.found.mixers]
        phases = np.mean([response.phase for response in responses], axis=0)
        if responses[0].gain[0] > 0:
            rows += _curve(one, responses[0].cycles[1:], phases[1:])
    told = _ends(rows, "at the finest")
    title = f"Phase by spatial frequency, {where}"
    sentence = (
        f"{title}, in radians against the mean: {told}. 0: waves stay in place, pi: they are turned over, half of it: "
        "no phase at all."
    )
    return _figure("phase", where, title, sentence, rows, table, f"cycles {_cycles(seen)}", "phase, radians")


def _by_depth(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = []
    for one in seen:
        last = max(1, len(one.found.mixers) - 1)
        known = [(mixer.layer / last, mixer.field.length) for mixer in one.found.mixers]
        known = [(depth, length) for depth, length in known if length is not None]
        rows += _curve(one, [depth for depth, _ in known], [length for _, length in known if length is not None])
    title = f"Mixing length by depth, {where}"
    noised = any(one.found.noised for one in seen)
    at = f", half way from noise to {seen[0].found.noun}" if noised else ""
    sentence = f"{title}, in tokens{at}: {_ends(rows, 'in the last layer')}."
    return _figure("depth", where, title, sentence, rows, table, "depth: 0 first layer, 1 last", TOKENS)


def _by_time(seen: Sequence[Seen], table: pd.DataFrame, where: str) -> Figure | None:
    rows = []
    for one in seen:
        if not one.found.noised:
            continue
        for place, time in enumerate(one.found.times):
            known = [length for mixer in one.found.mixers if (length := mixer.lengths[place]) is not None]
            rows += _curve(one, [time], [float(np.mean(known))]) if known else []
    title = f"Mixing length by time, {where}"
    noun = seen[0].found.noun
    near = _ends(rows, f"near the {noun}")
    sentence = f"{title}, in tokens, mean over layers: {near}. Linear mixers do not change."
    return _figure("time", where, title, sentence, rows, table, f"t: 0 noise, 1 {noun}", TOKENS)


def physics_figures(seen: Sequence[Seen], table: pd.DataFrame) -> list[Figure]:
    """What PDE mixers have learned by layer: quartiles over channels, each state of training beside the other."""
    return [figure for term in TERMS if (figure := _physics(seen, table, *term)) is not None]


def _physics(seen: Sequence[Seen], table: pd.DataFrame, term: str, title: str, unit: str) -> Figure | None:
    several = len({one.place for one in seen}) > 1
    rows = []
    for one in seen:
        state = f"{one.place}, {one.state}" if several else one.state
        for mixer in one.found.mixers:
            if mixer.physics is None or term not in mixer.physics.terms:
                continue
            low, middle, high = map(digits, np.quantile(mixer.physics.terms[term], (0.25, 0.5, 0.75)))
            run = f"{one.who}, {state}, layer {mixer.layer}"
            shared = {"family": one.family, "run": run, "state": state, "trained": one.trained}
            rows.append({**shared, "x": mixer.layer, "y": middle, "low": low, "high": high})
    if not rows:
        return None
    states = [str(state) for state in dict.fromkeys(row["state"] for row in rows)]
    told = [f"{state} {formatting.number(np.median(_of(rows, state)), 3)}" for state in states]
    sentence = f"{title} by layer: medians and quartiles over channels. Median layer: {formatting.listed(told)}."
    base = alt.Chart().encode(
        x=alt.X("x:O", title="layer", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("state:N", sort=states),
        color=color_of(table),
        opacity=alt.Opacity("trained:N", legend=None, scale=alt.Scale(domain=[False, True], range=[0.45, 1])),
    )
    y = alt.Y("y:Q", title=unit, scale=alt.Scale(zero=term != "decay"))
    points = base.mark_point(filled=True, size=70).encode(y=y, tooltip=_tooltip(("y", unit)))
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=unit), y2="high:Q")
    note = "Faint: untrained." if len({row["trained"] for row in rows}) > 1 else ""
    return Figure(f"spatial-physics-{term}", title, sentence, _layered(bars, points), rows, note)


def _of(rows: Sequence[Row], state: str) -> list[float]:
    return [row["y"] for row in rows if row["state"] == state]


def _curve(one: Seen, x: Sequence[float], y: Sequence[float] | np.ndarray) -> list[Row]:
    return [
        {"family": one.family, "run": one.who, "x": digits(a), "y": digits(float(b))} for a, b in zip(x, y, strict=True)
    ]


def _ends(rows: Sequence[Row], where: str) -> str:
    """`DiT 0.56, PDE-SSM-DiT 0.79 at the finest`: the last point of each curve."""
    last = {row["run"]: row["y"] for row in rows}
    return f"{formatting.listed([f'{run} {formatting.number(value, 3)}' for run, value in last.items()])} {where}"


def _figure(
    kind: str, where: str, title: str, sentence: str, rows: list[Row], table: pd.DataFrame, x: str, y: str
) -> Figure | None:
    """Lines through points, a colour and a shape a family."""
    if not rows:
        return None
    axis = alt.X("x:Q", title=x, axis=alt.Axis(tickCount=5))
    # lengths from a twentieth of a token to the whole image, and 0
    scale = alt.Scale(type="symlog", constant=0.1) if y == TOKENS else alt.Scale(zero=False)
    base = alt.Chart().encode(x=axis, y=alt.Y("y:Q", title=y, scale=scale), color=color_of(table), detail="run:N")
    shape = alt.Shape("family:N", scale=alt.Scale(domain=family_order(table)), legend=alt.Legend(title=None))
    lines = base.mark_line(strokeWidth=1.6, opacity=0.75)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(shape=shape, tooltip=_tooltip(("x", x), ("y", y)))
    slug = "".join(c if c.isalnum() else "-" for c in f"spatial-{kind}-{where}".lower())
    return Figure(slug, title, sentence, _layered(lines, points), rows)


def _layered(*layers: alt.Chart) -> Chart:
    return Layers(layers, 230)


def _tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    numbers = [alt.Tooltip(f"{name}:Q", title=title, format=".3~g") for name, title in fields]
    return [alt.Tooltip("run:N", title="run"), *numbers]
