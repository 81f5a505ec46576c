"""The ablation table: which settings stand in it, in what order and words, and what their seeds let it claim."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from pdebench.models import settings
from pdebench.models.registry import FAMILIES
from pdebench.report.frame import DIMENSIONS, make_frame
from pdebench.report.html import write_report
from pdebench.report.papers import paper_tables
from pdebench.report.sections import ablation
from pdebench.report.sections.ablation import AblationRow, AblationTable
from pdebench.report.sections.summary import summarise
from pdebench.stats.paired import paired, student_t
from pdebench.suite.load import load_suite

NO_CURVES = pd.DataFrame(columns=["cell", "step", "train_loss", "val_loss"])


def study(frame: pd.DataFrame) -> AblationTable:
    (found,) = ablation.ablation_tables(make_frame(frame))
    return found


def row(found: AblationTable, name: str) -> AblationRow:
    (line,) = (line for line in [*found.rows, *found.references] if line.name == name)
    return line


def claims(found: AblationTable) -> str:
    return " | ".join(f"{finding.claim} [{finding.basis}]" for finding in [*found.better, *found.findings])


def page(frame: pd.DataFrame, folder: Path) -> str:
    return write_report(frame, NO_CURVES, folder).read_text(encoding="utf-8")


def frame_of(*arms: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([cell for arm in arms for cell in arm])


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 99])
def test_students_t_is_what_scipy_has(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)
    assert student_t(freedom, 0.8) == pytest.approx(stats.t.ppf(0.9, freedom), rel=1e-10)


def test_paired_interval_is_what_scipy_has() -> None:
    a, b = {0.0: 0.41, 1.0: 0.45, 2.0: 0.39, 5.0: 0.44}, {0.0: 0.40, 1.0: 0.43, 2.0: 0.40, 5.0: 0.42, 9.0: 9.0}
    found = paired(a, b)
    expected = stats.ttest_rel([a[s] for s in a], [b[s] for s in a]).confidence_interval(0.95)
    assert found is not None
    assert (found.pairs, found.mean) == (4, pytest.approx(0.01))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    two = paired({0.0: 1.0, 1.0: 2.0}, b)
    assert two is not None
    assert (two.low, two.high, two.covers_zero, two.above, two.below) == (None, None, False, False, False)
    assert paired({7.0: 1.0}, b) is None


def test_settings_stand_in_the_order_of_the_design_and_in_plain_words() -> None:
    found = study(synthetic.ablation())
    assert found.title == "PDE-SSM-DiT-XXS/4 at 32 px"
    assert [line.name for line in found.rows] == [
        "plain",
        "no diffusion",
        "no convection",
        "no reaction",
        "no diffusion, no convection",
        "no diffusion, no reaction",
        "no convection, no reaction",
        "no diffusion, no convection, no reaction",
        "diagonal K",
        "isotropic K",
        "S = 4",
        "gate",
        "selective tau",
        "zero padding",
    ]
    assert found.rows[0].detail == "full K, convection, reaction, S = 1"
    assert [line.name for line in found.references] == ["DiT", "None-DiT"]
    assert [line.part for line in found.rows] == ["plain"] + ["terms"] * 7 + ["options"] * 6
    assert [line.name for line in found.rows if line.mark] == ["no diffusion, no convection, no reaction", "gate"]


def test_a_row_has_every_seed_and_the_difference_of_pairs() -> None:
    frame = synthetic.ablation()
    losses = {
        value: frame[(frame["model.states"] == value) & (frame["model.family"] == "PDE-SSM-DiT")] for value in (1, 4)
    }
    same = (losses[1][[*synthetic.PLAIN]] == pd.Series(synthetic.PLAIN)).all(axis=1)
    base = losses[1][same].set_index("train.seed")["val_loss"].sort_index()
    ours = losses[4].set_index("train.seed")["val_loss"].sort_index()
    expected = stats.ttest_1samp(ours - base, 0).confidence_interval(0.95)
    line = row(study(frame), "S = 4")
    assert line.loss == f"{ours.median():.4f}"
    assert line.losses == " ".join(f"{value:.4f}" for value in ours)
    assert line.difference == f"{(ours - base).mean():+.4f}".replace("-", "−")
    assert line.interval == f"{expected.low:+.4f} to {expected.high:+.4f}".replace("-", "−")
    assert (line.params, line.step, line.ratio, line.ran) == ("412,345", "381", "1.08×", "3")
    assert line.verdict == "not distinguishable"
    assert line.bar is not None
    assert line.bar.low is not None
    assert line.bar.high is not None
    assert 0 < line.bar.low < line.bar.mean < line.bar.zero < line.bar.high < 100
    plain = row(study(frame), "plain")
    assert (plain.difference, plain.interval, plain.verdict, plain.ratio, plain.bar) == ("", "", "", "", None)


def test_many_seeds_are_shown_as_a_range() -> None:
    frame = synthetic.ablation(seeds=tuple(range(6)))
    line = row(study(frame), "gate")
    values = frame.loc[frame["model.gate"] == True, "val_loss"]  # noqa: E712 (an object column with nulls)
    assert line.losses == f"{values.min():.4f} to {values.max():.4f}"


def test_the_costliest_term_is_named_with_its_interval() -> None:
    text = claims(study(synthetic.ablation()))
    assert "Of the terms taken away one at a time, diffusion costs most, +0.0306 (95% interval +0.0288 to " in text
    assert "; then convection +0.0121 (" in text
    assert "Not distinguishable: reaction. [paired over 3 seeds]" in text
    assert "Better than plain, of 6 other settings: gate −0.0075 (" in text


def test_no_distinguishable_term_is_said() -> None:
    noisy = [0.0, 0.05, -0.04]
    arms = []
    for changes in ({}, *synthetic.TERMS):
        arm = synthetic.arm(changes, 0.41)
        for seed, cell in enumerate(arm):
            cell["val_loss"] = 0.41 + (noisy[(seed + len(str(changes))) % 3] if changes else 0)
        arms.append(arm)
    found = study(frame_of(*arms))
    assert "No term costs a distinguishable loss when it is taken away: " in claims(found)
    assert all(row(found, name).verdict == "not distinguishable" for name in ("no diffusion", "no reaction"))
    assert "costs most" not in claims(found)


def test_a_term_that_is_better_off_comes_first(tmp_path: Path) -> None:
    frame = frame_of(
        synthetic.arm({}, 0.41),
        synthetic.arm({"model.reaction": False}, 0.38),
        synthetic.arm({"model.diffusion": "off"}, 0.45),
    )
    found = study(frame)
    (better,) = found.better
    assert better.claim.startswith("PDE-SSM-DiT-XXS/4 at 32 px: lower validation loss with no reaction, −0.0")
    html = page(frame, tmp_path)
    assert html.index("lower validation loss with no reaction") < html.index("diffusion costs most")
    assert row(found, "no reaction").verdict == ""


def test_a_term_that_is_lower_off_by_noise_alone_is_said_first_too() -> None:
    arms = [synthetic.arm({}, 0.41), synthetic.arm({"model.reaction": False}, 0.41)]
    for cell, change in zip(arms[1], (-0.01, -0.02, 0.005), strict=True):
        cell["val_loss"] = arms[0][arms[1].index(cell)]["val_loss"] + change
    found = study(frame_of(*arms, synthetic.arm({"model.diffusion": "off"}, 0.45)))
    assert found.better == []
    assert found.findings[0].claim.startswith("Lower than plain, but not distinguishable: no reaction −0.0083 (95% in")


@pytest.mark.parametrize(
    ("seeds", "basis"), [((4,), "[one seed: no interval]"), ((0, 1), "over 2 seeds: no interval]")]
)
def test_fewer_than_three_seeds_claim_nothing(seeds: tuple[int, ...], basis: str) -> None:
    found = study(synthetic.ablation(seeds=seeds))
    assert {line.interval for line in found.rows} == {""}
    assert {line.verdict for line in found.rows[1:]} == {f"{len(seeds)} seed{'s'[: len(seeds) - 1]}: no interval"}
    assert found.better == []
    text = claims(found)
    assert f"Taken away one at a time: diffusion +0.0{text.partition('diffusion +0.0')[2][:3]}, convection" in text
    assert basis in text
    assert "costs most" not in text
    assert "distinguishabl" not in text + " ".join(found.notes)
    assert "With fewer than 3 seeds in common there is no interval" in " ".join(found.notes)


def test_seeds_that_only_one_setting_has_are_not_compared() -> None:
    frame = frame_of(
        synthetic.arm({}, 0.41, (0, 1, 2)),
        synthetic.arm({"model.gate": True}, 0.40, (1, 2, 3)),
        synthetic.arm({"model.states": 4}, 0.40, (7,)),
    )
    found = study(frame)
    gate, states = row(found, "gate"), row(found, "S = 4")
    assert (gate.verdict, gate.interval, gate.ran) == ("2 seeds: no interval", "", "3")
    assert (states.difference, states.verdict) == ("—", "no seed in common with plain")
    assert [line.name for line in found.rows if line.mark] == ["plain", "gate"]  # one lucky seed leads nothing


def test_cells_that_failed_are_counted_and_never_averaged(tmp_path: Path) -> None:
    gate = synthetic.arm({"model.gate": True}, 0.3)
    gate[1] = {**gate[1], "status": "diverged", "val_loss": None}
    states = [{**cell, "status": "oom", "val_loss": None} for cell in synthetic.arm({"model.states": 4}, 0.3)]
    states[0]["status"] = "killed"
    frame = frame_of(synthetic.arm({}, 0.41), gate, states)
    found = study(frame)
    line = row(found, "gate")
    assert (line.ran, line.failed, line.verdict) == ("2 of 3", "1 diverged", "2 seeds: no interval")
    assert len(line.losses.split()) == 2
    assert line.mark == ""  # the third seed might have been the highest
    line = row(found, "S = 4")
    assert (line.ran, line.failed, line.loss, line.difference, line.bar) == (
        "0 of 3",
        "1 killed, 2 oom",
        "—",
        "—",
        None,
    )
    assert (line.step, line.ratio, line.verdict) == ("—", "", "")
    assert "No cell finished with S = 4 (1 killed, 2 oom)." in claims(found)
    html = page(frame, tmp_path)
    assert '<span class="status">1 killed, 2 oom</span>' in html


@pytest.mark.parametrize("state", ["absent", "failed"])
def test_without_a_plain_run_there_is_no_difference(state: str) -> None:
    plain = [{**cell, "status": "error", "val_loss": None} for cell in synthetic.arm({}, 0.41)]
    others = [synthetic.arm({"model.gate": True}, 0.4), synthetic.arm({"model.states": 4}, 0.4)]
    found = study(frame_of(*others) if state == "absent" else frame_of(plain, *others))
    assert {line.difference for line in found.rows[-2:]} == {"—"}
    assert {line.verdict for line in found.rows} == {""}
    assert found.notes[0].startswith(f"The plain setting {'was not run' if state == 'absent' else 'has no result'}")
    assert "no setting is compared with it" in claims(found)


def test_step_times_of_another_machine_are_left_out() -> None:
    frame = synthetic.ablation()
    away = frame["model.gate"] == True  # noqa: E712 (an object column with nulls)
    frame.loc[away, "machine_fingerprint"] = "another"
    found = study(frame)
    line = row(found, "gate")
    assert (line.step, line.ratio) == ("—", "")
    assert line.verdict == ""  # the loss still counts
    assert row(found, "S = 4").ratio == "1.08×"
    assert "3 cells ran on another machine" in " ".join(found.notes)
    unknown = study(frame.assign(machine_fingerprint=None))
    assert (row(unknown, "S = 4").step, row(unknown, "S = 4").ratio) == ("381", "")


def test_there_is_no_ablation_without_options_that_vary(tmp_path: Path) -> None:
    rates = [synthetic.arm({}, 0.4, **{"train.lr": lr}) for lr in (1e-3, 2e-3, 4e-3)]
    gated = [synthetic.arm({"model.gate": True}, 0.4, **{"train.lr": lr}) for lr in (1e-3, 2e-3)]
    # a gate at one rate and none at the other: two things differ, so neither is an ablation of the other
    mixed = [rates[0], gated[1]]
    for arms in (rates, gated, mixed):
        assert ablation.ablation_tables(make_frame(frame_of(*arms))) == []
    html = page(synthetic.results(), tmp_path)
    assert 'id="ablation"' not in html
    assert "What the parts are worth" not in html


def test_each_learning_rate_has_a_table_of_its_own() -> None:
    arms = [
        synthetic.arm(changes, loss + 0.1 * (lr > 1e-3), **{"train.lr": lr})
        for lr in (1e-3, 8e-3)
        for changes, loss in (({}, 0.4), ({"model.gate": True}, 0.38))
    ]
    both = ablation.ablation_tables(make_frame(frame_of(*arms)))
    assert [found.title for found in both] == [f"PDE-SSM-DiT-XXS/4 at 32 px, lr {lr}" for lr in ("0.001", "0.008")]
    assert {row(found, "gate").ran for found in both} == {"3"}
    assert [found.notes[2][:61] for found in both] == [
        f"All settings trained at one learning rate, {lr}; some might do"[:61] for lr in ("0.001", "0.008")
    ]


def test_how_a_cell_was_evaluated_does_not_part_it_from_the_rest() -> None:
    frame = synthetic.ablation()
    plain = (frame[[*synthetic.PLAIN]] == pd.Series(synthetic.PLAIN)).all(axis=1)
    frame.loc[plain, "evaluate.samples"] = 512
    assert study(frame).rows[0].name == "plain"


def sized(arm: list[dict[str, Any]], width: int) -> list[dict[str, Any]]:
    dimensions = dict(zip(DIMENSIONS, (4, width, None, 4 * width), strict=True))
    return [{**cell, **dimensions, "cell": f"{cell['cell']}{width}"} for cell in arm]


def test_sizes_that_were_matched_stay_in_one_table_and_sizes_that_were_swept_do_not() -> None:
    matched = frame_of(sized(synthetic.arm({}, 0.4), 128), sized(synthetic.arm({"model.gate": True}, 0.4), 120))
    found = study(matched)
    assert "The settings differ in width and mlp hidden, too" in " ".join(found.notes)
    assert set(make_frame(matched)["setting"]) == {"plain", "gate"}
    swept = [sized(synthetic.arm(changes, 0.4), w) for w in (64, 128) for changes in ({}, {"model.gate": True})]
    assert [found.title.rpartition(", ")[2] for found in ablation.ablation_tables(make_frame(frame_of(*swept)))] == [
        "width 64",
        "width 128",
    ]
    assert set(make_frame(frame_of(*swept))["setting"]) == {
        f"width {w}, {s}" for w in (64, 128) for s in ("plain", "gate")
    }


def test_other_families_stand_at_their_best_setting_of_the_same_budget() -> None:
    frame = synthetic.ablation(references=())
    rates = [
        synthetic.row("DiT", 32, seed, val_loss=0.4 + 50 * lr, **{"train.lr": lr})
        for lr in (1e-3, 2e-3)
        for seed in (0, 1, 2)
    ]
    larger = [synthetic.row("Mamba-DiT", 32, seed, **{"model.size": size}) for size in ("XXS", "S") for seed in (0, 1)]
    dead = [synthetic.failed("None-DiT", 32, 0, "oom", "no memory")]
    found = study(pd.concat([frame, pd.DataFrame([*rates, *larger, *dead])], ignore_index=True))
    assert [(line.name, line.detail, line.ran) for line in found.references] == [
        ("DiT", "lr 0.001 (best of 2)", "3"),
        ("Mamba-DiT", "size XXS", "2"),
        ("None-DiT", "", "0 of 1"),
    ]
    assert found.references[0].loss == "0.4500"
    assert {line.mark for line in found.references} == {""}


def test_records_of_before_an_option_have_its_default() -> None:
    frame = frame_of(synthetic.arm({}, 0.41), synthetic.arm({"model.gate": True}, 0.4))
    frame["model.states"] = [None, None, None, 1.0, 1.0, 1.0]
    found = study(frame.drop(columns="model.padding"))
    assert [line.name for line in found.rows] == ["plain", "gate"]


def test_a_setting_reads_as_what_it_changes() -> None:
    table = make_frame(synthetic.ablation())
    own = table[table["model.family"] == "PDE-SSM-DiT"]
    assert {"plain", "no convection, no reaction", "S = 4", "zero padding"} <= set(own["setting"])
    assert own["setting"].nunique() == 14
    assert set(table.loc[table["model.family"] == "DiT", "setting"]) == {""}
    rates = frame_of(*(synthetic.arm({"model.gate": True}, 0.4, **{"train.lr": lr}) for lr in (1e-3, 2e-3)))
    assert set(make_frame(rates)["setting"]) == {"lr 0.001", "lr 0.002"}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_two_settings_of_a_family_read_alike(family: str) -> None:
    declared = FAMILIES[family].options.model_fields
    assert {option.name for option in settings.options_of(family)} == set(declared)
    told = ["plain"]
    for option in settings.options_of(family):
        values = [False, True] if isinstance(option.default, bool) else option.values or (1, 2, 3)
        told += [
            str(settings.setting_of(family, {f"model.{option.name}": v})) for v in values if v != option.default and v
        ]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("field", ["model.diffusion", "model.convection", "model.states", "status", "train.schedule"])
def test_text_in_options_cannot_run(tmp_path: Path, field: str) -> None:
    attack = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>, \"'{{7*7}}"
    frame = synthetic.ablation()
    frame[field] = frame[field].astype(object) if field in frame else "cosine"
    frame.loc[frame["model.gate"] == True, field] = attack  # noqa: E712 (an object column with nulls)
    html = page(frame, tmp_path)
    assert 'id="ablation"' in html
    assert "<script>window" not in html
    assert "<img src=x" not in html
    assert "{{7*7}}" in unescape(html)


@pytest.mark.parametrize(
    "change",
    [
        {"val_loss": np.nan},
        {"train.seed": None},
        {"val_loss": 0.0},
        {"status": None},
        {"params": None, "macs_forward": None, "train_step_ms_median": None},
        {"data.resolution": None, "model.size": None, "model.patch": None, "train.lr": None},
    ],
    ids=["no loss", "no seeds", "zero loss", "no status", "no cost", "nowhere"],
)
def test_a_damaged_table_makes_a_page_with_dashes(tmp_path: Path, change: dict[str, Any]) -> None:
    html = page(synthetic.ablation().assign(**change), tmp_path)
    found = re.search(r'<section id="ablation".*?</section>', html, re.S)
    assert found
    assert not re.search(r"\b(nan|NaN|None(?!-DiT)|inf|NA)\b", found.group())


def test_few_columns_and_nullable_ones_make_a_table() -> None:
    few = pd.DataFrame({
        "status": "done",
        "model.family": "PDE-SSM-DiT",
        "model.gate": [False, False, False, True, True, True],
        "train.seed": [0, 1, 2] * 2,
        "val_loss": [0.4, 0.41, 0.42, 0.39, 0.4, 0.405],
    })  # fmt: skip
    assert study(few).title == "PDE-SSM-DiT"
    assert row(study(few), "gate").difference == "−0.0117"
    nullable = synthetic.ablation().convert_dtypes()
    assert study(nullable).rows == study(synthetic.ablation()).rows


def test_a_screen_reader_gets_a_caption_and_the_scope_of_every_heading(tmp_path: Path) -> None:
    html = page(synthetic.ablation(), tmp_path)
    table = html[html.index('<table class="ablation">') :].split("</table>")[0]
    assert "14 settings, then 2 other families for reference</caption>" in table
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", table))
    widths = {
        sum(int((re.search(r'colspan="(\d+)"', cell) or [0, 1])[1]) for cell in re.findall(r"<t[hd]\b[^>]*>", line))
        for line in re.split(r"<tr\b", table)[1:]
    }
    assert widths == {8}
    assert table.count("<tbody>") == table.count("</tbody>") == 4


def test_the_shipped_suite_is_the_design() -> None:
    cells = load_suite("pde_terms").cells()
    assert not any(cell.evaluate.samples for cell in cells)
    found: dict[str, list[int]] = {}
    for cell in cells:
        family = cell.model.family
        setting = settings.setting_of(family, cell.flat())
        found.setdefault(str(setting) if family == "PDE-SSM-DiT" else family, []).append(cell.train.seed)
    assert set(map(tuple, found.values())) == {(0, 1, 2)}
    names = [line.name for line in study(synthetic.ablation()).rows]
    assert set(found) == {*names, "DiT", "None-DiT"}
    trained = {tuple(sorted({**cell.train.model_dump(), "seed": 0}.items())) for cell in cells}
    assert len(trained) == 1


@pytest.mark.parametrize("name", list(synthetic.PLAIN))
def test_cells_of_before_an_option_came_stay_in_rankings_studies_and_tables(name: str) -> None:
    whole = synthetic.ablation()
    first = (whole["model.family"] == "PDE-SSM-DiT") & (whole["train.seed"] < 2)
    old = whole.assign(
        **{name: whole[name].astype(object).where(~(first & (whole[name] == synthetic.PLAIN[name])), None)}
    )
    table, as_before = make_frame(old), make_frame(whole)
    assert len(table) == len(whole)
    assert ablation.ablation_tables(table) == ablation.ablation_tables(as_before)
    assert summarise(table) == summarise(as_before)
    texts = [{one.name: one.texts for one in paper_tables(rows)} for rows in (table, as_before)]
    assert texts[0] == texts[1]
