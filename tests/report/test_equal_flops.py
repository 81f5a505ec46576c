"""A study at equal FLOPs is compared by budget, each family at its best size, an option with the steps it pays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from test_report import page, section

from pdebench.report.ablations import ablations
from pdebench.report.compare import Measure, rank
from pdebench.report.comparisons import Comparison, comparisons
from pdebench.report.frame import finished, make_frame
from pdebench.report.sections.glossary import glossary

STEP = {"S": 1e9, "B": 4e9}  # FLOPs of a step of DiT
DEARER = {"DiT": 1.0, "PDE-SSM-DiT": 0.8}
LOSS = {  # by family, size and budget
    ("DiT", "S", 1e11): 0.30,
    ("DiT", "B", 1e11): 0.40,
    ("DiT", "S", 1e12): 0.25,
    ("DiT", "B", 1e12): 0.20,
    ("PDE-SSM-DiT", "S", 1e11): 0.31,
    ("PDE-SSM-DiT", "B", 1e11): 0.39,
    ("PDE-SSM-DiT", "S", 1e12): 0.21,
    ("PDE-SSM-DiT", "B", 1e12): 0.22,
}


def rows(changed: Mapping[str, Any] | None = None, seeds: int = 3) -> pd.DataFrame:
    """Two families, two sizes and two budgets, each size with the steps that the budget pays for."""
    like = synthetic.results()
    found = []
    for (family, size, budget), loss in LOSS.items():
        step = STEP[size] * DEARER[family]
        steps = round(budget / step)
        row = like[like["model.family"] == family].iloc[0].to_dict()
        for seed in range(seeds):
            cell = f"{len(found):012x}"
            found.append(
                row
                | {"cell": cell, "model.size": size, "train.steps": steps, "train.seed": seed}
                | {"flops_train_step": step, "flops_train": step * steps, "images_seen": 32 * steps}
                | {"val_loss": loss + 0.001 * seed, "peak_memory_bytes": 2**20 * (40 if size == "B" else 20)}
                | dict(changed or {})
            )
    return pd.DataFrame(found)


def compared(frame: pd.DataFrame) -> list[Comparison]:
    return comparisons(finished(make_frame(frame)))


def test_each_family_enters_a_budget_at_its_best_size() -> None:
    first, second = compared(rows())
    assert [one.label for one in (first, second)] == ["32 px, 1e11 FLOPs", "32 px, 1e12 FLOPs"]
    best = {entry.family: set(entry.rows["model.size"]) for entry in second.entries}
    assert best == {"DiT": {"B"}, "PDE-SSM-DiT": {"S"}}
    assert all(set(entry.rows["model.size"]) == {"S"} for entry in first.entries)
    assert {entry.seeds for one in (first, second) for entry in one.entries} == {3}


def test_steps_and_sizes_of_a_budget_are_no_unlike_training(tmp_path: Path) -> None:
    text = section(page(rows(), tmp_path), "findings")
    assert "not trained alike" not in text
    assert "trained with different" not in text
    assert "steps" in text, "the table says how many each took"
    other = rows()
    other.loc[other["model.family"] == "DiT", "train.lr"] = 0.5
    assert "they trained with different lr" in section(page(other, tmp_path), "findings")


def test_what_sizes_cost_is_compared_only_where_they_are_one() -> None:
    memory = Measure("peak_memory_bytes", "Peak memory", True, "memory")
    first, second = (rank(memory, one) for one in compared(rows()))
    assert first.compared
    assert not second.compared
    assert "size" in second.reason


@pytest.mark.parametrize("sizes", [("S",), ("S", "B")])
def test_equal_steps_are_compared_by_steps(sizes: tuple[str, ...]) -> None:
    frame = rows()
    frame = frame[frame["model.size"].isin(sizes)].drop_duplicates(["model.family", "model.size", "train.seed"])
    frame["train.steps"] = 100
    frame["flops_train"] = 100 * frame["flops_train_step"]
    found = compared(frame)
    assert all(len(one.entries) == 2 and not one.flops for one in found)
    assert [one.label for one in found] == (["32 px"] if len(sizes) == 1 else ["32 px, size B", "32 px, size S"])


def test_one_size_at_two_budgets_is_compared_by_budget() -> None:
    found = compared(rows()[lambda frame: frame["model.size"] == "S"])
    assert [one.flops for one in found] == ["1e11 FLOPs", "1e12 FLOPs"]
    assert all(len(one.entries) == 2 for one in found)


def test_the_opening_names_budgets_in_place_of_steps(tmp_path: Path) -> None:
    text = page(rows(), tmp_path)
    assert "at equal training FLOPs, 1e11 to 1e12" in text
    assert "with 3 seeds each" in text


def test_options_at_equal_flops_are_one_ablation() -> None:
    frame = rows()
    frame = frame[(frame["model.family"] == "PDE-SSM-DiT") & (frame["model.size"] == "S")].copy()
    frame["model.gate"] = False
    frame["data.download"] = False
    other = frame.assign(**{"data.name": "photographs", "data.download": True})
    gated = frame.copy()
    gated["model.gate"] = True
    gated["cell"] = [f"{100 + place:012x}" for place in range(len(gated))]
    gated["flops_train_step"] *= 1.5
    gated["train.steps"] = (frame["flops_train"] / gated["flops_train_step"]).round()
    gated["flops_train"] = gated["flops_train_step"] * gated["train.steps"]
    gated["val_loss"] -= 0.01
    failed = gated.iloc[[0]].assign(cell="f" * 12, status="diverged", flops_train=None, val_loss=None)
    failed["train.seed"] = 7
    found = ablations(make_frame(pd.concat([frame, gated, failed], ignore_index=True)))
    assert [one.title.rpartition(", ")[2] for one in found] == ["1e11 FLOPs", "1e12 FLOPs"]
    two_sets = ablations(make_frame(pd.concat([frame, gated, other, other.assign(**{"model.gate": True})])))
    assert len(two_sets) == 4
    assert not any("download" in one.title for one in two_sets), "its name says which set it is"
    for one in found:
        assert one.default is not None
        (arm,) = [arm for arm in one.arms if arm is not one.default]
        difference = one.difference(arm)
        assert difference is not None
        assert difference.pairs == 3
        assert difference.mean == pytest.approx(-0.01)
    (gate,) = [arm for arm in found[0].arms if arm is not found[0].default]
    assert gate.failed == "1 diverged"


def test_the_glossary_says_what_the_words_of_settings_mean() -> None:
    found = glossary(make_frame(rows()))
    assert found is not None
    assert {"FLOPs", "size", "steps"} <= set(dict(found.numbers))
    assert not {"lr", "patch"} & set(dict(found.numbers)), "nothing differs in these"
