"""What `pdebench fit` found, as files: every number as JSON and CSV, and the charts of the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.files.csv_export import to_csv
from pdebench.files.manifest import Manifest
from pdebench.report.charts import Figure
from pdebench.report.drawings import figure_files
from pdebench.report.frame import family_order
from pdebench.report.sections.scaling import figures_of
from pdebench.report.sections.scaling_charts import family_of, multiplier_figure
from pdebench.results.store import make_folder, write_own
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import ScalingComparison
from pdebench.stats.scaling import Scaling
from pdebench.stats.sensitivity import Sensitivity

FORMATS = ("svg", "png")


def write_fits(
    folder: Path, fits: Sequence[Scaling], compared: Sequence[ScalingComparison], sensitive: Sequence[Sensitivity]
) -> list[Path]:
    """Write `fit.json`, `fit.csv` and each chart as SVG and PNG; returns where.

    Raises:
        ResultsError: the folder cannot be written, or has somebody else's file in the place of one of these.
    """
    # the charts want a table for the families that are in it, and no more
    table = pd.DataFrame({"model.family": [family_of(one.group) or "all rows" for one in fits]})
    drawn, begin = figure_files(_figures(fits, compared, table), family_order(table), FORMATS)
    held: dict[str, Any] = {
        "fits": [one.as_json() for one in fits],
        "comparisons": [one.as_json() for one in compared],
        "left_out_one_at_a_time": [one.as_json() for one in sensitive],
    }
    numbers = pd.DataFrame(list(_numbers(fits, compared)), columns=["group", "reference", "at", "quantity", *_ENDS])
    texts = {"fit.json": json.dumps(held, indent=1, allow_nan=False) + "\n", "fit.csv": to_csv(numbers)}
    Manifest(make_folder(folder)).refuse_foreign([*texts, *drawn])
    begin()
    for name, text in texts.items():
        write_own(folder, name, text)
    for name, draw in drawn.items():
        write_own(folder, name, draw())
    return [folder / name for name in (*texts, *drawn)]


_ENDS = ("value", "low", "high")


def _figures(fits: Sequence[Scaling], compared: Sequence[ScalingComparison], table: pd.DataFrame) -> list[Figure]:
    found = figures_of(fits, table)
    return [*found, multiplier_figure(compared, table)] if any(one.compute for one in compared) else found


def _numbers(fits: Sequence[Scaling], compared: Sequence[ScalingComparison]) -> Iterator[tuple[Any, ...]]:
    """Every estimate with its interval: group, reference, where it holds, what it is, and its ends."""
    for one in fits:
        if one.parametric is not None:
            for name in ("E", "A", "B", "alpha", "beta", "a", "b"):
                yield (one.group, "", None, name, *_ends(getattr(one.parametric, name)))
            for best in one.parametric.allocations:
                yield (one.group, "", best.flops, "best N at FLOPs", *_ends(best.n))
        for profile in one.isoflop.profiles if one.isoflop else ():
            if profile.best is not None:
                yield (one.group, "", profile.flops, "best N of IsoFLOP at FLOPs", *_ends(profile.best))
        if one.isoflop is not None and one.isoflop.a is not None:
            yield (one.group, "", None, "a of IsoFLOP", *_ends(one.isoflop.a))
        if one.envelope is not None:
            yield (one.group, "", None, "gamma", *_ends(one.envelope.gamma))
            if one.envelope.floor is not None:
                yield (one.group, "", None, "E of the envelope", *_ends(one.envelope.floor))
    for each in compared:
        for exponent in each.exponents:
            name = f"{exponent.exponent} less the reference's"
            yield (each.family, each.reference, None, name, *_ends(exponent.difference))
        for what, found in (("FLOPs", each.compute), ("images", each.images)):
            if found is not None:
                for loss, times in zip(found.loss, found.times, strict=True):
                    yield (each.family, each.reference, loss, f"times the {what} at loss", *_ends(times))
                yield (each.family, each.reference, None, f"growth of the {what} a decade", *_ends(found.growth))


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high
