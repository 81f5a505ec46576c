"""The report warns of timings that were taken on a busy machine, or that disagree between seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import synthetic
from test_report import page, section

from pdebench.report.frame import make_frame
from pdebench.report.sections.unquiet import disturbances
from pdebench.results.store import read_results

ROOT = Path(__file__).parents[2]


def loaded(load: float, family: str = "DiT") -> pd.DataFrame:
    """Cells of two cores; those of a family began under a load."""
    frame = synthetic.results().assign(cores=2, threads=2, load_average=1.9)
    frame.loc[frame["model.family"] == family, "load_average"] = load
    return frame


def said(frame: pd.DataFrame) -> list[str]:
    return [one.text for one in disturbances(make_frame(frame))]


def test_cells_that_began_on_a_busy_machine_are_named_on_the_page(tmp_path: Path) -> None:
    html = page(loaded(5.5), tmp_path)
    warnings = " ".join(section(html, "warnings").split())
    assert "a load of 5.5 on 2 cores, where a suite by itself makes one of about 2" in warnings
    assert "DiT at 32 px (seeds 0, 1 and 2)" in warnings
    assert "PDE-SSM-DiT at" not in warnings
    assert "3 of 9 cells (DiT)" in warnings
    assert "see Warnings" in section(html, "findings")


@pytest.mark.parametrize("load", [0.2, 2.0, 2.5, None])
def test_a_suites_own_load_is_no_disturbance(load: float | None) -> None:
    assert said(loaded(load if load is not None else float("nan"))) == []


def test_threads_of_one_core_bear_their_load() -> None:
    assert said(loaded(5.5).assign(threads=4)) == []


def test_cells_that_were_not_timed_are_not_named() -> None:
    frame = loaded(9.0)
    timings = [name for name in frame if name.endswith("_ms_median") or "images_per_s" in name]
    assert said(frame.assign(**dict.fromkeys(timings))) == []


@pytest.mark.parametrize(("slower", "told"), [(1.4, False), (1.8, True)])
def test_seeds_whose_speeds_disagree_are_told(slower: float, told: bool) -> None:
    frame = loaded(1.9)
    one = (frame["model.family"] == "DiT") & (frame["train.seed"] == 1)
    frame.loc[one, "train_step_ms_median"] *= slower
    sentences = said(frame)
    assert bool(sentences) == told
    if told:
        (sentence,) = sentences
        assert "factor of 1.5 in speed (train step)" in sentence
        assert "work: DiT at 32 px 1.7" in sentence


def test_other_machines_and_settings_may_differ_in_speed() -> None:
    frame = loaded(1.9)
    one = (frame["model.family"] == "DiT") & (frame["train.seed"] == 1)
    frame.loc[one, "train_step_ms_median"] *= 3
    frame.loc[one, "machine_fingerprint"] = "another"
    assert said(frame) == []


@pytest.mark.parametrize("suite", ["mixers", "pixels", "baselines"])
def test_committed_results_of_a_quiet_machine_have_no_such_warning(suite: str) -> None:
    assert said(read_results(ROOT / "results" / suite)) == []
