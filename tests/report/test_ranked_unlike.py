"""A comparison names what else differs, or does not rank; rows of unlike things are never one group."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from test_report import page, section, specs

from pdebench.report.comparisons import comparisons
from pdebench.report.frame import finished, make_frame
from pdebench.report.papers import paper_tables
from pdebench.report.sections.summary import summarise

A, B = "a" * 32, "b" * 32


def results(**of_dit: Any) -> pd.DataFrame:
    """Three families, three seeds each, on one data set; DiT's cells differ as given."""
    frame = synthetic.results()
    for column, value in of_dit.items():
        column = column.replace("__", ".")
        if column not in frame:
            frame[column] = pd.Series([None] * len(frame), dtype=object)
        frame[column] = frame[column].astype(object)
        frame.loc[frame["model.family"] == "DiT", column] = value
    return frame


def findings(frame: pd.DataFrame, folder: Path) -> str:
    return section(page(frame, folder), "findings")


@pytest.mark.parametrize(
    ("measure", "changed", "reason"),
    [
        ("Fréchet distance", {"evaluate__nfe": 2}, "nfe (DiT 2, others 20)"),
        ("KID", {"evaluate__guidance": 4.0}, "guidance (DiT 4, others unknown)"),
        ("Fréchet distance", {"evaluate__sampler": "euler"}, "sampler (DiT euler, others unknown)"),
        ("Fréchet distance", {"metric_reference_statistics": "given"}, "the reference statistics (DiT given"),
        ("Sampling throughput", {"evaluate__nfe": 2}, "nfe (DiT 2, others 20)"),
        ("Sampling throughput", {"sampled_from": "averaged weights, cast once"}, "the weights that are sampled"),
        ("Training throughput", {"train__compile": "compile"}, "compile (DiT compile, others eager)"),
        ("Training throughput", {"train__batch_size": 64}, "batch size (DiT 64, others 32)"),
        ("Training throughput", {"train__devices": 4}, "devices (DiT 4, others 1)"),
        ("Peak memory", {"train__accumulate": 2}, "accumulate (DiT 2, others 1)"),
    ],
)
def test_what_was_measured_otherwise_is_not_ranked(
    tmp_path: Path, measure: str, changed: dict[str, Any], reason: str
) -> None:
    text = findings(results(**changed), tmp_path)
    of_measure = text[text.index(measure, text.index("Measure by measure")) :]
    assert of_measure[: of_measure.index(".", len(measure) + 60)].count("not compared, they differ in") == 1
    assert reason in of_measure
    assert f"{measure} at 32 px" not in text[: text.index("Measure by measure")]


def test_how_a_seed_was_evaluated_chooses_between_no_losses() -> None:
    frame = synthetic.results()
    worst = frame.loc[frame["model.family"] == "DiT", "val_loss"].idxmax()
    frame.loc[worst, "evaluate.nfe"] = 50
    (alike,), (other,) = (
        [entry for entry in contest.entries if entry.family == "DiT"]
        for contest in (
            comparisons(finished(make_frame(synthetic.results())))[0],
            comparisons(finished(make_frame(frame)))[0],
        )
    )
    assert other.tried == 1
    assert other.median("val_loss") == alike.median("val_loss")
    assert len(other.values("val_loss")) == len(alike.values("val_loss")) == 3
    assert len(other.values("fd_efficientnet_lite0")) == 2, "scores of 20 and of 50 evaluations are not put together"


def test_precision_is_what_the_cells_used(tmp_path: Path) -> None:
    frame = results(precision_used="bf16", train__precision="auto")
    frame["train.precision"] = "auto"
    frame["precision_used"] = frame["precision_used"].fillna("fp32")
    text = findings(frame, tmp_path)
    assert "precision (DiT bf16, others fp32)" in text
    assert text.count("not compared, they differ in precision") == 3  # training, sampling and memory


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"train__steps": 100}, "steps (DiT 100, others 200)"),
        ({"train__lr": 4e-3}, "lr (DiT 0.004, others 0.001)"),
        ({"device": "NVIDIA H100"}, "device (DiT NVIDIA H100, others"),
        ({"model__patch": 2}, "patch (DiT 2, others 4)"),
        ({"train__ema": 0.9}, "ema (DiT 0.9, others unknown)"),
    ],
)
def test_losses_of_other_trainings_are_compared_with_a_word(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    frame = results(**changed)
    text = findings(frame, tmp_path)
    assert "What is compared was not trained alike. At 32 px: " in text
    assert told in text
    name = told.partition(" (")[0]
    assert re.search(rf"PDE-SSM-DiT leads with 0\.21\d\d, then DiT .*?they trained with different {name}\.", text)
    table = next(one for one in paper_tables(make_frame(frame)) if one.name == "families")
    (line,) = [row for row in table.texts if row[1].startswith("DiT")]
    assert re.search(rf"DiT, {name} \S+", line[1])


def test_alike_trainings_are_compared_without_one(tmp_path: Path) -> None:
    text = findings(synthetic.results(), tmp_path)
    assert "trained alike" not in text
    assert "trained with different" not in text


def two_sets(**changes: Any) -> pd.DataFrame:
    """DiT on one folder of images and PDE-SSM-DiT on another, and both on both where asked."""
    first, second = synthetic.results(), synthetic.results()
    for frame, content, path in ((first, A, "/data/cats"), (second, B, "/data/dogs")):
        frame["data.name"], frame["data.content"], frame["data.path"] = "folder", content, path
        frame["data_checksum"] = content * 2
    first, second = first[first["model.family"] != "DiT"], second[second["model.family"] == "DiT"]
    frame = pd.concat([first, second], ignore_index=True)
    for column, value in changes.items():
        frame[column.replace("__", ".")] = value
    return frame


def test_rows_of_two_folders_are_never_compared(tmp_path: Path) -> None:
    found = comparisons(finished(make_frame(two_sets())))
    assert [[entry.family for entry in contest.entries] for contest in found] == [["PDE-SSM-DiT", "Mamba-DiT"], ["DiT"]]
    text = findings(two_sets(), tmp_path)
    assert "folder cats, 32 px" in text
    assert "folder dogs, 32 px: DiT 0.2242, with nothing to compare" in text


def test_sets_at_one_path_are_told_apart_by_what_they_held(tmp_path: Path) -> None:
    names = make_frame(two_sets(data__path="/data/images"))["data.name"].unique()
    assert sorted(names) == ["folder aaaaaaaa", "folder bbbbbbbb"]
    facts = section(page(two_sets(data__path="/data/images"), tmp_path), "provenance")
    assert A in facts
    assert B in facts


def test_records_of_before_tell_sets_apart_by_their_checksums() -> None:
    frame = two_sets(data__content=None, data__path=None)
    assert make_frame(frame)["data.name"].nunique() == 2
    at_two_sides = synthetic.results(resolutions=(32, 64))
    at_two_sides["data_checksum"] = at_two_sides["data.resolution"].map({32: "c" * 64, 64: "d" * 64})
    assert make_frame(at_two_sides)["data.name"].nunique() == 1, "one set has a checksum at each resolution"


def test_a_cell_that_failed_before_it_saw_its_images_is_of_no_other_set() -> None:
    frame = synthetic.results()
    frame["data_checksum"] = "c" * 64
    frame.loc[frame.index[0], ["data_checksum", "status"]] = [None, "oom"]
    assert make_frame(frame)["data.name"].nunique() == 1
    assert set(make_frame(frame)["data.name"]) == set(frame["data.name"])


def test_a_record_of_before_and_one_of_now_are_of_one_set() -> None:
    frame = two_sets(data__path="/data/images", data_checksum=A * 2)
    frame.loc[frame["model.family"] == "DiT", "data.content"] = None
    frame.loc[frame["model.family"] != "DiT", "data.content"] = A
    assert make_frame(frame)["data.name"].nunique() == 1


def test_losses_of_two_tasks_are_never_one_comparison() -> None:
    found = comparisons(finished(make_frame(results(task="ddpm").fillna({"task": "generation"}))))
    assert [(contest.label, [entry.family for entry in contest.entries]) for contest in found] == [
        ("synthetic-images (ddpm), 32 px", ["DiT"]),
        ("synthetic-images (generation), 32 px", ["PDE-SSM-DiT", "Mamba-DiT"]),
    ]


def merged(**of_second: Any) -> pd.DataFrame:
    first, second = synthetic.results(), synthetic.results()
    first["folder"], second["folder"] = "a", "b"
    for column, value in of_second.items():
        second[column] = value
    return pd.concat([first, second], ignore_index=True)


@pytest.mark.parametrize("column", ["machine_fingerprint", "precision_used", "data_checksum"])
def test_a_cell_on_another_machine_in_another_arithmetic_or_of_other_data_is_another_row(column: str) -> None:
    alike = merged()
    assert len(finished(make_frame(alike))) == len(alike) / 2
    unlike = merged(**{column: "another"})
    assert len(finished(make_frame(unlike))) == len(unlike)


def test_one_seed_on_two_machines_is_one_seed() -> None:
    summary = summarise(make_frame(merged(machine_fingerprint="another")))
    assert {standing.seeds for standing in summary.standings} == {3}
    told = dict(summary.leaders)
    assert "over 3 seeds" in told["Validation loss"][0].basis
    assert "the cells ran on different machines" in told["Training throughput"][0].claim


def test_curves_of_cost_do_not_join_unlike_cells(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=(32, 64))
    frame["train.compile"] = frame["model.family"].map(lambda family: "compile" if family == "DiT" else "eager")
    html = page(frame, tmp_path)
    curves = {row["curve"] for row in specs(html)["train-images-per-s"]["data"]["values"] if "curve" in row}
    assert "DiT, compile compile" in curves
    assert "PDE-SSM-DiT, compile eager" in curves
    assert "everywhere" not in section(html, "throughput")


def test_a_value_of_zero_on_a_logarithmic_axis_is_said_and_not_drawn(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=(32, 64))
    frame.loc[0, "flops_train"] = 0.0
    frame.loc[1, "peak_memory_bytes"] = 0
    html = page(frame, tmp_path)
    assert "Left out, since the axis is logarithmic: 1 run with training FLOPs of 0 or less." in section(
        html, "quality"
    )
    assert "1 run with peak memory, MiB of 0 or less" in section(html, "memory")
    frame["train_step_ms_q3"] = float("inf")  # a rate whose low quartile is 0
    page(frame, tmp_path)


def test_what_cells_warn_of_is_a_section(tmp_path: Path) -> None:
    frame = synthetic.results()
    frame["warnings"] = "2 of 42 files are left out"
    frame.loc[frame["model.family"] == "DiT", "warnings"] += " | a kernel stands in"
    text = section(page(frame, tmp_path), "warnings")
    assert "2 of 42 files are left out All 9 cells." in text
    assert "a kernel stands in 3 of 9 cells (DiT)." in text


@pytest.mark.parametrize("column", ["model.patch_frames", "data.frames", "data.frame_stride"])
def test_clips_that_are_cut_otherwise_are_no_seeds_of_one_another_and_no_rivals(tmp_path: Path, column: str) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"))
    twice = [frame.assign(**{column: 2}), frame.assign(**{column: 4, "train_images_per_s": 10.0})]
    frame = pd.concat(twice, ignore_index=True)
    frame["cell"] = [f"{n:012x}" for n in range(len(frame))]
    found = comparisons(finished(make_frame(frame)))
    word = column.partition(".")[2].replace("_", " ")
    assert [one.label for one in found] == [f"32 px, {word} 2", f"32 px, {word} 4"]
    assert all(entry.seeds == 3 for one in found for entry in one.entries)
    larger = frame.assign(**{"data.resolution": 64, "tokens": 256, "cell": [f"{n:012x}" for n in range(50, 62)]})
    assert re.search(rf"DiT, {word} 4 10(\.0)? at 64", page(pd.concat([frame, larger], ignore_index=True), tmp_path))


def test_factorised_attention_is_a_curve_of_its_own_and_no_seed_of_the_full_one(tmp_path: Path) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"), resolutions=(32, 64))
    more = frame[frame["model.family"] == "DiT"].assign(
        **{"model.attention": "factorised", "train_images_per_s": 10.0, "cell": [letter * 12 for letter in "abcdef"]}
    )
    frame = pd.concat([frame, more], ignore_index=True)
    html = page(frame, tmp_path)
    assert re.search(r"DiT, attention factorised 10(\.0)? at 64", html)
    assert "attention factorised" in section(html, "findings") + section(html, "ablation")


def test_there_is_no_heading_of_parts_without_a_word_on_them(tmp_path: Path) -> None:
    frame = synthetic.results(families=("DiT",), seeds=(0,))
    more = frame.assign(**{"model.attention": "factorised", "cell": "a" * 12})
    text = findings(pd.concat([frame, more], ignore_index=True), tmp_path)
    assert not re.search(r"What the parts are worth\s*Measure by measure", text)
