"""How a page opens, and who may be called the leader: by an interval, in every table, and nobody without one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic
from PIL import Image

from pdebench.report.charts import Axis, digits, in_one_unit, round_ticks
from pdebench.report.frame import make_frame
from pdebench.report.papers import paper_tables
from pdebench.report.sections import costs, quality, samples
from pdebench.report.sections.glossary import glossary
from pdebench.report.sections.summary import summarise


def opening(frame: pd.DataFrame) -> list[str]:
    return summarise(make_frame(frame)).opening


def families_table(frame: pd.DataFrame) -> dict[str, str]:
    (table,) = (one for one in paper_tables(make_frame(frame)) if one.name == "families")
    return {suffix: text.decode() for suffix, text in table.contents().items() if suffix in (".md", ".tex")}


def test_three_sentences_say_what_was_compared_what_came_out_and_how_sure() -> None:
    what, came, sure = opening(synthetic.results())
    assert what == (
        "Compared are 3 kinds of network that differ in how their tokens mix, PDE-SSM-DiT, DiT and Mamba-DiT (size "
        "XXS, 412 k parameters), trained on synthetic-images at 32 px for 200 steps to give images from noise by flow "
        "matching, with 3 seeds each."
    )
    assert came.startswith("PDE-SSM-DiT leads in validation loss at 32 px (0.2119; DiT 0.2242); ")
    assert "beside the best of the others PDE-SSM-DiT is behind in training throughput and sampling throughput" in came
    assert sure.startswith(
        "How sure: 95% intervals over common seeds tell PDE-SSM-DiT from the best other family in 4 of 6 comparisons, "
        "2 are not distinguishable"
    )


def test_of_one_seed_the_opening_says_that_nothing_is_told_and_hides_no_worse_number() -> None:
    _, came, sure = opening(synthetic.results(seeds=(0,)))
    assert "PDE-SSM-DiT has the lowest validation loss at 32 px" in came
    assert (
        "beside the best of the others PDE-SSM-DiT has a worse number, without an interval, in training throughput"
        in came
    )
    assert "with one seed there is no interval" in sure
    assert not re.search(r"\b(leads|behind|ahead)\b", came)


def test_equal_numbers_are_no_comparison_that_lacks_seeds() -> None:
    frame = synthetic.results()
    frame["peak_memory_bytes"] = 2.0**28
    _, came, sure = opening(frame)
    assert "is level in peak memory" in came
    assert "for want of" not in sure


def test_the_opening_of_many_comparisons_stays_short_and_counts_them() -> None:
    frame = synthetic.results(resolutions=(16, 32, 64, 128))
    _, came, _ = opening(frame)
    assert opening(synthetic.results(resolutions=(32, 64)))[1].startswith(
        "PDE-SSM-DiT leads in validation loss at 32 px (0.2119; DiT 0.2242) and at 64 px (0.1686; DiT 0.1791); "
    )
    assert "lowest validation loss is that of PDE-SSM-DiT in 4 (told from all others in 4)" in came
    assert len(came.split()) < 75


def test_one_family_and_no_cell_are_said_plainly() -> None:
    assert opening(synthetic.results(families=("DiT",)))[1] == "Nothing is compared: one family ran."
    assert opening(pd.DataFrame()) == ["No cell has run yet: there is nothing to compare."]
    lost = pd.DataFrame([synthetic.failed("DiT", 32, 0, "oom", "")])
    assert opening(lost) == ["DiT: none of 1 cell finished, so nothing can be compared."]


def test_nothing_is_bold_of_one_seed_nor_where_the_interval_includes_no_difference() -> None:
    for text in families_table(synthetic.results(seeds=(0,))).values():
        assert "**" not in text
        assert "textbf" not in text
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"))
    told = families_table(frame)
    assert "**0.2119 (" in told[".md"]
    frame["val_loss"] = [0.20, 0.24, 0.22, 0.25, 0.21, 0.24]  # the medians differ, and the seeds disagree
    unsure = families_table(frame)
    assert told[".md"].count("**") - unsure[".md"].count("**") == 2
    assert told[".tex"].count("textbf") - unsure[".tex"].count("textbf") == 1


def test_who_is_told_from_the_second_but_not_from_the_third_does_not_lead() -> None:
    frame = synthetic.results()
    frame.loc[frame["model.family"] == "Mamba-DiT", "val_loss"] = [0.20, 0.26, 0.30]
    assert "**0.2119 (" not in families_table(frame)[".md"]


def test_speeds_of_one_process_have_no_interval() -> None:
    found = dict(summarise(make_frame(synthetic.results(seeds=(0, 1)))).leaders)["Training throughput"][0]
    assert found.apart is None
    assert found.basis == "median of 2 seeds: no interval"
    mixed = synthetic.results(families=("PDE-SSM-DiT", "DiT"))
    mixed.loc[[1, 2, 4, 5], "train_images_per_s"] = np.nan  # a suite that timed one seed
    found = dict(summarise(make_frame(mixed)).leaders)["Training throughput"][0]
    assert found.basis == "one seed, timed within one process: no interval"


def test_few_points_without_a_trend_are_no_chart() -> None:
    three = make_frame(synthetic.results(seeds=(0,)))
    assert quality.quality(three) is None
    assert costs.costs(three, "speed") is None
    assert costs.costs(three, "memory") is None
    assert quality.quality(make_frame(synthetic.results())) is not None  # nine runs show how far seeds lie apart
    longer = pd.DataFrame(
        [
            synthetic.row("DiT", 32, 0, **{"train.steps": steps, "flops_train": steps * 1e9, "cell": f"{steps}"})
            for steps in (100, 200, 400)
        ]
    )
    assert quality.quality(make_frame(longer)) is not None
    assert costs.costs(make_frame(synthetic.results(seeds=(0,), resolutions=(32, 64))), "speed") is not None


def test_axes_have_three_to_seven_ticks_in_one_unit() -> None:
    for low, high in ((0.9e12, 1.5e12), (1e12, 3e12), (2e11, 4e13), (1e9, 1e18), (3.5, 70), (1, 1.01)):
        ticks = round_ticks([{"x": low}, {"x": high}], "x")
        assert 3 <= len(ticks) <= 7, (low, high, ticks)
        assert ticks == sorted(set(ticks))
    axis = in_one_unit(Axis("flops_train", "training FLOPs", log=True), [0.9e12, 1.2e12, 1.5e12], "FLOPs")
    assert axis.title == "training TFLOPs"
    assert digits(0.9e12 / axis.scale) == 0.9


def test_kid_is_named_only_where_it_was_measured() -> None:
    with_it = synthetic.results()
    assert any("KID is the score to read" in note for note in summarise(make_frame(with_it)).notes)
    without = with_it.drop(columns=[name for name in with_it if name.startswith("kid_")])
    assert not any("KID" in note for note in summarise(make_frame(without)).notes)
    assert any("they are biased." in note for note in summarise(make_frame(without)).notes)


def test_the_glossary_says_what_families_and_numbers_are() -> None:
    found = glossary(make_frame(synthetic.results().assign(top1=0.5)))
    assert found is not None
    assert dict(found.families)["DiT"] == "softmax attention, the reference"
    numbers = dict(found.numbers)
    assert numbers["Validation loss"].endswith("lower is better")
    assert numbers["Top-1 accuracy"] == "how often the likeliest class is the true one; higher is better"
    assert numbers["KID (EfficientNet-Lite0)"].startswith("kernel distance")
    assert set(numbers) == {
        measure.title for measure in summarise(make_frame(synthetic.results().assign(top1=0.5))).measures
    }


def test_real_images_stand_first_beside_samples_with_what_to_expect(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,))
    synthetic.draw_samples(frame, tmp_path)
    (row,) = samples.sample_rows(make_frame(frame), {"": tmp_path})
    assert [grid.family for grid in row.grids] == ["PDE-SSM-DiT", "DiT", "Mamba-DiT"]  # of before: no real ones
    Image.new("RGB", (128, 128), "white").save(tmp_path / "cells" / frame.loc[1, "cell"] / "real.png")
    (row,) = samples.sample_rows(make_frame(frame), {"": tmp_path})
    real, first, *_ = row.grids
    assert real.family == "Real images"
    assert real.picture is not None
    assert first.picture is not None
    assert real.picture.width == first.picture.width
    assert "After 200 steps a network here has seen 6,400 images" in row.early
    (row,) = samples.sample_rows(make_frame(frame.assign(images_seen=5e8)), {"": tmp_path})
    assert row.early == ""
