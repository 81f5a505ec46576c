"""The page of the metrics that a suite can name."""

from __future__ import annotations

from generate.markdown import code, table
from pdebench.metrics.extractor_weights import ORIGINS
from pdebench.metrics.metric import Metric
from pdebench.metrics.registry import METRICS

ABOUT = """\
# Metrics

What `evaluate.metrics` may list, and `pdebench evaluate --metrics`. Each fills the [columns](columns.md) of its scores.

"""


def page() -> str:
    """The page, in Markdown."""
    return ABOUT + "\n".join(_metric(METRICS[name]) for name in METRICS.built_in)


def _metric(metric: Metric) -> str:
    weights = f" Weights: {ORIGINS[metric.extractor]}." if metric.extractor else ""
    scores = table(
        ("Column", "Score", "Better", "Its spread"),
        (
            (code(one.column), one.title, "higher" if one.higher_is_better else "lower", code(one.spread))
            for one in metric.scores
        ),
    )
    return (
        f"## {metric.name}\n\n{metric.summary[:1].upper()}{metric.summary[1:]}. Of {metric.of}, {metric.minimum} at "
        f"least.{weights}\n\n{scores}"
    )
