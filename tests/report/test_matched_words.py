"""The report says what models were given as much of, and what was measured of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from test_report import page, section

from pdebench.report.frame import make_frame
from pdebench.report.sections.tables import conventions


def test_measured_ratios_are_told_once_for_all_seeds() -> None:
    table = synthetic.results(families=("DiT", "PDE-SSM-DiT"))
    ours = table["model.family"] == "PDE-SSM-DiT"
    table["model_name"] = table["model.family"] + "-XXS/4"
    table = table.assign(matched_by="step_time", matched_to="DiT")
    for column, value in (("matched_ratio", 1.004), ("matched_ratio_low", 0.99), ("matched_ratio_high", 1.012)):
        table.loc[ours, column] = value
    assert conventions(make_frame(table)).matched == [
        "Models have the measured time of a training step of DiT at their size, patch and resolution, to 2%: as "
        "measured before the first cell, PDE-SSM-DiT-XXS/4 at 32 px 1.004 times (0.990 to 1.012)."
    ]


def test_what_was_worked_out_has_no_ratio_and_what_is_as_it_is_no_sentence() -> None:
    table = synthetic.results(families=("DiT", "PDE-SSM-DiT"))
    assert conventions(make_frame(table)).matched == []
    table = table.assign(matched_by="params", matched_to="DiT")
    assert conventions(make_frame(table)).matched == [
        "Models have the parameters that act of DiT at their size, patch and resolution, to 2%."
    ]


@pytest.mark.parametrize(("matched_by", "told"), [("macs", True), ("params", False)])
def test_models_of_equal_macs_have_them_beside_their_parameters(tmp_path: Path, matched_by: str, told: bool) -> None:
    table = synthetic.results().assign(matched_by=matched_by, matched_to="DiT", macs_forward=5_430_000_000)
    glance = section(page(table, tmp_path), "findings").partition("Medians over seeds")[0]
    assert ("GMACs, forward" in glance) == told
    assert (" 5.43 " in glance) == told
