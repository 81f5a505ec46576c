"""The table of models: what it counts is what a whole model has."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from representatives import few

from pdebench.cli import listing
from pdebench.models.registry import FAMILIES
from pdebench.models.sizes import SIZES
from pdebench.plan import cost
from pdebench.plan.cost import CountedCost, count_by_name, count_one_block


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("family", "options"),
    [(name, {}) for name in FAMILIES]
    + few(FAMILIES, with_={"depth": 5, "input_size": 16, "learn_sigma": True, "num_classes": None}),
)
def test_one_block_tells_what_the_whole_model_costs(family: str, options: dict[str, object]) -> None:
    whole, params = count_by_name(f"{family}-XXS/4", **options)
    assert count_one_block(f"{family}-XXS/4", **options) == (whole, params)


def test_every_size_has_two_rows_with_its_cost() -> None:
    rows = listing.models_of("DiT")
    assert [(row["size"], row["resolution"]) for row in rows] == [(size, px) for size in SIZES for px in (256, 512)]
    row = next(row for row in rows if (row["size"], row["resolution"]) == ("S", 512))
    cost, params = count_by_name("DiT-S/2", input_size=64)
    assert (row["params"], row["macs"]) == (params, cost.macs)
    assert (row["depth"], row["width"], row["heads"], row["patch"]) == (12, 384, 6, 2)
    assert (row["mixer"], row["paper"], row["options"]) == (
        FAMILIES["DiT"].summary,
        FAMILIES["DiT"].paper,
        {"attention": "full"},
    )
    for smaller, larger in pairwise(rows[::2]):
        assert smaller["macs"] < larger["macs"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_options_are_told_with_their_defaults(
    family: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    large = CountedCost({"linear": 999_999_999_999}, {}), 999_999_999  # the options do not depend on what a size costs
    monkeypatch.setattr(cost, "count_one_block", lambda *_, **__: large)
    listing.print_models(listing.models_of(family))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    words = shown.split()
    assert f"{family}:" in words
    for name, field in FAMILIES[family].options.model_fields.items():
        assert words[words.index(name) + 1].strip(",") == listing._plain(field.default)
