"""Samples are ranked where the same was asked of their samplers, and where they took as many evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from test_report import page, section

from pdebench.report.frame import make_frame


def results(of_all: dict[str, Any], of_dit: dict[str, Any]) -> pd.DataFrame:
    """Three families, whose cells are `of_all`, DiT's but for `of_dit`."""
    frame = synthetic.results()
    for column in {**of_all, **of_dit}:
        values = [
            of_dit.get(column, of_all.get(column)) if family == "DiT" else of_all.get(column)
            for family in frame["model.family"]
        ]
        frame[column] = pd.Series(values, index=frame.index, dtype=object)
    return frame


def said(frame: pd.DataFrame, folder: Path) -> list[str]:
    """What the page finds of two scores and of the speed of samples."""
    text = section(page(frame, folder), "findings")
    text = text[text.index("Measure by measure") :]
    found = [text[text.index(measure) :] for measure in ("Fréchet distance", "KID", "Sampling throughput")]
    return [told[: told.index(". ", 60)] for told in found]


HEUN = {"evaluate.sampler": "heun", "evaluate.nfe": 20, "sample_nfe_mean": 20.0}
DOPRI5 = {"evaluate.sampler": "dopri5", "evaluate.nfe": None, "evaluate.tolerance": 1e-5, "sample_nfe_mean": 74.5}
SDE = {"evaluate.sampler": "euler_maruyama", "evaluate.nfe": 20, "sample_nfe_mean": 20.0}


@pytest.mark.parametrize(
    ("of_all", "of_dit", "reasons"),
    [
        (
            HEUN,
            DOPRI5,
            [
                "sampler (DiT dopri5, others heun)",
                "nfe (DiT adaptive, others 20)",
                "tolerance (DiT 1e-05, others none)",
            ],
        ),
        (DOPRI5, {"evaluate.tolerance": 1e-3}, ["tolerance (DiT 0.001, others 1e-05)"]),
        (DOPRI5, {"sample_nfe_mean": 80.0}, ["the evaluations that samples took (DiT 80, others 74.5)"]),
        (SDE | {"evaluate.diffusion": "sigma"}, {"evaluate.diffusion": "SBDM"}, ["diffusion (DiT SBDM, others sigma)"]),
        (HEUN | {"evaluate.time_shift": 1.0}, {"evaluate.time_shift": 3.0}, ["time shift (DiT 3, others 1)"]),
        (
            HEUN | {"evaluate.guidance": 2.0, "evaluate.guidance_interval": None},
            {"evaluate.guidance_interval": [0.2, 0.8]},
            ["guidance interval (DiT [0.2, 0.8], others none)"],
        ),
    ],
)
def test_samples_of_other_samplers_are_not_ranked(
    tmp_path: Path, of_all: dict[str, Any], of_dit: dict[str, Any], reasons: list[str]
) -> None:
    for told in said(results(of_all, of_dit), tmp_path):
        assert "not compared, they differ in" in told
        assert all(reason in told for reason in reasons)


@pytest.mark.parametrize("of_all", [HEUN, DOPRI5, SDE])
def test_samples_of_one_sampler_that_took_as_many_evaluations_are(tmp_path: Path, of_all: dict[str, Any]) -> None:
    assert not any("not compared" in told for told in said(results(of_all, {}), tmp_path))


def test_a_record_of_before_took_what_was_asked_of_it(tmp_path: Path) -> None:
    frame = results(HEUN | {"evaluate.samples": 64}, {"sample_nfe_mean": None})
    assert not any("not compared" in told for told in said(frame, tmp_path))
    untold = results(HEUN | {"evaluate.samples": 0, "sample_nfe_mean": None}, {"sample_nfe_mean": 20.0})
    assert make_frame(untold)["sample_nfe_mean"].notna().sum() == 3, "who drew no samples took nothing for them"


def test_pictures_of_other_samplers_say_so(tmp_path: Path) -> None:
    interval = {"evaluate.guidance": 2.0, "evaluate.guidance_interval": [0.2, 0.8]}
    frame = results(HEUN | {"evaluate.guidance": 2.0}, DOPRI5 | interval)
    folder = tmp_path / "results"
    synthetic.draw_samples(frame, folder)
    html = page(frame, folder)
    captions = section(html, "samples")
    assert "sampler dopri5" in captions
    assert "tolerance 1e-05" in captions
    assert "guidance interval [0.2, 0.8]" in captions
    assert "sampler heun, nfe 20" in captions
