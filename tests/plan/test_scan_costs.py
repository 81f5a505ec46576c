"""One convention for every scan, and the document that sets it beside others'."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import parse_name
from pdebench.plan.cost import count_one_block

DOCUMENT = Path(__file__).parents[2] / "docs" / "costs.md"
ROW = re.compile(r"\| `(?P<model>[\w-]+/2)` \| (?P<rest>[\d.| %]+) \|")
OURS = 3  # MACs a state and token


def rows() -> dict[str, list[str]]:
    found = (ROW.fullmatch(line) for line in DOCUMENT.read_text().splitlines())
    return {row["model"]: row["rest"].split(" | ") for row in found if row}


def test_the_document_has_the_models_that_are_compared() -> None:
    assert list(rows()) == [
        "ZigMa-S/2", "ZigMa-B/2", "ZigMa-L/2", "DiS-S/2", "DiS-B/2", "Mamba-DiT-S/2", "Mamba2-DiT-S/2", "DiG-S/2",
    ]  # fmt: skip


@pytest.mark.parametrize("model", rows())
def test_its_numbers_are_what_is_counted(model: str) -> None:
    cost, _ = count_one_block(model, input_size=32)
    scan = cost.of_kinds()["scan"]
    rest = cost.macs - scan
    expected = [cost.macs, scan / cost.macs, rest + scan * 4.5 / OURS, rest + scan * 9 / OURS]
    total, share, more, most = expected
    assert rows()[model] == [f"{total / 1e9:.2f}", f"{share:.1%}", f"{more / 1e9:.2f}", f"{most / 1e9:.2f}"]


STATES = {  # of a token, all channels: 2 d channels of 16 states; of 128; heads of (d / 2) x (d / heads)
    "ZigMa-S/2": 2 * 368 * 16,
    "Mamba-DiT-S/2": 2 * (2 * 384 * 16),  # both ways
    "DiS-S/2": 2 * (2 * 368 * 16),
    "Mamba2-DiT-S/2": 2 * 384 * 128,
    "DiG-S/2": 384 // 2 * 64,
}


@pytest.mark.parametrize("model", STATES)
def test_every_scan_is_three_products_a_state_and_token(model: str) -> None:
    family, size, _ = parse_name(model)
    cost, _ = count_one_block(model, input_size=32)
    assert cost.by_kind["scan"] == OURS * 256 * STATES[model] * family.size(size).depth
    options = family.options()
    by_hand = backbone_cost(family, family.dimensions(size, options), 2, options, input_size=32)
    assert cost.macs == pytest.approx(by_hand.macs, rel=1e-4)
