"""The page, the gate and the fit of cells that classify."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from pdebench.regress.metrics import costs, exact, qualities, worse
from pdebench.report.compare import measures
from pdebench.report.comparisons import comparisons
from pdebench.report.frame import finished, make_frame
from pdebench.report.html import make_page, render, sections
from pdebench.report.sections.classification import classification
from pdebench.results.record import dtype_of
from pdebench.stats.cells import told_apart

OF_GENERATION = re.compile(
    r"\bFID\b|[Ss]ampl(?:e|es|ing)\b|\bNFE\b|\bnfe\b|guidance|[Gg]enerat|Fréchet|\bKID\b|sample_|metric_"
)


def classified(seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """PDE-SSM-DiT and DiT, which is right more often; where resolutions differ it falls less."""
    frame = synthetic.results()
    frame = frame[frame["model.family"].isin(["PDE-SSM-DiT", "DiT"]) & (frame["data.resolution"] == 32)]
    frame = frame[frame["status"] == "done"].drop(columns=[c for c in frame if OF_GENERATION.search(c)])
    frame = frame.drop(columns=[c for c in frame if re.search("fd_|kid_|evaluate", c)]).reset_index(drop=True)
    better = (frame["model.family"] == "DiT").astype(float)
    frame["task"] = "classification"
    frame["top1"] = 0.7 + 0.1 * better + 0.001 * frame["train.seed"]
    frame["top1_error"] = 1 - frame["top1"]
    frame["top5"], frame["ece"] = 0.9 + 0.05 * better, 0.08 - 0.05 * better
    frame["classify_images_per_s"] = 900 - 100 * better
    frame["top1_at_32"], frame["top1_at_64"] = frame["top1"], frame["top1"] - 0.4 + 0.2 * better
    return frame


def test_a_page_of_classifiers_ranks_their_scores_and_has_no_word_of_generation(tmp_path: Path) -> None:
    page = make_page(classified(), pd.DataFrame(), {"": tmp_path})
    text = render(page, sections(page))
    shown = text[: text.index('<script type="application/json"')]
    assert not OF_GENERATION.findall(re.sub(r"<style>.*?</style>", "", shown, flags=re.DOTALL))
    assert "Top-1 accuracy at 32 px: 0.7010, below DiT’s 0.8010" in shown
    assert "Calibration error at 32 px: 0.08000, above DiT’s 0.03000" in shown
    assert "Nothing is conditioned" in shown
    assert [one.title for one in measures(finished(page.table))][1:4] == [
        "Top-1 accuracy",
        "Top-5 accuracy",
        "Calibration error",
    ]


def test_the_section_has_accuracy_at_each_side() -> None:
    table = make_frame(classified())
    found = classification(table, comparisons(finished(table)))
    assert found is not None
    assert found.heads == ["Top-1", "Top-5", "Calibration error", "Inference", "Top-1 at 32 px", "Top-1 at 64 px"]
    (one,) = found.tables
    lines = {line.family: line for line in one.lines}
    assert lines["DiT"].values == ("80.1%", "95.0%", "3.0%", "800 images/s", "80.1%", "60.1%")
    assert lines["DiT"].best == (True, True, True, False, True, True)
    (figure,) = found.figures
    assert "PDE-SSM-DiT 70.1% at 32 px, 30.1% at 64 px" in figure.description
    assert "DiT 80.1% at 32 px, 60.1% at 64 px" in figure.description


def test_a_page_of_generation_has_no_such_section(tmp_path: Path) -> None:
    page = make_page(synthetic.results(), pd.DataFrame(), {"": tmp_path})
    parts = sections(page)
    assert "classification" not in [part.name for part in parts]
    assert "Fréchet distance and FID" in render(page, parts)


def test_two_tasks_on_one_page_are_said_and_never_compared(tmp_path: Path) -> None:
    both = pd.concat([classified(), synthetic.results()], ignore_index=True)
    page = make_page(both, pd.DataFrame(), {"": tmp_path})
    assert "of 2 tasks (classification and generation) that are not compared" in render(page, sections(page))
    labels = [one.label for one in page.comparisons]
    assert any("(classification)" in label for label in labels)
    assert all(("(classification)" in label) != ("(generation)" in label) for label in labels)
    for comparison in page.comparisons:
        rows = pd.concat([entry.rows for entry in comparison.entries])
        assert rows["task"].nunique() == 1


def test_the_gate_knows_scores_costs_and_sides() -> None:
    values = {
        "val_loss_ema": 1.0,
        "top1": 0.8,
        "top5": 0.9,
        "ece": 0.1,
        "top1_at_64": 0.5,
        "classify_images_per_s": 50.0,
    }
    assert qualities(values) == {"val_loss_ema": 1.0, "top1": 0.8, "top5": 0.9, "ece": 0.1}
    assert [worse(name) for name in ("top1", "top5", "ece", "val_loss_ema")] == [-1, -1, 1, 1]
    assert "top1_at_64" in exact(values)
    assert costs(values)["classify_images_per_s"] == pytest.approx(-np.log(50))
    assert dtype_of("top1_at_384") == "Float64"
    assert dtype_of("bottom_at_384") is None


def test_a_law_is_of_one_task() -> None:
    both = pd.concat([classified(), classified().assign(task="other")], ignore_index=True)
    assert "task" in told_apart(both)
    assert "task" not in told_apart(classified())
