"""What a page calls the samples: images, clips where they have frames, and samples where it has both."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import row
from test_learned import folder_of

from pdebench.data.nouns import BOTH, CLIPS, IMAGES, called
from pdebench.report.html import make_page, render, sections
from pdebench.report.section import Page


def words(page: str) -> str:
    """What is read on a page, charts' sentences and names of things for those who hear it too."""
    seen = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    heard = " ".join(re.findall(r'(?:aria-label|alt)="([^"]*)"', seen))
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", seen) + heard).split())


def titles(page: str) -> str:
    """Titles of axes, in the charts' own specifications."""
    return " ".join(re.findall(r'"title":"([^"]*)"', page))


def page_of(frames: dict[str, float | None], folder: Path) -> str:
    """A page of two families of two sizes, run for two lengths, each family on samples of so many frames."""
    rows: list[dict[str, Any]] = []
    for family, count in frames.items():
        for seed, steps in ((0, 200), (0, 400), (1, 200)):
            own = {"train.steps": steps, "images_seen": 32 * steps * (1 + (family == "DiT")), "data.frames": count}
            rates = {"sample_images_per_s": 5.0, "block_images_per_s": 50.0, "train_joules_per_image": 3.0}
            for side in (32, 64):
                name = {"data.name": "made", "cell": f"{family}{side}{seed}{steps}"}
                rows.append(row(family, side, seed, **own, **rates, **name))
    frame = pd.DataFrame(rows)
    curves = pd.DataFrame(
        {"cell": rows[0]["cell"], "step": [100, 200], "train_loss": [0.4, 0.3], "val_loss": [0.5, 0.3]}
    )
    page = make_page(frame, curves, {"": folder})
    return render(page, sections(page))


@pytest.mark.parametrize(
    ("frames", "noun"),
    [
        ({"PDE-SSM-DiT": 16.0, "DiT": 16.0}, CLIPS),
        ({"PDE-SSM-DiT": None, "DiT": None}, IMAGES),
        ({"PDE-SSM-DiT": None, "DiT": 16.0}, BOTH),
    ],
)
def test_a_page_speaks_of_what_was_learned_from(frames: dict[str, float | None], noun: Any, tmp_path: Path) -> None:
    page = page_of(frames, tmp_path)
    text, axes = words(page), titles(page)
    for said in (
        f"{noun.many.capitalize()} a second against", f"held-out {noun.many}", f"Training, {noun.rate}",
        f"joules {noun.an}", f" {noun.rate}",
    ):  # fmt: skip
        assert said in text, said
    assert f"block, {noun.rate}" in axes
    if noun is not IMAGES:
        assert not re.search(r"\bimages?\b", text), re.findall(r".{60}\bimages?\b.{30}", text)
        assert not re.search(r"\bimages?\b", axes)


def test_probes_of_clips_speak_of_clips(tmp_path: Path) -> None:
    table = folder_of(tmp_path).assign(**{"data.frames": 16.0, "data.name": "made"})
    page = Page(table, pd.DataFrame(columns=["folder", "cell", "step"]), {"": tmp_path})
    text = render(page, sections(page))
    assert "Clips, noised to one time" in words(text)
    assert "Held-out clips judge" in words(text)
    assert not re.search(r"\bimages?\b", words(text) + titles(text))


def test_what_has_no_frames_is_an_image() -> None:
    assert called([]) == called([None, float("nan")]) == IMAGES
    assert called([4, 8.0]) == CLIPS
    assert called([4, None]) == BOTH
