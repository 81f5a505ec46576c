"""Predictions in a results folder stand beside what was measured, or the page says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import synthetic
from test_report import page, section

from pdebench.report.frame import make_frame
from pdebench.report.sections.predicted import predicted


def predict(frame: pd.DataFrame, folder: Path, recorded_as: str = "Synthetic CPU", **changes: Any) -> None:
    """Twice the measured step and half the measured memory, for every cell."""
    cells = [
        {
            "cell": row["cell"],
            "predicted_step_seconds": 2 * row["train_step_ms_median"] / 1000,
            "predicted_memory_bytes": int(row["peak_memory_bytes"] / 2),
            **changes,
        }
        for row in frame.to_dict("records")
    ]
    device = {"name": "a machine", "basis": "calibrated", "recorded_as": recorded_as}
    (folder / "predictions.json").write_text(json.dumps({"device": device, "cells": cells}))


def test_every_finished_cell_has_its_ratios(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,))
    predict(frame, tmp_path)
    html = page(frame, tmp_path)
    text = section(html, "predicted")
    assert 'href="#predicted"' in html
    assert text.count("2×") >= 3
    assert text.count("0.5×") == 3
    assert "PDE-SSM-DiT-XXS/4, 32 px, seed 0" in text
    assert "Predicted over measured step time: 2× to 2× over 3 cells." in text
    assert "compare two devices" not in text


def test_no_predictions_no_section(tmp_path: Path) -> None:
    assert 'id="predicted"' not in page(synthetic.results(seeds=(0,)), tmp_path)


def test_another_device_is_said(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,))
    predict(frame, tmp_path, recorded_as="H100")
    (found,) = predicted(make_frame(frame), {"": tmp_path})
    assert found.elsewhere == "Synthetic CPU"


def test_what_is_missing_stays_missing(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,))
    predict(frame, tmp_path, predicted_step_seconds=None, predicted_memory_bytes="<b>many</b>")
    (found,) = predicted(make_frame(frame), {"": tmp_path})
    assert found.summary == ""
    for row in found.rows:
        for quantity in (row.step, row.memory):
            assert (quantity.predicted, quantity.ratio) == ("—", "—")
            assert quantity.measured != "—"


OTHER_CELLS = [
    json.dumps({"device": dict.fromkeys(("name", "basis", "recorded_as"), "a"), "cells": cells})
    for cells in (["x"], [1], {"a": 1})
]


def test_a_file_that_is_no_plan_harms_no_report(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"device": {}, "cells": []}', '{"device": null, "cells": 3}', "\x00", *OTHER_CELLS):
        (tmp_path / "predictions.json").write_text(content)
        (found,) = predicted(make_frame(synthetic.results(seeds=(0,))), {"": tmp_path})
        assert "is not what pdebench plan writes" in found.problem
    assert found.problem in section(page(synthetic.results(seeds=(0,)), tmp_path), "predicted")


def test_predictions_of_other_cells_are_said_to_be(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,))
    predict(frame.assign(cell="0" * 12), tmp_path)
    (found,) = predicted(make_frame(frame), {"": tmp_path})
    assert "No finished cell has a prediction" in found.problem
