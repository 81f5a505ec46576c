"""`pdebench doctor --evaluation`: what ADM's evaluation says of a file of samples, beside what was published of it.

Published numbers came out of TensorFlow's graph and are computed here by its port: where they agree, a number of one's
own may be laid beside theirs. Importing this imports no torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdebench.errors import CellWarning
from pdebench.metrics import extractor_weights, quality
from pdebench.metrics.metric import INCEPTION
from pdebench.metrics.npz import Npz
from pdebench.metrics.reference import Reference, read_reference
from pdebench.metrics.registry import METRICS

ADM = ("is_adm", "fid", "sfid", "precision_recall")

# By the names of both files. Of guided-diffusion's `evaluations/README.md`: what its evaluator printed.
PUBLISHED: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("admnet_guided_upsampled_imagenet256.npz", "VIRTUAL_imagenet256_labeled.npz"): {
        "is_adm": 215.8370361328125,
        "fid": 3.9425574129223264,
        "sfid": 6.140433703346162,
        "precision": 0.8265,
        "recall": 0.5309,
    },
}

# torch-fidelity's port differs from TensorFlow's graph by 1e-4 of a feature and 1e-3 of an Inception score, by its own
# tests. They find 1e-5 of a FID; it is given as much as the others, as sFID is, which they have not. ADM takes
# distances for precision and recall in float16: on made-up features that moved recall by up to .003.
_OF_SCORE = 1e-3
_OF_SHARE, _SHARES = 0.005, ("precision", "recall")


@dataclass(frozen=True)
class Line:
    """A score, and what was published of the same samples."""

    score: str
    computed: float
    published: float | None

    @property
    def tolerance(self) -> float | None:
        """How far from the published value another implementation may come out; None where nothing was published."""
        if self.published is None:
            return None
        return _OF_SHARE if self.score in _SHARES else _OF_SCORE * self.published

    @property
    def agrees(self) -> bool:
        """Whether it does not contradict what was published."""
        within = self.tolerance
        return within is None or abs(self.computed - (self.published or 0.0)) <= within


@dataclass(frozen=True)
class Recomputed:
    """What was found of two files, and what has to be known of it."""

    samples: str
    reference: str
    lines: Sequence[Line]
    notes: Sequence[str]

    @property
    def agrees(self) -> bool:
        """Whether no score contradicts what was published."""
        return all(line.agrees for line in self.lines)


def check(samples: Path, reference: Path) -> tuple[Npz, Reference]:
    """Open both files, and see that the weights are here, before anything is computed.

    Raises:
        DataError: a file cannot be used.
        MetricError: the weights are not to be had.
    """
    opened, compared = Npz(samples), read_reference(reference)
    opened.images()
    extractor_weights.locate(INCEPTION, "fid")
    return opened, compared


def evaluate(samples: Npz, reference: Reference) -> Recomputed:
    """Compute ADM's metrics of samples against a reference, on a GPU where there is one.

    Raises:
        DataError, MetricError: the files turn out to be damaged, or too small.
    """
    import torch

    notes = []
    names = []
    for name in ADM:
        if lacking := reference.lacks(METRICS[name]):
            notes.append(f"without {name}: {reference.name} has no {lacking}")
        else:
            names.append(name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        record = quality.evaluate(names, samples.images(), reference, device=device)
    notes += [str(warning.message) for warning in caught if issubclass(warning.category, CellWarning)]
    if given := record.get("metric_reference_statistics"):
        notes.append(f"statistics of the reference: {given}")
    if few := quality.small_sample(names, record):
        notes.append(few)
    published = PUBLISHED.get((samples.path.name, reference.name), {})
    scores = [score.column for name in names for score in METRICS[name].scores]
    lines = [Line(score, float(record[score]), published.get(score)) for score in scores]
    return Recomputed(samples.path.name, str(record["metric_reference"]), lines, notes)


def print_evaluation(found: Recomputed) -> None:
    """A table of scores, computed and published, and what has to be known of them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("score", "computed", "published", "difference", "tolerance", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for line in found.lines:
        beside = ["-", "-", "-"]
        if line.published is not None:
            difference = f"{line.computed - line.published:+.4f}"
            beside = [f"{line.published:.4f}", difference, f"{line.tolerance:.4f}{'' if line.agrees else '  missed'}"]
        table.add_row(line.score, f"{line.computed:.4f}", *beside, style=None if line.agrees else "red")
    console.print(f"{found.samples} against {found.reference}\n", markup=False)
    console.print(table)
    for note in found.notes:
        console.print(note, style="dim", markup=False)
