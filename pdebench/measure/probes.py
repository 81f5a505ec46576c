"""What probes found of a checkpoint, as plain numbers: what `probe.json` holds, and what a report reads.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pdebench.errors import ResultsError
from pdebench.results.store import LARGEST, as_json, read_json, write_atomic
from pdebench.stats.proportion import Share

PROBES = "probe.json"
REVISION = 1  # raised when the same weights and images come to other numbers

Count = Annotated[int, Field(ge=0, lt=2**53)]


class StrictPart(BaseModel):
    """Strict, so that a file of something else is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Counted(StrictPart):
    """Images that were put into their class, of how many."""

    hits: Count
    trials: Annotated[int, Field(gt=0, lt=2**53)]

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Counted:
        if self.hits > self.trials:
            raise ValueError("it wants no more hits than trials")
        return self

    @property
    def share(self) -> Share:
        """With its interval."""
        return Share(self.hits, self.trials)


class ProbeScores(StrictPart):
    """Both classifiers of the same features.

    Attributes:
        linear: the linear probe's held-out images.
        tuning: the training images that chose its penalty, by the probe that had not seen them.
        penalty: that penalty.
        converged: its last fit came to its end.
        neighbours: held-out images by the vote of neighbours.
    """

    linear: Counted
    tuning: Counted
    penalty: Annotated[float, Field(gt=0)]
    converged: bool
    neighbours: Counted


class ProbedPlace(ProbeScores):
    """Features of one layer, the first is 0, at one time: 0 noise, 1 the image."""

    layer: Annotated[int, Field(ge=0, lt=10_000)]
    time: Annotated[float, Field(ge=0, le=1)]


class Protocol(StrictPart):
    """What the numbers depend on: only those of one protocol are one table.

    Attributes:
        revision: of the method.
        weights: a digest of the averaged weights.
        training, held_out: digests of the two splits.
        training_images, held_out_images: of these, the first so many.
        precision: that the features were computed in.
        seed: of the noise.
        initial_seed: of the weights that the model is compared with.
    """

    revision: int
    weights: str
    training: str
    held_out: str
    training_images: Count
    held_out_images: Count
    precision: str
    seed: int
    initial_seed: int


class Probe(StrictPart):
    """All that was probed of one checkpoint by one protocol.

    Attributes:
        model: its name.
        task: that it was trained for.
        data: name and resolution of the images.
        own_data: whether it was trained on them.
        classes: that training images have.
        unknown: held-out images of a class that no training image has, which nothing can get right.
        largest: held-out images of the class that most training images have.
        label_unknown: the model was trained with classes and never without, so that it has not learned to do without.
        pixels: the images themselves; None: not yet probed.
        trained: the averaged weights, by time and layer.
        initial: the weights before training, likewise.
    """

    model: str
    task: str
    data: str
    own_data: bool
    protocol: Protocol
    classes: Count
    unknown: Count
    largest: Counted
    label_unknown: bool
    pixels: ProbeScores | None = None
    trained: tuple[ProbedPlace, ...] = ()
    initial: tuple[ProbedPlace, ...] = ()

    @property
    def chance(self) -> float:
        """The share that guessing gets right."""
        return 1 / self.classes

    @property
    def layers(self) -> list[int]:
        """Those that were probed."""
        return sorted({place.layer for place in self.trained})

    @property
    def times(self) -> list[float]:
        """Those that were probed."""
        return sorted({place.time for place in self.trained})

    def at(self, layers: Sequence[int], times: Sequence[float]) -> Probe:
        """Of these layers and times alone."""

        def kept(places: Sequence[ProbedPlace]) -> tuple[ProbedPlace, ...]:
            return tuple(one for one in places if one.layer in layers and one.time in times)

        return self.model_copy(update={"trained": kept(self.trained), "initial": kept(self.initial)})


def best(places: Sequence[ProbedPlace]) -> ProbedPlace:
    """The place whose linear probe did best on the training images that chose its penalty.

    Were it chosen on held-out images, its share of them would be too high, by the luck of the best of many.
    """
    return max(places, key=lambda one: (one.tuning.share.value, -one.layer, -one.time))


def read_probes(path: Path) -> list[Probe]:
    """What a file of probes holds; nothing where there is none.

    Raises:
        ResultsError: the file holds something else.
    """
    remedy = "remove it to probe again"
    found: Any = read_json(path, "a file of probes", remedy)
    if found is None:
        return []
    try:
        return _File.model_validate(found).probes
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:60]
        raise ResultsError(f"{path} is not a file of probes: {where}: {first['msg'].lower()}; {remedy}") from None


def write_probes(path: Path, probes: Sequence[Probe]) -> None:
    """Replace a file of probes, whole; the first ones are left out where it could not be read again for its size.

    Raises:
        ResultsError: it cannot be written, or the last one alone is too large.
    """
    for begin in range(len(probes)):
        text = as_json({"probes": [one.model_dump(mode="json") for one in probes[begin:]]})
        if len(text) <= LARGEST:
            write_atomic(path, text)
            return
    raise ResultsError(f"{path} cannot hold so many layers and times: remove it, and ask for fewer")


class _File(StrictPart):
    probes: list[Probe]
