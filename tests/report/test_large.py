"""A page of very many cells: it stays small, says what it does not show, and its numbers are of all of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from pdebench.report.charts import MOST_POINTS
from pdebench.report.frame import make_frame, representatives
from pdebench.report.html import write_report
from pdebench.report.sections.curves import MOST_RUNS, loss_figure
from pdebench.report.sections.tables import MOST_ROWS
from pdebench.tasks.scores import SCORES

SMALL = 5_000_000


@pytest.mark.filterwarnings("error")
def test_a_table_with_every_score_is_made_without_a_warning_of_pieces() -> None:
    frame = synthetic.results()
    names = [score.column for score in SCORES.values()]
    scored = pd.DataFrame(1.0, index=frame.index, columns=names)
    table = make_frame(pd.concat([frame.drop(columns=names, errors="ignore"), scored], axis=1))
    assert (table[names] == 1.0).all(axis=None)


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Three families, each at many learning rates and three seeds."""
    rows = [
        synthetic.row(
            family,
            32,
            seed,
            **{"train.lr": float(rate), "cell": hashlib.sha256(f"{family} {place} {seed}".encode()).hexdigest()[:12]},
        )
        for family in synthetic.FAMILIES
        for place, rate in enumerate(np.geomspace(1e-5, 1e-1, 160))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_page_of_very_many_cells_is_small_and_says_what_it_leaves_out(many: pd.DataFrame, tmp_path: Path) -> None:
    page = write_report(many, synthetic.curves(many), tmp_path).read_text()
    assert len(page.encode()) < SMALL
    assert f"{MOST_ROWS} of {len(many):,} rows are shown" in page
    assert "All rows are in table.csv" in page
    assert f"Drawn are {MOST_RUNS} of them" in page
    assert "single runs are not drawn" in page
    assert "settings 400 are drawn" in page
    assert page.count("<td", page.index('<table id="results"')) > MOST_ROWS


def test_the_curve_of_every_run_counts_in_what_is_said_of_curves(many: pd.DataFrame) -> None:
    figure = loss_figure(make_frame(many), synthetic.curves(many))
    assert figure is not None
    assert f"for {len(many):,} runs" in figure.description
    last = many[many["model.family"] == "DiT"]["val_loss"] + 0.9 * np.exp(-200 / 22)
    assert f"DiT {last.median():.4f}" in figure.description
    assert len({row["cell"] for row in figure.rows}) == MOST_RUNS


def test_rows_are_chosen_by_setting_and_seed_and_not_by_how_well_they_did(many: pd.DataFrame) -> None:
    table = make_frame(many)
    chosen = representatives(table, 480)
    assert len(chosen) == 480
    assert set(chosen["train.seed"]) == {0}
    assert list(chosen.index) == sorted(chosen.index)
    few = representatives(table, 100)
    assert 90 <= len(few) <= 100
    assert few["model.family"].value_counts().min() >= 25
    more = representatives(table, 700)
    assert (more["train.seed"] == 0).sum() == 480
    worse = many.assign(val_loss=-many["val_loss"])
    assert list(representatives(make_frame(worse), 100)["cell"]) == list(few["cell"])
    assert representatives(table.head(100), 100).equals(table.head(100))


def test_very_many_failures_and_their_long_messages_make_no_large_page(tmp_path: Path) -> None:
    bad = [
        synthetic.failed("DiT", 32, seed, "error", f"number {seed} " + "x" * 9000)
        | {"warnings": f"sentence {seed} " + "y" * 2000}
        for seed in range(600)
    ]
    frame = pd.concat([synthetic.results(), pd.DataFrame(bad)], ignore_index=True)
    page = write_report(frame, synthetic.curves(frame), tmp_path).read_text()
    assert len(page.encode()) < SMALL
    assert f"Shown are {MOST_ROWS} of 600" in page
    assert "400 more sentences" in page


def test_a_page_of_some_cells_shows_all_of_them(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=tuple(range(40)))
    page = write_report(frame, synthetic.curves(frame), tmp_path).read_text()
    assert "rows are shown" not in page
    assert "are drawn" not in page
    assert len(re.findall(r"<tr>(?=<td)", page[page.index('<table id="results"') :])) >= len(frame)
    assert len(frame) <= min(MOST_ROWS, MOST_POINTS, MOST_RUNS)
