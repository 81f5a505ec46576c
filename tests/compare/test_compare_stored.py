"""Two stored results held against each other, where the answer is known."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.compare.judgement import QuantityDifference, judge
from pdebench.compare.pairing import pair_up
from pdebench.compare.quantities import quantity
from pdebench.compare.sides import read_sides
from pdebench.compare.stored import StoredComparison, compare_stored
from pdebench.compare.text import print_comparison
from pdebench.errors import ResultsError
from pdebench.report.frame import make_frame

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2, 3, 4)
NOISE = dict(zip(SEEDS, (0.004, -0.007, 0.011, 0.001, -0.009), strict=True))  # what runs of one seed share
OWN = dict(zip(SEEDS, (0.0006, -0.0004, 0.0001, 0.0007, -0.0010), strict=True))  # what they do not; its mean is 0
HEAD = ["suite", "status", "task", "model.family", "data.name", "data.resolution", "train.seed", "val_loss",
        "train.lr", "train.steps", "train.batch_size", "machine_fingerprint", "params"]  # fmt: skip


def cell(seed: int, family: str = "DiT", identity: int = 0, *, whole: bool = False, **changes: Any) -> dict[str, Any]:
    """A finished cell of a few columns, or of all that a synthetic one has; identities of one number are the same."""
    row = {"task": "generation", **synthetic.row(family, 32, seed)}
    kept = row if whole else {name: row[name] for name in HEAD}
    return {**kept, "cell": f"{identity:06x}{seed:06x}", "val_loss": math.exp(-1 + NOISE[seed]), **changes}


def folder(path: Path, cells: Sequence[Mapping[str, Any]]) -> Path:
    for one in cells:
        synthetic.write_record(dict(one), path)
    return path


def compared(tmp_path: Path, a: Sequence[Any], b: Sequence[Any], *metrics: str) -> StoredComparison:
    return compare_stored(folder(tmp_path / "a", a), folder(tmp_path / "b", b), metrics)


def verdicts(found: StoredComparison) -> dict[str, str]:
    """By column; of several settings by column and setting."""
    several = len(found.settings) > 1
    return {
        f"{one.quantity.column} {one.setting or 'all'}" if several else one.quantity.column: one.verdict
        for one in found.found
    }


def refusals(found: StoredComparison) -> dict[str, str]:
    return {one.quantity.column: one.reason for one in found.refused}


def lines(found: StoredComparison, width: int = 80) -> list[str]:
    from rich.console import Console

    console = Console(width=width, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_comparison(console, found)
    return console.export_text().splitlines()


def test_a_planted_difference_is_found_with_students_interval_over_seeds(tmp_path: Path) -> None:
    a = [cell(seed, **{"is": 9.0, "kid": 0.02 + NOISE[seed]}) for seed in SEEDS]
    b = [
        cell(seed, val_loss=math.exp(-1 + NOISE[seed] - 0.02 + OWN[seed]),
             **{"is": 9.0 * math.exp(0.05 + OWN[seed]), "kid": 0.02 + NOISE[seed] + OWN[seed]})
        for seed in SEEDS
    ]  # fmt: skip
    found = compared(tmp_path, a, b)
    # a loss is better the lower, Inception's score the higher; KID differs by what has the mean 0
    assert verdicts(found) == {
        "val_loss": "B is better", "is": "B is better", "kid": "not distinguishable", "params": "equal",
    }  # fmt: skip
    loss = next(one for one in found.found if one.quantity.column == "val_loss")
    oracle = stats.ttest_rel([math.log(one["val_loss"]) for one in b], [math.log(one["val_loss"]) for one in a])
    ends = oracle.confidence_interval(0.95)
    assert loss.change == pytest.approx(-0.02, abs=1e-9)
    assert (loss.low, loss.high, loss.p_value) == pytest.approx((ends.low, ends.high, oracle.pvalue), rel=1e-6)
    assert loss.pairs == 5
    kid = next(one for one in found.found if one.quantity.column == "kid")
    assert kid.by_difference
    assert kid.change == pytest.approx(0, abs=1e-9)
    text = "\n".join(lines(found))
    assert "validation loss ↓" in text
    assert "−2.0% [−2.1, −1.9]" in text
    assert "They differ in nothing" in text


def test_where_nothing_differs_nothing_is_said_to(tmp_path: Path) -> None:
    a = [cell(seed) for seed in SEEDS]
    found = compared(tmp_path, a, [cell(s, val_loss=math.exp(-1 + NOISE[s] + OWN[s])) for s in SEEDS])
    assert verdicts(found) == {"val_loss": "not distinguishable", "params": "equal"}
    same = compare_stored(tmp_path / "a", folder(tmp_path / "same", a))
    assert set(verdicts(same).values()) == {"equal"}
    assert any(line.startswith("Equal: validation loss, parameters") for line in lines(same))


def test_one_test_of_many_has_to_be_surer(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    own = {place: random.normal(size=5) * 1e-3 for place in range(20)}
    own = {place: values - values.mean() for place, values in own.items()}  # no difference at all
    own[0] = own[0] + stats.t.isf(0.03 / 2, 4) * own[0].std(ddof=1) / math.sqrt(5)  # with p = .03

    def cells(places: Sequence[int], shifted: bool) -> list[dict[str, Any]]:
        return [
            cell(s, identity=place, **{"train.lr": 1e-3 * (place + 1),
                 "val_loss": math.exp(-1 + NOISE[s] + (own[place][s] if shifted else 0))})
            for place in places for s in SEEDS
        ]  # fmt: skip

    alone = compared(tmp_path / "one", cells([0], False), cells([0], True), "val_loss")
    assert verdicts(alone) == {"val_loss": "A is better"}
    assert alone.found[0].p_value == pytest.approx(0.03)
    many = compared(tmp_path / "many", cells(range(20), False), cells(range(20), True), "val_loss")
    assert len(many.found) == 21
    assert set(verdicts(many).values()) == {"not distinguishable"}


def test_what_is_compared_may_be_the_family_or_a_key_and_is_told(tmp_path: Path) -> None:
    a = [cell(seed, "DiT", 1) for seed in SEEDS]
    b = [
        cell(seed, "PDE-SSM-DiT", 2, val_loss=math.exp(-0.9 + NOISE[seed] + OWN[seed]), params=400_000)
        for seed in SEEDS
    ]
    found = compared(tmp_path / "family", a, b)
    assert found.differs == {"model.family": ("DiT", "PDE-SSM-DiT")}
    assert verdicts(found) == {"val_loss": "A is better", "params": "differs"}
    params = next(one for one in found.found if one.quantity.column == "params")
    assert (params.a, params.b) == (412_345, 400_000)
    slower = [cell(seed, "DiT", 3, **{"train.lr": 2e-3}) for seed in SEEDS]
    key = compared(tmp_path / "key", a, slower)
    assert key.differs == {"train.lr": ("0.001", "0.002")}
    assert verdicts(key)["val_loss"] == "equal"


def test_settings_that_both_have_pair_first_and_the_rest_by_what_differs(tmp_path: Path) -> None:
    def suite(states: int) -> list[dict[str, Any]]:
        return [
            *(cell(s, "DiT", 1) for s in (0, 1)),
            *(
                cell(s, "PDE-SSM-DiT", 10 + states, **{"model.states": states, "val_loss": 0.3 / states})
                for s in (0, 1)
            ),
        ]

    extra = cell(0, "Mamba-DiT", 4)
    found = compared(tmp_path, suite(1), [*suite(4), extra], "val_loss")
    assert found.settings == ["PDE-SSM-DiT, states 1 / 4", "DiT"]
    assert found.differs == {"model.states": ("1", "4")} | {
        k: v for k, v in found.differs.items() if k != "model.states"
    }
    assert len(found.pairing.left["B"]) == 1
    assert found.pairing.left["A"] == []
    text = " ".join(lines(found, 200))
    assert "5 cells, 1 without a counterpart" in text
    assert "without a counterpart: Mamba-DiT (1 cell)" in text
    assert "No interval: it takes 3 seeds" in text


def test_a_setting_with_several_counterparts_is_left_out(tmp_path: Path) -> None:
    a = [cell(0, identity=1), cell(0, "None-DiT", 9)]
    b = [cell(0, identity=2, **{"train.lr": 2e-3}), cell(0, identity=3, **{"train.lr": 3e-3}), cell(0, "None-DiT", 9)]
    found = compared(tmp_path / "some", a, b)
    assert [pair.setting["model.family"] for pair in found.pairing.pairs] == ["None-DiT"]
    assert found.pairing.ambiguous == 3
    with pytest.raises(ResultsError, match="several settings for each of the other's"):
        compared(tmp_path / "none", a[:1], b[:2])


def test_timings_of_another_machine_are_refused_unless_named_and_quality_is_not(tmp_path: Path) -> None:
    a = [cell(seed, whole=True) for seed in SEEDS]
    b = [
        {**one, "machine_fingerprint": "another", "train_step_ms_median": 2 * one["train_step_ms_median"]} for one in a
    ]
    found = compared(tmp_path, a, b)
    refused = refusals(found)
    for column in ("train_step_ms_median", "sample_images_per_s", "peak_memory_bytes"):
        assert refused[column] == "A and B ran on different machines"
    assert verdicts(found)["val_loss"] == "equal"
    assert verdicts(found)["macs_forward"] == "equal"
    assert found.differs["machine"] == ("synthetic-ma", "another")
    assert "Not compared, since A and B ran on different machines: train step" in " ".join(lines(found, 200))
    named = compare_stored(tmp_path / "a", tmp_path / "b", ["train_step_ms_median"])
    assert verdicts(named) == {"train_step_ms_median": "A is better"}
    assert "Timings and memory are of different machines." in " ".join(lines(named)).replace("  ", " ")


def test_timings_of_no_machine_that_is_known_are_refused_too(tmp_path: Path) -> None:
    """Those of a record that does not say it need not be of the machine of another that does not."""
    a = [cell(seed, whole=True, machine_fingerprint=None) for seed in SEEDS]
    found = compared(tmp_path, a, [{**one, "train_step_ms_median": 2 * one["train_step_ms_median"]} for one in a])
    assert refusals(found)["train_step_ms_median"] == "some records do not say on which of the machines they ran"
    assert "add --metric train_step_ms_median" in " ".join(lines(found, 300))


def test_one_process_says_nothing_of_the_next_and_three_do(tmp_path: Path) -> None:
    timing = {
        "train_step_ms_median": 100.0,
        "train_step_ms_q1": 99.0,
        "train_step_ms_q3": 101.0,
        "train_step_ms_n": 400,
    }
    a = [cell(seed, **timing) for seed in SEEDS]
    b = [cell(seed, **{**timing, "train_step_ms_median": 110 * math.exp(OWN[seed])}) for seed in SEEDS]
    one = compared(tmp_path / "one", a[:1], b[:1], "train_step_ms_median").found[0]
    assert one.verdict == "within one process"
    assert one.low is not None
    assert one.high is not None
    assert one.low < math.log(1.1) < one.high
    assert one.high - one.low < 0.01
    three = compared(tmp_path / "three", a[:3], b[:3], "train_step_ms_median").found[0]
    assert three.verdict == "A is better"
    assert three.pairs == 3
    del timing["train_step_ms_n"]
    bare = compared(tmp_path / "bare", [cell(0, **timing)], [cell(0, **timing, params=1)], "train_step_ms_median")
    assert verdicts(bare) == {"train_step_ms_median": "equal"}


def test_what_was_not_measured_alike_is_not_compared(tmp_path: Path) -> None:
    a = [cell(seed, whole=True, sample_nfe_mean=20.0) for seed in (0, 1, 2)]
    for changes, column, reason in (
        ({"metric_samples": 5000}, "fd_efficientnet_lite0", "the samples differ in sample counts"),
        ({"data_checksum": "b" * 64}, "val_loss", "the data differ"),
        ({"peak_memory_kind": "resident"}, "peak_memory_bytes", "memory was measured in different ways"),
        ({"train.batch_size": 64}, "train_step_ms_median", "the batch sizes differ"),
        ({"sample_nfe_mean": 40.0}, "sample_images_per_s", "samples took other numbers of evaluations"),
        ({"fid": 3.0}, "fid", "only one side has it"),
    ):
        b = [{**one, **changes} for one in a]
        if "train.batch_size" in changes:  # which are other cells
            b = [{**one, "cell": f"{place:012x}"} for place, one in enumerate(b)]
        sides = [{**one, "data_checksum": "a" * 64} for one in a] if "data_checksum" in changes else a
        found = compared(tmp_path / column, sides, b)
        assert refusals(found)[column] == reason
        assert verdicts(found)["params"] == "equal"  # a count is a count


def test_a_cells_folder_and_a_table_are_sides_too(tmp_path: Path) -> None:
    frame = synthetic.results(families=("DiT",), seeds=(0, 1, 2))[synthetic.FEW]
    first = synthetic.write_folder(frame, tmp_path / "first")
    other = frame.assign(val_loss=frame["val_loss"] * 0.9)
    other.assign(finished_at="2026-01-01T00:00:00+00:00").to_csv(tmp_path / "other.csv", index=False)
    assert verdicts(compare_stored(first, tmp_path / "other.csv", ["val_loss"])) == {"val_loss": "B is better"}
    one, two = sorted((first / "cells").iterdir())[:2]
    found = compare_stored(one, two, ["val_loss"])  # whose seeds differ
    assert verdicts(found) == {"val_loss": "no interval"}
    assert found.found[0].pairs == 0


@pytest.mark.parametrize(
    ("a", "b", "more", "said"),
    [
        ("a", "a", [], "are the same: give two results"),
        ("a", "nowhere", [], "is not there: give a results folder"),
        ("a", "failed", [], "has no cell that is done"),
        (
            "a",
            "b",
            ["--metric", "val_los"],
            "--metric val_los: neither side has such a number; did you mean 'val_loss'?",
        ),
        ("a", "b", ["--metric", "status"], "neither side has such a number"),
        ("a", "apart", [], "no cell of A has a counterpart in B: they differ in "),
    ],
)
def test_wrong_use_is_one_sentence(a: str, b: str, more: list[str], said: str, tmp_path: Path) -> None:
    folder(tmp_path / "a", [cell(0), cell(1, **{"train.lr": 2e-3, "train.steps": 9})])
    folder(tmp_path / "b", [cell(0), cell(1)])
    folder(tmp_path / "failed", [cell(0, status="oom")])
    # each key has values that both sides have, and no two cells agree in all
    folder(tmp_path / "apart", [cell(0, identity=5, **{"train.steps": 9}), cell(1, identity=5, **{"train.lr": 2e-3})])
    with pytest.raises(ResultsError) as raised:
        CliRunner().invoke(app, ["compare", str(tmp_path / a), str(tmp_path / b), *more], catch_exceptions=False)
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_json_has_it_all(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", [cell(seed) for seed in SEEDS])
    b = folder(tmp_path / "b", [cell(s, val_loss=math.exp(-1.1 + NOISE[s] + OWN[s])) for s in SEEDS])
    said = CliRunner().invoke(app, ["compare", str(a), str(b), "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    (loss,) = (one for one in found["compared"] if one["metric"] == "val_loss")
    assert loss["b_against_a"] == pytest.approx(math.exp(-0.1))
    assert loss["low"] < loss["b_against_a"] < loss["high"] < 1
    assert (loss["verdict"], loss["higher_is_better"], loss["pairs"]) == ("B is better", False, 5)
    assert found["a"] == {"path": str(a), "cells": 5, "done": 5, "unpaired": 0, "unpaired_settings": [], "remarks": []}


@given(st.lists(st.floats(-0.05, 0.05), min_size=10, max_size=10))
@settings(max_examples=10)
def test_sides_that_change_places_mirror_each_other(noise: list[float]) -> None:
    (one,), (other,) = (
        judged({name: [cell(s, val_loss=math.exp(-1 + values[s])) for s in SEEDS] for name, values in sides})
        for sides in ((("A", noise[:5]), ("B", noise[5:])), (("A", noise[5:]), ("B", noise[:5])))
    )
    assert other.change == pytest.approx(-one.change, abs=1e-12)
    assert other.verdict == one.verdict.translate(str.maketrans("AB", "BA"))
    if one.low is not None and one.high is not None and other.low is not None and other.high is not None:
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)


def judged(sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[QuantityDifference]:
    """The losses of two sides that lie in no folder."""
    table = make_frame(pd.DataFrame([{**row, "folder": name} for name, rows in sides.items() for row in rows]))
    loss = quantity("val_loss")
    assert loss is not None
    return judge(table, pair_up(table).pairs, [loss], [])[0]


def test_directions_are_those_that_are_declared() -> None:
    for column, lower in (("val_loss", True), ("fid", True), ("is", False), ("train_step_ms_median", True),
                          ("sample_images_per_s", False), ("peak_memory_bytes", True), ("params", None)):  # fmt: skip
        found = quantity(column)
        assert found is not None
        assert found.lower is lower
    assert quantity("git_commit") is None
    assert quantity("train.lr") is None


def test_committed_folders_of_two_versions_are_compared_in_80_columns() -> None:
    a, b = ROOT / "results/baselines_revision_1", ROOT / "results/baselines"
    found = compare_stored(a, b)
    assert len(found.settings) == 11
    assert found.differs["model.revision"] == ("1", "2")
    assert verdicts(found)["val_loss PDE-SSM-DiT, revision 1 / 2"] == "B is better"
    assert verdicts(found)["val_loss DiT"] == "equal", "PyTorch 2.14 and 2.15 differ by 1e-8 of it"
    assert verdicts(found)["fd_efficientnet_lite0 DiT"] == "equal", "three differences of 2e-8, alike"
    assert verdicts(found)["val_loss DiG"] == "not distinguishable"
    told = lines(found)
    assert max(map(len, told)) <= 80
    assert not [line for line in told if "…" in line]
    assert " ".join(told[:2]).split("; ")[0] == "Of 110 numbers in 11 settings B is better in 2, A in 1"
    text = " ".join(" ".join(told).split())
    assert "without a counterpart: vHeat-DiT (3 cells), Wave-DiT (3 cells)" in text
    assert "A and B are means" in text
    assert "e−0" not in text, "nobody reads a change of 1e−04%"
    assert "< 0.01%" in text
    assert not {"val_loss_ema", "flops_train_step", "model.revision"} & {*text.split()}


def test_the_outcome_tells_what_holds_over_all_settings_together() -> None:
    of = "results/classification_quick"
    told = " ".join(" ".join(lines(compare_stored(ROOT / of, ROOT / f"{of}_again"))).split())
    assert told.startswith(
        "Of 195 numbers in 15 settings neither side is better in any; 165 are equal and 30 are of one"
    )
    assert "over all settings together B is better in " in told.partition(". ")[0]


def test_the_names_that_metric_takes_are_told_where_they_help(tmp_path: Path) -> None:
    a = [cell(seed, whole=True) for seed in SEEDS]
    found = compared(tmp_path, a, [{**one, "machine_fingerprint": "another"} for one in a])
    told = " ".join(lines(found, 300))
    named = [word for before, word in itertools.pairwise(told.split()) if before == "--metric"]
    again = compare_stored(tmp_path / "a", tmp_path / "b", [word.rstrip(".") for word in named])
    assert {"train_step_ms_median", "sample_images_per_s"} <= {*verdicts(again)}
    with pytest.raises(ResultsError, match="did you mean 'sample_images_per_s'"):
        compare_stored(tmp_path / "a", tmp_path / "b", ["sampling"])


@pytest.mark.parametrize(
    ("share", "said"), [(5e-5, "< 0.01%"), (2e-4, "+0.020% [+0.0"), (0.02, "+2.0% ["), (0.0, "0.0%")]
)
def test_a_change_that_its_digits_cannot_show_is_told_as_less_than_they_can(
    tmp_path: Path, share: float, said: str
) -> None:
    a = [cell(seed) for seed in (0, 1, 2)]
    b = [{**one, "val_loss": one["val_loss"] * (1 + share * (1 + 0.01 * place))} for place, one in enumerate(a)]
    told = " ".join(lines(compared(tmp_path, a, [{**one, "params": 1} for one in b], "val_loss")))
    assert said in told if share else "Equal: validation loss" in told


def test_every_pair_is_of_one_cell_where_both_sides_are_one_suite(tmp_path: Path) -> None:
    frame = synthetic.results(seeds=(0, 1)).to_dict("records")
    a, b = (folder(tmp_path / name, frame) for name in "ab")
    _, table = read_sides(a, b)
    found = pair_up(table)
    assert len(found.pairs) == 3
    for pair in found.pairs:
        assert pair.differs == {}
        assert set(table.loc[list(pair.a), "cell"]) == set(table.loc[list(pair.b), "cell"])
