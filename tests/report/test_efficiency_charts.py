"""MFU and joules an image in a report: where some cell has them, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from test_report import page, section, specs

PEAK = "989.5 TFLOP/s bf16 dense, NVIDIA H200 datasheet"
MEASURED = {"train_mfu": 0.31, "sample_mfu": 0.12, "train_joules_per_image": 0.5, "sample_joules_per_image": 40.0}
CHARTS = {name.replace("_", "-") for name in MEASURED}


def on_a_gpu(frame: pd.DataFrame, *but: str) -> pd.DataFrame:
    return frame.assign(**{name: value for name, value in MEASURED.items() if name not in but}, mfu_peak=PEAK)


def test_what_was_measured_is_drawn_and_told_with_what_it_rests_on(tmp_path: Path) -> None:
    frame = on_a_gpu(synthetic.results(families=("PDE-SSM-DiT", "DiT"), resolutions=(32, 64)))
    frame.loc[frame["model.family"] == "DiT", "train_mfu"] = 0.44
    html = page(frame, tmp_path)
    text = section(html, "throughput")
    assert specs(html).keys() >= CHARTS
    assert PEAK in text
    assert "Training, MFU in %, against tokens: PDE-SSM-DiT 31 at 64 tokens to 31 at 256" in text
    assert "DiT 44 at 64 tokens" in text
    assert "Sampling, joules an image, against tokens: PDE-SSM-DiT 40 at 64 tokens to 40 at 256" in text
    assert text.count("A lower bound for DiT: not all operations are counted.") == 2  # of MFU alone
    drawn = {row["y"] for row in specs(html)["train-mfu"]["data"]["values"] if row["family"] == "DiT"}
    assert drawn == {44.0}
    assert "Where each family is faster than DiT" not in text.partition("Efficiency")[2]


def test_whose_operations_are_all_counted_has_its_mfu_and_no_bound(tmp_path: Path) -> None:
    html = page(on_a_gpu(synthetic.results(families=("PDE-SSM-DiT",), resolutions=(32, 64))), tmp_path)
    assert "train-mfu" in specs(html)
    assert "lower bound" not in section(html, "throughput")


def test_one_of_them_is_told_without_the_other(tmp_path: Path) -> None:
    joules = page(on_a_gpu(synthetic.results(), "train_mfu", "sample_mfu").drop(columns="mfu_peak"), tmp_path)
    assert "Joules are those of" in section(joules, "throughput")
    assert "MFU" not in section(joules, "throughput")
    mfu = page(on_a_gpu(synthetic.results(), "train_joules_per_image", "sample_joules_per_image"), tmp_path)
    assert "oules" not in section(mfu, "throughput")


@pytest.mark.parametrize("missing", [None, np.nan])
def test_nothing_changes_where_no_cell_has_them(tmp_path: Path, missing: float | None) -> None:
    """But that they stand among the columns that were measured in no row, where the table has them."""

    def parts(frame: pd.DataFrame) -> dict[str, str]:
        found = re.split(r'<section id="([a-z_]+)"', page(frame, tmp_path))
        return {name: text for name, text in zip(found[1::2], found[2::2], strict=True) if name != "table"}

    before = synthetic.results(resolutions=(32, 64))
    assert parts(before) == parts(before.assign(**dict.fromkeys([*MEASURED, "mfu_peak"], missing)))
    assert "Efficiency" not in parts(before)["throughput"]
    assert not CHARTS & specs(page(before, tmp_path)).keys()


def test_samples_that_took_other_evaluations_are_curves_of_their_own(tmp_path: Path) -> None:
    frame = on_a_gpu(synthetic.results(families=("DiT",), resolutions=(32, 64)))
    frame.loc[[0, 3], ["evaluate.nfe", "sample_joules_per_image"]] = [250, 500.0]
    text = section(page(frame, tmp_path), "throughput")
    assert (
        "Sampling, joules an image, against tokens: DiT, nfe 20 40 at 64 tokens to 40 at 256; DiT, nfe 250 500 at 64"
        in text
    )
    assert "Training, joules an image, against tokens: DiT 0.500 at 64 tokens to 0.500 at 256." in text


def test_what_was_measured_at_one_size_is_a_table_and_no_chart(tmp_path: Path) -> None:
    html = page(on_a_gpu(synthetic.results(families=("PDE-SSM-DiT", "DiT"))), tmp_path)
    text = section(html, "throughput")
    assert not specs(html).keys() & {*CHARTS, "train-images-per-s", "sample-images-per-s"}
    assert "Family Training, MFU in % Sampling, MFU in % Training, joules an image Sampling, joules an image" in text
    assert "PDE-SSM-DiT 31 12 0.500 40" in text
    assert PEAK in text
