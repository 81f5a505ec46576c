"""What a survey finds, as plain numbers: what `spatial.json` holds, and what a report reads. Imports no torch.

A file of these may come from anybody: every list is bounded, every number finite, and nothing else is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pdebench.errors import ResultsError
from pdebench.results.store import read_json

SPATIAL = "spatial.json"
LARGEST_MAP = 32  # side of a stored map in pixels; larger grids are pooled to it
LARGEST = 1e100  # of a number: its square is still one
CHANNELS = 64  # of each layer whose physics is stored, evenly spaced

# five digits: more than any of these is known to, and half the bytes
Number = Annotated[
    float,
    Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST),
    AfterValidator(lambda value: float(f"{value:.5g}")),
]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Row = Annotated[list[Number], Field(min_length=1, max_length=1024)]
Map = Annotated[
    list[Annotated[list[Number], Field(min_length=1, max_length=LARGEST_MAP)]],
    Field(min_length=1, max_length=LARGEST_MAP),
    AfterValidator(lambda rows: _alike(rows, len, "rows of one length")),
]
Channels = Annotated[list[Number], Field(min_length=1, max_length=CHANNELS)]


T = TypeVar("T", bound=Sequence[Any])


class SpatialFinding(BaseModel):
    """Base of all findings: nothing unknown, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReceptiveField(SpatialFinding):
    """Where the centre token's output gets its input from; see `receptive_field.py` for the formulas.

    What cannot be said is null: all but the areas where nothing answers, reach and locality where no other token does.
    """

    area_50: Count = Field(description="fewest tokens that hold 50% of the energy")
    area_95: Count = Field(description="fewest tokens that hold 95% of the energy")
    own_share: Number | None = Field(description="energy of the token itself, of all")
    length: Number | None = Field(description="mean distance of the energy, tokens: the mixing length")
    reach: Number | None = Field(description="the same of the other tokens' energy alone")
    locality: Number | None = Field(description="0: other tokens count alike, near or far. Near 1: only neighbours do")
    isotropy: Number | None = Field(description="1: as wide as high. 0: along a line")
    axis: Number | None = Field(description="degrees of its longer axis: 0 horizontal, 45 rising to the right")
    offset: tuple[Number, Number] | tuple[Number, Number, Number] | None = Field(
        description="mean displacement of the energy, tokens down and right; of a clip first tokens of time"
    )
    time_length: Number | None = Field(default=None, description="of a clip: mixing length in time alone, tokens")
    frame_length: Number | None = Field(default=None, description="of a clip: mixing length in the frame alone, tokens")


class FrequencyResponse(SpatialFinding):
    """Rings of frequency, in cycles an image or a clip, and what becomes of a plane wave; see `frequency.py`."""

    cycles: Row
    gain: Row
    phase: Row = Field(description="radians against the mean, 0 to pi")
    coherence: Row = Field(description="1: all channels treat the wave alike, against the mean")
    anisotropy: Row | None = Field(
        default=None,
        description="0: all directions alike. 1: one direction alone passes. null: waves in time have none",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        rows = [self.cycles, self.gain, self.phase, self.coherence, self.anisotropy or self.cycles]
        _alike(rows, len, "as many of each as there are rings")
        return self

    @property
    def gain_ratio(self) -> float | None:
        """Gain at the finest waves over gain at one cycle an image: below 1 smooths, above 1 sharpens."""
        return self.gain[-1] / self.gain[1] if len(self.gain) > 2 and self.gain[1] else None

    @property
    def mean_anisotropy(self) -> float | None:
        """Anisotropy of all rings but the constant one, each counted by its power."""
        power = [gain**2 for gain in self.gain[1:]]
        if self.anisotropy is None or not sum(power):
            return None
        return sum(a * p for a, p in zip(self.anisotropy[1:], power, strict=True)) / sum(power)


class ClipPhysics(SpatialFinding):
    """The learned equation of a clip's PDE in full, by channel, and what its terms do in time alone.

    The medians are of all channels, as in `Physics`.
    """

    covariance: Annotated[list[tuple[Number, Number, Number, Number, Number, Number]], Field(max_length=CHANNELS)] = (
        Field(description="2 tau K in squared tokens: tt, yy, xx, then yt, xt, xy")
    )
    displacement: Annotated[list[tuple[Number, Number, Number]], Field(max_length=CHANNELS)] = Field(
        description="tau v in tokens: later, down, right"
    )
    median_time_length: Number = Field(description="tokens that diffusion covers in time: sqrt(2 tau K_tt)")
    median_time_drift: Number = Field(description="tokens that convection moves in time, either way: |tau v_t|")

    @property
    def time_length(self) -> list[float]:
        """Tokens of time that diffusion covers, by channel."""
        return [math.sqrt(max(entries[0], 0)) for entries in self.covariance]

    @property
    def time_drift(self) -> list[float]:
        """Tokens of time that convection moves by, by channel, positive from earlier to later."""
        return [moved[0] for moved in self.displacement]


class Physics(SpatialFinding):
    """The learned equation of a PDE mixer by channel, and how far the measured response is from it.

    Stored are at most CHANNELS channels (and states), evenly spaced; medians and errors are of all of them. Of a clip
    length, drift and elongation are those in the frame, and `clip` has the rest.
    """

    length: Channels = Field(description="tokens that diffusion covers: sqrt(trace(2 tau K) / 2)")
    drift: Channels = Field(description="tokens that convection moves: |tau v|")
    drift_angle: Channels = Field(description="degrees: 0 to the right, 90 up")
    decay: Channels = Field(description="what reaction leaves of a constant: exp(tau r)")
    elongation: Channels = Field(description="longer over shorter axis of the diffusion tensor's ellipse")
    median_length: Number
    median_drift: Number
    median_decay: Number
    wrapped: Number | None = Field(
        default=None,
        description="share of a token's mass that comes back over an edge of the image, mean over channels",
    )
    resolved: Count = Field(description="channels whose moments the measured response resolves")
    channels: Count
    error: Number | None = Field(description="largest disagreement of those; see `physics.py`")
    clip: ClipPhysics | None = None

    @property
    def terms(self) -> dict[str, list[float]]:
        """What is drawn of its terms, by channel."""
        in_time = (
            {} if self.clip is None else {"time_length": self.clip.time_length, "time_drift": self.clip.time_drift}
        )
        return {"length": self.length, "drift": self.drift, "decay": self.decay, **in_time}


class MixerFindings(SpatialFinding):
    """One layer's mixer by itself. Of a clip maps are of the centre token's frame, and shares are of all frames."""

    layer: Count
    lengths: Annotated[list[Number | None], Field(max_length=16)] = Field(description="mixing length at each time")
    field: ReceptiveField
    field_map: Map = Field(description="share of the energy by token, the centre at (h // 2, w // 2)")
    impulse: Map = Field(description="signed leading impulse response, of unit norm; see `impulse.py`")
    impulse_share: Number = Field(description="energy that the leading response explains")
    frequency: FrequencyResponse
    shift_error: Number | None
    physics: Physics | None = None
    by_time: Row | None = Field(default=None, description="of a clip: share of the energy by tokens of time")
    time_frequency: FrequencyResponse | None = Field(
        default=None, description="of a clip: what becomes of waves that change with time alone"
    )


class NetworkFindings(SpatialFinding):
    """All blocks together: from the tokens that enter the first to the tokens that leave the last."""

    field: ReceptiveField
    field_map: Map
    shift_error: Number | None = Field(description="of the whole backbone, position embedding included")


class Survey(SpatialFinding):
    """Everything, of one backbone."""

    grid: Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)]
    times: Annotated[list[Number], Field(min_length=1, max_length=16)]
    time: Number = Field(description="of the times, the one that maps and responses are of")
    mixers: Annotated[list[MixerFindings], Field(min_length=1, max_length=256)]
    network: NetworkFindings

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Means over layers are taken of it: every layer has as much."""
        _alike([self.times, *(mixer.lengths for mixer in self.mixers)], len, "a length for each time")
        _alike(self.mixers, lambda mixer: len(mixer.frequency.gain), "the same rings in each layer")
        maps = [self.network.field_map, *(mixer.field_map for mixer in self.mixers)]
        _alike(maps, lambda one: (len(one), len(one[0])), "maps of one size")
        _alike(self.mixers, lambda one: one.by_time and len(one.by_time), "as many shares by time in each layer")
        waves = [one.time_frequency for one in self.mixers]
        _alike(waves, lambda one: one and len(one.gain), "the same waves in time in each layer")
        learned = [one.physics for one in self.mixers if one.physics is not None]
        of_time = [self.mixers[0].by_time, waves[0], *(one.clip for one in learned)]
        if any((one is not None) != self.of_clips for one in of_time):
            raise ValueError("it wants what happens in time of clips, and of no images")
        return self

    @property
    def of_clips(self) -> bool:
        """Whether its grid has an axis of time."""
        return len(self.grid) == 3

    @property
    def noised(self) -> bool:
        """Whether the model was looked at on more and less noise, as a task of generation has it."""
        return len(self.times) > 1

    @property
    def noun(self) -> str:
        """What one input is called."""
        return "clip" if self.of_clips else "image"

    def columns(self) -> dict[str, float | None]:
        """The columns of a record: means over layers, of what could be measured; those in time of clips alone."""
        fields = [mixer.field for mixer in self.mixers]
        physics = [mixer.physics for mixer in self.mixers if mixer.physics is not None]
        offsets = [None if field.offset is None else _norm(field.offset) for field in fields]
        errors = [one.error for one in physics if one.error is not None]
        in_time: dict[str, float | None] = {}
        if self.of_clips:
            learned = [one.clip for one in physics if one.clip is not None]
            waves = [mixer.time_frequency for mixer in self.mixers if mixer.time_frequency is not None]
            in_time = {
                "spatial_mixing_length_in_time": _mean([field.time_length for field in fields]),
                "spatial_mixing_length_in_frame": _mean([field.frame_length for field in fields]),
                "spatial_gain_ratio_in_time": _mean([one.gain_ratio for one in waves]),
                "spatial_diffusive_length_in_time": _mean([one.median_time_length for one in learned]),
                "spatial_drift_in_time": _mean([one.median_time_drift for one in learned]),
            }
        return in_time | {
            "spatial_mixing_length": _mean([length for mixer in self.mixers for length in mixer.lengths]),
            "spatial_reach": _mean([field.reach for field in fields]),
            "spatial_locality": _mean([field.locality for field in fields]),
            "spatial_area_50": _mean([field.area_50 for field in fields]),
            "spatial_area_95": _mean([field.area_95 for field in fields]),
            "spatial_own_share": _mean([field.own_share for field in fields]),
            "spatial_isotropy": _mean([field.isotropy for field in fields]),
            "spatial_offset": _mean(offsets),
            "spatial_gain_ratio": _mean([mixer.frequency.gain_ratio for mixer in self.mixers]),
            "spatial_anisotropy": _mean([mixer.frequency.mean_anisotropy for mixer in self.mixers]),
            "spatial_shift_error": _mean([mixer.shift_error for mixer in self.mixers]),
            "spatial_network_length": self.network.field.length,
            "spatial_network_reach": self.network.field.reach,
            "spatial_network_area_95": float(self.network.field.area_95),
            "spatial_network_shift_error": self.network.shift_error,
            "spatial_diffusive_length": _mean([one.median_length for one in physics]),
            "spatial_drift": _mean([one.median_drift for one in physics]),
            "spatial_decay": _mean([one.median_decay for one in physics]),
            "spatial_wrapped": _mean([one.wrapped for one in physics]),
            "spatial_physics_error": max(errors, default=None),
        }


def read_survey(path: Path) -> Survey | None:
    """The survey in a file, None where there is none.

    Raises:
        ResultsError: the file holds something else.
    """
    remedy = "delete its cell's record.json to run the cell again"
    if (found := read_json(path, "a spatial survey", remedy)) is None:
        return None
    try:
        return Survey.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:60]
        raise ResultsError(f"{path} is not a spatial survey: {where}: {first['msg'].lower()}; {remedy}") from None


def _alike(parts: T, of: Callable[[Any], object], wanted: str) -> T:
    """The parts, which are all alike in something.

    Raises:
        ValueError: they are not.
    """
    if len({of(part) for part in parts}) > 1:
        raise ValueError(f"it wants {wanted}")
    return parts


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _norm(vector: Sequence[float]) -> float:
    return math.hypot(*vector)
