"""The section on space of each task, from surveys of real models: words of noise stand where there is noise alone."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
import vl_convert
from synthetic import row

from pdebench.measure.spatial.findings import SPATIAL, Survey
from pdebench.measure.spatial.survey import survey
from pdebench.models.backbone import create_model
from pdebench.report.html import make_page, render, sections
from pdebench.report.sections.spatial import SpatialSection
from pdebench.tasks.registry import TASKS

OF_GENERATION = re.compile(
    r"\b(?:flow|velocit\w+|sampl\w+|nois\w+|denois\w+|generat\w+|diffusion time|t = |adaLN\S*|guidance)\b",
    re.IGNORECASE,
)
OF_IMAGES = re.compile(r"\bimages?\b", re.IGNORECASE)
FAMILIES = ("PDE-SSM-DiT", "DiT", "None-DiT")
SIDES = {"generation": (16, 16), "classification": (16, 16), "segmentation": (16, 16), "clips": (4, 16, 16)}


def task_of(kind: str) -> str:
    return "generation" if kind == "clips" else kind


@cache
def found_of(kind: str, family: str, *, trained: bool) -> Survey:
    """The survey of a tiny model of the task; `trained`: every weight is moved, so that gates and heads are open."""
    task = TASKS[task_of(kind)]
    torch.manual_seed(0)
    size = {"input_size": SIDES[kind], "depth": 2, "width": 32, "in_channels": 3, **task.outputs(5, 3)._asdict()}
    model = create_model(f"{family}-XXS/2", **size).eval()  # type: ignore[arg-type]
    if trained:
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.rand(2, 3, *SIDES[kind])
    return survey(model, images, learner=task.looked_at())


def section_of(folder: Path, *kinds: str) -> tuple[SpatialSection, str]:
    """The section of cells of every family, untrained and trained, and what the page shows of it."""
    rows = []
    for kind in kinds:
        for family in FAMILIES:
            for steps in (0, 80):
                cell = f"{len(rows):012x}"
                frames = {"data.frames": 4} if kind == "clips" else {}
                about = {"cell": cell, "task": task_of(kind), "train.steps": steps, "data.name": f"made up for {kind}"}
                rows.append(row(family, 16, 0, **{**about, **frames}))
                (folder / "cells" / cell).mkdir(parents=True)
                found = found_of(kind, family, trained=steps > 0)
                (folder / "cells" / cell / SPATIAL).write_text(found.model_dump_json())
    page = make_page(pd.DataFrame(rows), pd.DataFrame(), {"": folder})
    parts = sections(page)
    (section,) = (part.content for part in parts if part.name == "spatial")
    assert isinstance(section, SpatialSection)
    text = render(page, parts)
    begins = text.index('<section id="spatial"')
    return section, text[begins : text.index("</section>", begins)]


def all_words(section: SpatialSection, shown: str) -> str:
    """What is shown, and what its charts say."""
    return re.sub(r"data:image[^\"]*", "", shown) + json.dumps([figure.spec() for figure in section.figures])


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_where_there_is_no_noise_the_section_has_no_word_of_it_and_no_chart_by_time(kind: str, tmp_path: Path) -> None:
    section, shown = section_of(tmp_path, kind)
    assert len(section.lines) == 2 * len(FAMILIES)
    assert not OF_GENERATION.findall(all_words(section, shown))
    names = [figure.name for figure in section.figures]
    assert not [name for name in names if "by-time" in name or name.startswith("spatial-time")]
    assert [name for name in names if name.startswith("spatial-depth")]
    assert [name for name in names if name.startswith("spatial-physics")]
    assert "Every token mixer by itself, on images: how" in shown


def test_generation_is_told_of_by_times_of_the_flow(tmp_path: Path) -> None:
    section, shown = section_of(tmp_path, "generation")
    assert "by itself, on noised images: how" in shown
    assert "gates closed" in shown
    assert [figure for figure in section.figures if figure.name.startswith("spatial-time")]
    assert not [head for head, _ in section.heads if "in time" in head]


def test_clips_are_told_of_in_time_and_in_the_frame(tmp_path: Path) -> None:
    section, shown = section_of(tmp_path, "clips")
    words = all_words(section, shown)
    assert "by itself, on noised clips: how" in shown
    assert not OF_IMAGES.findall(words)
    told = " ".join(finding.claim for finding in section.findings)
    assert "Along time a clip’s tokens see so far, in tokens: " in told
    assert re.search(r"diffusion covers [\d.]+ tokens of the frame and [\d.]+ of time", told)
    names = {figure.name: figure for figure in section.figures}
    for name in ("spatial-shares-untrained", "spatial-physics-time_length", "spatial-physics-time_drift"):
        assert vl_convert.vegalite_to_svg({**names[name].spec(), "width": 400}).count("<path") > 3
    shares = {(one["run"], one["x"]): one["y"] for one in names["spatial-shares-untrained"].rows}
    assert shares["None-DiT", 0] == pytest.approx(1)
    assert shares["DiT", 0] < 0.6  # attention looks at all times alike
    assert "of 256 tokens" in shown
    assert [line.values[-1] for line in section.lines if line.who == "None-DiT"] == ["0", "0"]


def test_tasks_beside_each_other_are_told_apart(tmp_path: Path) -> None:
    section, shown = section_of(tmp_path, "generation", "classification", "clips")
    assert "on images and clips, noised where a task is" in shown
    assert len({line.state for line in section.lines}) == 6
    by_time = [figure for figure in section.figures if figure.name.startswith("spatial-time-")]
    assert by_time
    assert not [figure for figure in by_time if "classification" in figure.title]
    assert len({figure.name for figure in section.figures}) == len(section.figures)
