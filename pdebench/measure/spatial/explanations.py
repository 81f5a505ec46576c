"""What a survey's numbers mean, in sentences. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pdebench.measure.spatial.findings import Physics, Survey

ALIKE = 0.1  # a locality below this is no locality; gains this near to each other are alike
LOCAL = 0.5
ROUNDING = 1e-4  # relative: float32 through two transforms and two projections
LINE, ROUND = 0.1, 0.7  # isotropy


def describe(found: Survey, *, gated: bool) -> list[tuple[str, str]]:
    """Titled sentences about a survey, those that do not apply left out.

    `gated`: the blocks have adaLN-zero's gates, which are closed until they are trained.
    """
    row, tokens = found.columns(), math.prod(found.grid)
    physics = [mixer.physics for mixer in found.mixers if mixer.physics is not None]
    told = [
        ("locality", locality(row["spatial_locality"])),
        ("receptive field", _field(row, tokens)),
        ("mixing length", _lengths(found, row["spatial_reach"])),
        ("in time", _in_time(row)),
        ("shape", _shape(found)),
        ("waves", waves(row["spatial_gain_ratio"])),
        ("waves in time", waves(row.get("spatial_gain_ratio_in_time"))),
        ("shifts", shifts(row["spatial_shift_error"])),
        ("whole network", _network(found, tokens, gated=gated)),
    ]
    if physics:
        told += [("learned physics", _physics(found, row)), ("measured response", agreement(physics))]
    return [(title, text) for title, text in told if text]


def locality(value: float | None) -> str:
    """What a locality says of a mixer."""
    if value is None:
        return "none: no token sees another"
    if value < ALIKE:
        return f"none ({value:.2f}): near tokens count no more than far ones"
    kind = "local" if value >= LOCAL else "weakly local"
    return f"{kind} ({value:.2f}): of the other tokens, near ones count most"


def waves(ratio: float | None) -> str:
    """What a gain ratio says of a mixer."""
    if ratio is None:
        return ""
    if abs(ratio - 1) < ALIKE:
        return f"coarse and fine waves pass alike (gain ratio {ratio:.2f})"
    verb = "smooths" if ratio < 1 else "sharpens"
    return f"{verb}: the finest waves keep {ratio:.2f} times the amplitude of the coarsest"


def shifts(error: float | None) -> str:
    """What a shift error says of a mixer."""
    if error is None:
        return ""
    if error < ROUNDING:
        return f"treats every place alike, to rounding ({error:.1e}; positions left out)"
    return f"depends on the place: shifted tokens give a result {error:.1%} off the shifted one"


def agreement(physics: Sequence[Physics]) -> str:
    """How the learned terms and the measured response agree."""
    errors = [one.error for one in physics if one.error is not None]
    if not errors:
        return "its moments are not resolved: nothing to check the learned physics against"
    resolved, channels = sum(one.resolved for one in physics), sum(one.channels for one in physics)
    # the largest of a relative error and two in tokens: one word stands for the three
    verdict = "agrees" if max(errors) < 0.01 else "DISAGREES"
    return (
        f"{verdict} with it to {max(errors):.1g} (relative in mass, tokens in drift, squared tokens in spread), in "
        f"{resolved} of {channels} channels whose moments it resolves"
    )


def _field(row: dict[str, float | None], tokens: int) -> str:
    half, most, own = (row[f"spatial_{name}"] for name in ("area_50", "area_95", "own_share"))
    if half is None or most is None or own is None:
        return ""
    return (
        f"95% of a token's gradient comes from {_count(most)} of {tokens} tokens, 50% from {_count(half)}, {own:.0%} "
        "from itself"
    )


def _lengths(found: Survey, reach: float | None) -> str:
    """The mean, what changes between layers and what changes with time."""
    by_layer = [_mean(mixer.lengths) for mixer in found.mixers]
    by_time = [_mean([mixer.lengths[place] for mixer in found.mixers]) for place in range(len(found.times))]
    text = f"{_mean(by_layer):.2g} tokens"
    if reach is not None:
        text += f", {reach:.2g} without the token itself"
    if len(by_layer) > 1:
        text += f"; from the first layer to the last {by_layer[0]:.2g} to {by_layer[-1]:.2g}"
    if not found.noised:
        return text
    if max(by_time) - min(by_time) <= 0.01 * max(by_time):
        return f"{text}; the same at all times"
    span = f"from noise (t = {found.times[0]:g}) to {found.noun} (t = {found.times[-1]:g})"
    return f"{text}; {span} {by_time[0]:.2g} to {by_time[-1]:.2g}"


def _in_time(row: dict[str, float | None]) -> str:
    """How far tokens of a clip see from frame to frame, and in the frame."""
    later, beside = (row.get(f"spatial_mixing_length_in_{where}") for where in ("time", "frame"))
    if later is None or beside is None:
        return ""
    return f"{later:.2g} tokens along time, {beside:.2g} in the frame"


def _shape(found: Survey) -> str:
    known = [mixer.field for mixer in found.mixers if mixer.field.isotropy is not None]
    if not known:
        return ""
    where = "in the frame " if found.of_clips else ""
    isotropy = sum(field.isotropy or 0 for field in known) / len(known)
    if isotropy >= ROUND:
        return f"{where}about as wide as high (isotropy {isotropy:.2f})"
    # axes are directions without a sign: averaged as doubled angles
    turned = sum(complex(math.cos(a), math.sin(a)) for a in (math.radians(2 * (field.axis or 0)) for field in known))
    alike = abs(turned) / len(known) > 0.9
    angle = math.degrees(math.atan2(turned.imag, turned.real)) / 2 % 180
    along = f"at {angle:.0f} degrees in every layer" if alike else "in directions that change from layer to layer"
    name = {0: "along the rows in every layer", 90: "along the columns in every layer"}.get(round(angle) % 180)
    along = name if alike and name else along
    return f"{where}{'a line' if isotropy < LINE else 'elongated'} (isotropy {isotropy:.2f}), {along}"


def _network(found: Survey, tokens: int, *, gated: bool) -> str:
    field, error = found.network.field, found.network.shift_error
    if gated and field.own_share == 1 and error is None:
        return "all blocks together change nothing yet: adaLN-zero's gates are closed until trained"
    own = field.own_share or 0
    text = f"through all blocks 95% comes from {field.area_95} of {tokens} tokens, {own:.1%} from itself"
    if field.reach is not None:
        text += f", the rest from {field.reach:.2g} tokens away"
    if error is None:
        return text
    return f"{text}; shifting the {found.noun} changes the output by {error:.1%} beyond what the shift does"


def _physics(found: Survey, row: dict[str, float | None]) -> str:
    of_time = ("", "")
    if found.of_clips:
        length, drift = (row[f"spatial_{name}_in_time"] for name in ("diffusive_length", "drift"))
        of_time = (f" of the frame and {length:.2g} of time", f" and {drift:.2g}")
    text = (
        f"in the median channel diffusion covers {row['spatial_diffusive_length']:.2g} tokens{of_time[0]}, convection "
        f"moves by {row['spatial_drift']:.2g}{of_time[1]}, reaction leaves {row['spatial_decay']:.0%} of a constant"
    )
    wrapped, over = row["spatial_wrapped"], f"over an edge of the {found.noun}"
    return text if wrapped is None else f"{text}; {wrapped:.2%} of a token's mass comes back {over}"


def _count(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0
