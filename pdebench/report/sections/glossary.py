"""What the families and the numbers of the page are, a line each, for a reader who meets them here first."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pdebench.data.nouns import Noun
from pdebench.metrics.registry import METRICS
from pdebench.models.registry import FAMILIES
from pdebench.report.budgets import budgets
from pdebench.report.compare import Measure, measures
from pdebench.report.frame import families_in, finished, noun_of, scores_in

_SETTINGS = {
    "FLOPs": "additions and multiplications of a whole training, in products, convolutions, transforms and scans",
    "size": "how deep and wide a network is; `pdebench list models` has each size with its parameters",
    "patch": "side of a token, in pixels of what the network sees",
    "steps": "updates of the weights, each from one batch",
    "lr": "learning rate: how far an update goes, at its highest",
}
"""Words of settings and of budgets."""


@dataclass(frozen=True)
class Glossary:
    """The section: names with what they are."""

    families: list[tuple[str, str]]
    numbers: list[tuple[str, str]]


def glossary(table: pd.DataFrame) -> Glossary | None:
    """The section of a frame; None where nothing finished. A family that is not installed has no line."""
    done = finished(table)
    if done.empty:
        return None
    found = [(name, FAMILIES.get(name)) for name in families_in(done)]
    families = [(name, family.summary) for name, family in found if family is not None]
    numbers = [(one.title, text) for one in measures(done) if (text := _meaning(one, done))]
    numbers += _words(done)
    return Glossary(families, numbers) if families or numbers else None


def _words(done: pd.DataFrame) -> list[tuple[str, str]]:
    """What the words mean that tell settings and budgets apart, those that the page uses."""
    told = " ".join(["", *done["setting"].unique(), *(one.label for one in budgets(done))])
    return [(word, text) for word, text in _SETTINGS.items() if f" {word} " in f"{told} ".replace(",", " ")]


def _meaning(measure: Measure, done: pd.DataFrame) -> str:
    noun = noun_of(done)
    text = _cost_or_loss(noun).get(measure.column) or next(
        (score.meaning for score in scores_in(done) if score.column == measure.column), ""
    )
    if not text:
        text = next((metric.summary for metric in METRICS.values() if measure.column in metric.columns), "")
    return f"{text}; {'lower' if measure.lower else 'higher'} is better" if text else ""


def _cost_or_loss(noun: Noun) -> dict[str, str]:
    return {
        "val_loss": f"what training minimises, measured on held-out {noun.many} that no network was trained on",
        "train_images_per_s": f"{noun.many} a second that the device trains on",
        "sample_images_per_s": f"{noun.many} a second that the device draws, all steps of the sampler included",
        "classify_images_per_s": f"{noun.many} a second that the device classifies",
        "peak_memory_bytes": "the most memory that training takes at once",
    }
