"""What a reader of the report is told by its words, tables and pictures, for whole and for broken results."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from pdebench.errors import ResultsError
from pdebench.files.manifest import MANIFEST
from pdebench.report import formatting
from pdebench.report.frame import make_frame
from pdebench.report.html import write_report
from pdebench.report.papers import paper_tables
from pdebench.report.sections import costs, curves, quality
from pdebench.report.sections.summary import summarise
from pdebench.tasks.scores import SCORES

BOTH = (32, 64)
COSTS = ("train_seconds", "peak_memory_bytes", "machine_fingerprint")
NO_CURVES = pd.DataFrame(columns=["cell", "step", "train_loss", "val_loss"])


def page(frame: pd.DataFrame, folder: Path, curves: pd.DataFrame = NO_CURVES) -> str:
    path = write_report(frame, curves, folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    """A section's text, without tags."""
    found = re.search(rf'<section id="{name}".*?</section>', html, re.S)
    assert found, f"no section {name}"
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found.group())).split())


def specs(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="specs">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found.group(1))["charts"]


def test_report_is_one_small_file_the_same_each_time(tmp_path: Path) -> None:
    frame = synthetic.results()
    synthetic.draw_samples(frame, tmp_path)
    first = page(frame, tmp_path, synthetic.curves(frame))
    assert len(first.encode()) < 5_000_000
    assert first == page(frame, tmp_path, synthetic.curves(frame))
    assert first == page(frame.sample(frac=1, random_state=0), tmp_path, synthetic.curves(frame))
    assert not re.search(r'(?:src|href)="(?!#|data:)', first.split("<script>")[0])
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and path.name != MANIFEST] == ["report.html"]


def test_report_does_not_import_torch() -> None:
    code = "import sys, pdebench.report.follow; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_the_subject_is_behind_comes_first(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=BOTH)
    frame.loc[(frame["model.family"] == "PDE-SSM-DiT") & (frame["data.resolution"] == 64), "val_loss"] = 0.25
    text = section(page(frame, tmp_path), "findings")
    behind, leads = text.index("Where PDE-SSM-DiT is behind"), text.index("Measure by measure")
    assert behind < text.index("Validation loss at 64 px: 0.2500, above DiT’s 0.17") < leads
    assert behind < text.index("Training throughput at 32 px: 91.0 images/s, below DiT’s 120 images/s") < leads
    assert "Validation loss at 32 px" not in text[behind:leads]


def test_leaders_name_family_number_and_seeds(tmp_path: Path) -> None:
    text = section(page(synthetic.results(), tmp_path), "findings")
    assert "At 32 px: PDE-SSM-DiT leads with 0.2119, then DiT 0.2242 (+5.8%)." in text
    assert "Over 3 seeds +5.9%, 95% interval +4.1% to +7.6%." in text
    assert "At 32 px: DiT leads with 120 images/s, 1.32× the 91.0 images/s of PDE-SSM-DiT." in text


def test_what_mixes_nothing_is_no_rival_in_cost_but_in_quality_it_is(tmp_path: Path) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT", "None-DiT"), resolutions=(32,))
    floor = frame["model.family"] == "None-DiT"
    frame.loc[floor, "train_images_per_s"] = 900.0
    frame.loc[floor, "val_loss"] = 0.1
    html = page(frame, tmp_path)
    text = section(html, "findings")
    assert "Training throughput At 32 px: DiT leads with 120 images/s" in text
    assert "Validation loss at 32 px: 0.2119, above None-DiT’s 0.1000" in text
    assert "None-DiT mixes nothing" in section(html, "conventions")
    assert "mixes nothing" not in page(synthetic.results(), tmp_path)


def scored(**scores: tuple[float, float]) -> pd.DataFrame:
    """Two families with scores, the subject's first, of three seeds each."""
    rows = [
        synthetic.row(family, 32, seed, **{name: values[place] + seed / 1000 for name, values in scores.items()})
        for place, family in enumerate(("PDE-SSM-DiT", "DiT"))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_score_of_which_more_is_better_is_ranked_so(tmp_path: Path) -> None:
    """The worse of two in precision and Inception score is behind, whoever has the lower number."""
    html = page(scored(**{"is": (8.0, 10.0), "precision": (0.6, 0.7), "recall": (0.5, 0.4)}), tmp_path)
    text = section(html, "findings")
    behind = text[text.index("Where PDE-SSM-DiT is behind") : text.index("Measure by measure")]
    assert "Inception score at 32 px: 8.001, below DiT’s 10.00 (−20.0%)" in behind
    assert "Precision of samples at 32 px: 0.6010, below DiT’s 0.7010." in behind
    assert "Over 3 seeds −0.1000 in each." in behind
    assert "Recall" not in behind
    assert "At 32 px: PDE-SSM-DiT leads with 0.5010, then DiT 0.4010." in text
    quality = section(html, "quality")
    assert "Highest: DiT, 10.00" in quality
    assert "Best of each family: PDE-SSM-DiT 0.5010 and DiT 0.4010" in quality


def test_every_score_reaches_the_tables_of_a_paper() -> None:
    frame = scored(**dict.fromkeys(SCORES, (0.3, 0.4)))
    (families,) = (one for one in paper_tables(make_frame(frame)) if one.name == "families")
    assert all(f"{column}_median" in families.frame for column in SCORES)
    leads = {
        column: [row[families.columns.index(score.title)] for row in families.bold] for column, score in SCORES.items()
    }
    lower, higher = [True, False], [False, True]  # the subject has the lower number everywhere
    assert leads == {column: higher if score.higher_is_better else lower for column, score in SCORES.items()}


def test_one_seed_claims_no_interval_and_says_so_once(tmp_path: Path) -> None:
    """Of its speeds neither: hundreds of timings in one process do not hold what differs between two."""
    html = page(synthetic.results(seeds=(0,)), tmp_path)
    text = section(html, "findings")
    assert "95%" not in text
    assert text.count("no interval") == 1
    assert " is behind" not in text
    assert " leads" not in text
    assert re.search("Training throughput at 32 px: [0-9.]+ images/s, below DiT’s", text)  # told all the same
    assert 'class="num best"' not in html


def test_seeds_that_disagree_are_not_distinguishable(tmp_path: Path) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"), resolutions=(32,))
    frame["val_loss"] = [0.20, 0.24, 0.22, 0.25, 0.21, 0.24]
    text = section(page(frame, tmp_path), "findings")
    assert "At 32 px: PDE-SSM-DiT 0.2200, then DiT 0.2400 (+9.1%). Over 3 seeds +6.1%, 95% interval " in text
    assert "not distinguishable. " in text[text.index("Validation loss") :]


def test_the_interval_is_that_of_the_ratio_over_shared_seeds() -> None:
    ours, theirs = np.array([0.20, 0.24, 0.22, 0.23]), np.array([0.21, 0.26, 0.22, 0.245])
    rows = [
        synthetic.row(family, 32, seed, val_loss=loss)
        for family, losses in (("PDE-SSM-DiT", ours), ("DiT", theirs))
        for seed, loss in enumerate(losses)
    ]
    (found,) = (
        told[0] for title, told in summarise(make_frame(pd.DataFrame(rows))).leaders if title == "Validation loss"
    )
    known = stats.ttest_rel(np.log(theirs), np.log(ours)).confidence_interval()
    low, high = (formatting.percent(math.exp(end)) for end in (known.low, known.high))
    assert found.basis.startswith(
        f"over 4 seeds {formatting.percent(stats.gmean(theirs / ours))}, 95% interval {low} to {high}"
    )
    assert found.apart is bool(known.low > 0)


def test_nothing_behind_is_said_too(tmp_path: Path) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "Mamba-DiT"))
    assert "Nowhere among what this suite measured" in section(page(frame, tmp_path), "findings")


def test_each_family_stands_at_its_best_setting(tmp_path: Path) -> None:
    rows = [
        synthetic.row("DiT", 32, 0, **{"train.lr": lr, "val_loss": loss, "cell": f"{lr}"})
        for lr, loss in ((1e-4, 0.3), (1e-3, 0.2), (1e-2, 0.4))
    ]
    text = section(page(pd.DataFrame(rows), tmp_path), "findings")
    assert "lr 0.001 (best of 3)" in text
    assert "0.2000" in text
    assert "0.3000" not in text


def test_sizes_of_one_family_are_not_compared_with_each_other(tmp_path: Path) -> None:
    rows = [
        synthetic.row(family, 32, 0, **{"model.size": size, "cell": family + size, "val_loss": loss})
        for family, size, loss in (("DiT", "XXS", 0.3), ("DiT", "S", 0.2), ("PDE-SSM-DiT", "XXS", 0.25))
    ]
    text = section(page(pd.DataFrame(rows), tmp_path), "findings")
    assert "At 32 px, size XXS: PDE-SSM-DiT 0.2500, then DiT 0.3000" in text
    assert "Validation loss at 32 px" not in text


def test_scores_of_different_sample_counts_are_neither_compared_nor_one_curve(tmp_path: Path) -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"), resolutions=(32,))
    frame["metric_samples"] = np.where(frame["model.family"] == "DiT", 512, 256)
    html = page(frame, tmp_path)
    assert "not compared, the sample counts differ (256 and 512)" in section(html, "findings")
    assert "Sample counts differ (256 and 512): separate curves." in section(html, "quality")
    ours, more = frame.head(3), {"metric_samples": 512, "fd_efficientnet_lite0": [150.0, 151.0, 152.0]}
    one_family = pd.concat([ours, ours.assign(**more, cell=["a", "b", "c"])])
    chart = specs(page(one_family, tmp_path))["fd-efficientnet-lite0-flops-train-32-px"]
    rows = chart["data"]["values"]
    assert len({row["curve"] for row in rows}) == 2


def test_timings_of_two_machines_are_warned_about_and_not_compared(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0,), resolutions=(32,))
    frame.loc[0, "machine_fingerprint"] = "another-machine"
    html = page(frame, tmp_path)
    assert "2 different machines" in html
    findings = section(html, "findings")
    assert "At 32 px: not compared, the cells ran on different machines." in findings
    assert "Training throughput at 32 px" not in findings
    assert "At 32 px: PDE-SSM-DiT 0.21" in findings  # a loss does not depend on the machine's speed


def test_failures_are_shown_with_their_message_and_kept_out_of_comparisons(tmp_path: Path) -> None:
    bad = synthetic.failed("Mamba-DiT", 32, 7, "oom", "needed 31 GiB of 24 GiB")
    frame = pd.concat([synthetic.results(), pd.DataFrame([bad])], ignore_index=True)
    html = page(frame, tmp_path)
    text = section(html, "failures")
    assert "oom" in text
    assert "Mamba-DiT-XXS/4, 32 px, seed 7" in text
    assert "needed 31 GiB of 24 GiB" in text
    assert "9 of 10 cells finished, 1 did not" in html
    row = next(line for line in html.splitlines() if 'data-key="oom"' in line)
    assert '<td class="num" data-key="">—</td>' in row
    assert not re.search(r">0(\.0+)?</td>", row)


@pytest.mark.parametrize("field", ["message", "model.family", "suite", "cpu", "model_name"])
def test_text_from_records_cannot_run(tmp_path: Path, field: str) -> None:
    attack = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'{{7*7}}"
    frame = synthetic.results(seeds=(0,))
    frame[field] = attack
    frame.loc[0, "status"] = "error"
    html = page(frame, tmp_path, synthetic.curves(frame))
    assert "<script>window" not in html
    assert "<img src=x" not in html
    assert unescape(html).count("{{7*7}}") > 0
    assert specs(html)  # still whole JSON


def test_small_samples_are_flagged_and_uncounted_operations_listed(tmp_path: Path) -> None:
    text = section(page(synthetic.results(), tmp_path), "conventions")
    assert "1 MAC = 2 FLOPs" in text
    assert "Operations not counted, DiT aten::synthetic_op" in text
    assert "samples 256; reference images 300" in text
    assert "covariance is then singular" in text
    large = synthetic.results().assign(metric_small_sample=False)
    assert "covariance is then singular" not in section(page(large, tmp_path), "conventions")


def test_samples_show_one_seed_of_each_family_and_survive_a_damaged_file(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=BOTH)
    synthetic.draw_samples(frame, tmp_path)
    broken = frame.loc[0, "cell"]
    (tmp_path / "cells" / broken / "samples.png").write_bytes(b"not a picture")
    html = page(frame, tmp_path)
    assert html.count("data:image/webp;base64,") == 5
    text = section(html, "samples")
    assert "The picture could not be read." in text
    assert "seed 1" not in text
    assert "validation loss 0.2242, seed 0" in text


def test_many_large_sample_grids_stay_under_the_limit(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=(64, 256), seeds=(0,))
    synthetic.draw_samples(frame, tmp_path)
    assert len(page(frame, tmp_path).encode()) < 5_000_000


def test_hundreds_of_cells_stay_under_the_limit(tmp_path: Path) -> None:
    frame = synthetic.results(resolutions=BOTH, seeds=tuple(range(25)))
    assert len(page(frame, tmp_path, synthetic.curves(frame)).encode()) < 5_000_000


def test_charts_are_valid_vega_lite() -> None:
    frame = synthetic.results(resolutions=BOTH, seeds=(0, 1))
    table = make_frame(frame)
    figures = [quality.quality_figures(table)[0][1][0][0], *costs.costs(table, "speed").figures]
    loss = curves.loss_figure(table, synthetic.curves(frame))
    assert loss is not None
    for figure in [*figures, loss]:
        figure.chart.to_dict(validate=True)


def test_throughput_has_quartiles_from_step_times(tmp_path: Path) -> None:
    frame = synthetic.results(families=("DiT",), resolutions=BOTH, seeds=(0,))
    rows = specs(page(frame, tmp_path))["train-images-per-s"]["data"]["values"]
    speed = frame.loc[0, "train_images_per_s"]
    median = next(row for row in rows if row["layer"] == "median")
    assert median["low"] == pytest.approx(speed / 1.06, rel=1e-4)
    assert median["high"] == pytest.approx(speed / 0.97, rel=1e-4)


def test_quality_stands_against_compute_time_and_memory_of_each_machine() -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"))[[*synthetic.FEW, *COSTS]]
    frame.loc[frame["train.seed"] == 1, "machine_fingerprint"] = "another-machine"
    flops, seconds, memory = quality.quality(make_frame(frame)).figures
    assert {row["curve"] for row in flops.rows} == {"PDE-SSM-DiT", "DiT"}
    for figure in (seconds, memory):
        assert len({row["curve"] for row in figure.rows}) == 4
        assert figure.note == "2 machines: separate curves."


def test_memory_that_three_runs_agree_on_has_a_crossover() -> None:
    frame = synthetic.results(families=("PDE-SSM-DiT", "DiT"), resolutions=(32, 64, 128), seeds=(0, 1, 2))
    tokens, noise = frame["tokens"], 1 + 0.004 * frame["train.seed"]
    frame["peak_memory_bytes"] = np.where(frame["model.family"] == "DiT", 1e5 * tokens**1.2, 3e5 * tokens) * noise
    found = costs.costs(make_frame(frame), "memory")
    assert "PDE-SSM-DiT falls below DiT at 243 tokens (95% interval" in found.figures[0].description
    (row,) = found.crossovers.rows
    assert row[:2] == ("PDE-SSM-DiT", "PDE-SSM-DiT")
    assert re.fullmatch(r"from 243 \(\d+–\d+\)", row[2][0])
    found = costs.costs(make_frame(frame[frame["train.seed"] == 0]), "memory")
    assert "falls below" not in found.figures[0].description
    assert found.crossovers.rows[0][2][0] == formatting.MISSING


def test_a_table_says_where_each_family_is_faster_than_dit(tmp_path: Path) -> None:
    families = ("PDE-SSM-DiT", "DiT", "Mamba-DiT", "Mamba2-DiT", "None-DiT")
    frame = synthetic.results(families=families, resolutions=(16, 32, 64), seeds=(0,))
    rate = 1e6 / frame["tokens"] ** 2
    pace = {  # DiT's, and others over it
        "PDE-SSM-DiT": rate * frame["tokens"] / 100,
        "Mamba-DiT": rate / 2,
        "Mamba2-DiT": rate * 200 / frame["tokens"],
        "None-DiT": rate * 3,
    }
    for name, own in pace.items():
        rate = rate.where(frame["model.family"] != name, own)
    frame["train_images_per_s"] = rate
    for end, factor in (("median", 1.0), ("q1", 0.98), ("q3", 1.02)):
        frame[f"train_step_ms_{end}"] = factor * 32_000 / rate
    found = costs.costs(make_frame(frame), "speed")
    assert found.crossovers.columns[0] == "Training"
    told = {curve: texts[0] for _, curve, texts in found.crossovers.rows}
    assert list(told) == ["PDE-SSM-DiT", "Mamba-DiT", "Mamba2-DiT", "None-DiT"]
    assert re.fullmatch(r"from 100( \(\d+–\d+\))?", told["PDE-SSM-DiT"])
    assert re.fullmatch(r"up to 200( \(\d+–\d+\))?", told["Mamba2-DiT"])
    assert (told["Mamba-DiT"], told["None-DiT"]) == ("nowhere", "everywhere")
    named = found.figures[0].description
    assert "PDE-SSM-DiT rises above DiT at 100 tokens" in named
    assert "3 more curves" in named
    assert "Mamba" not in named
    assert "Where each family is faster than DiT, in tokens" in section(page(frame, tmp_path), "throughput")


def test_a_family_keeps_its_place_in_the_palette(tmp_path: Path) -> None:
    alone = page(synthetic.results(families=("Mamba-DiT",)), tmp_path)
    assert 'fill="var(--family-2)"' in alone
    assert 'fill="var(--family-0)"' not in alone
    unknown = page(synthetic.results(families=("Mamba-DiT", "Homemade")), tmp_path)
    assert "Homemade" in section(unknown, "quality")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame([synthetic.failed("DiT", 32, 0, "killed", "out of memory")]),
        pd.DataFrame([synthetic.row("DiT", 32, 0)]),
        synthetic.results(resolutions=(32,), seeds=(0,)),
        pd.DataFrame({"status": ["done"], "model.family": ["DiT"], "val_loss": [0.2]}),
        synthetic.results(seeds=(0,)).assign(val_loss=np.nan, fd_efficientnet_lite0="no weights"),
        synthetic.results(seeds=(0,)).assign(val_loss=np.inf, train_images_per_s=0.0, peak_memory_bytes=None),
        synthetic.results(seeds=(0,)).convert_dtypes(),
        synthetic.results(seeds=(0,)).assign(tokens=None),
    ],
    ids=[
        "empty",
        "all failed",
        "one cell",
        "one resolution",
        "few columns",
        "nan",
        "inf",
        "nullable",
        "no tokens",
    ],
)
def test_any_table_makes_a_page(tmp_path: Path, frame: pd.DataFrame) -> None:
    html = page(frame, tmp_path, synthetic.curves(frame) if len(frame) > 2 else NO_CURVES)
    for name in ("findings", "failures", "table", "provenance", "conventions"):
        assert section(html, name)
    assert not re.search(r"\b(nan|NaN|None|inf|NaT)\b", html.split("<script")[0].split("</style>")[1])


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page(synthetic.results(seeds=(0,)), tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultsError, match="no space"):
        write_report(synthetic.results(seeds=(0, 1)), NO_CURVES, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != MANIFEST] == ["report.html"]


def test_what_was_not_measured_has_no_unit_and_no_place_at_a_glance(tmp_path: Path) -> None:
    nothing = dict.fromkeys([*("val_loss", "train_images_per_s", "sample_images_per_s", "peak_memory_bytes")])
    scores = {name: None for name in synthetic.row("DiT", 32, 0) if name.startswith(("fd_", "kid_"))}
    untrained = [synthetic.row(name, 32, 0, **{"train.steps": 0}, **nothing, **scores) for name in ("DiT", "Mamba-DiT")]
    trained = [synthetic.row("DiT", 32, 0), synthetic.row("Mamba-DiT", 32, 0, train_images_per_s=None)]
    html = page(pd.DataFrame([*untrained, *trained]), tmp_path)
    glance = html[html.index("At a glance") : html.index("Medians over seeds")]
    assert "steps 0" not in glance
    assert "Mamba-DiT" in glance
    assert "— images/s" not in html
