"""Families are resized to a reference's cost, by as little as it takes, or it is said why they cannot be."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdebench.errors import ModelError
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import FAMILIES, Dimensions, Family
from pdebench.models.sizes import SIZES
from pdebench.plan.cost import count_by_name
from pdebench.suite.matching import TOLERANCE, MatchSetting, match


def cost(family: Family, dimensions: Dimensions, setting: MatchSetting, **options: Any) -> float:
    found = backbone_cost(
        family, dimensions, setting.patch, family.options(**options), input_size=setting.resolution, in_channels=3,
        num_classes=None,
    )  # fmt: skip
    return found.params - found.idle if setting.by == "params" else found.macs


def off(family: str, dimensions: Dimensions, to: str, setting: MatchSetting, **options: Any) -> float:
    """How far a family's cost is from the reference's own, as a share of it."""
    reference = FAMILIES[to]
    own = reference.dimensions(setting.size, reference.options())
    return cost(FAMILIES[family], dimensions, setting, **options) / cost(reference, own, setting) - 1


def steps(family: Family, size: str) -> list[int]:
    if family.heads:
        return [family.head_size(size)]
    coarse = next(step for step in range(8, 8 * family.multiple + 1) if step % family.multiple == 0)
    return [coarse] if family.shell.mlp != "none" else [coarse, family.multiple]


cases = {
    "family": st.sampled_from(sorted(FAMILIES)),
    "to": st.sampled_from(sorted(FAMILIES)),
    "size": st.sampled_from(sorted(SIZES)),
    "patch": st.sampled_from([2, 4, 8]),
    "tokens": st.sampled_from([1, 4, 7, 16, 32, 128]),
    "by": st.sampled_from(["params", "macs"]),
}


@settings(max_examples=300)
@given(**cases)
@example(family="DiT", to="PDE-SSM-DiT", size="XXS", patch=2, tokens=128, by="macs")  # has no small enough size
def test_any_family_costs_the_same_or_it_is_said_why_not(family, to, size, patch, tokens, by):
    setting, entry = MatchSetting(size, patch, patch * tokens, by), FAMILIES[family]
    own = entry.dimensions(size, entry.options())
    try:
        found = match(entry, entry.options(), FAMILIES[to], setting)
    except ModelError as error:
        sentence = str(error)
        assert sentence.startswith(
            f"{family}-{size}/{patch} at {patch * tokens} px cannot be matched to {to} by {by}: "
        )
        depth, width = map(int, re.search(r"\(depth (\d+), width (\d+)", sentence).groups())
        mlp = re.search(r"MLP (\d+)\)", sentence)
        nearest = own._replace(
            depth=depth, width=width, heads=own.heads and width // entry.head_size(size),
            mlp_hidden=mlp and int(mlp[1]),
        )  # fmt: skip
        assert f"is {cost(entry, nearest, setting) / (1e6 if by == 'params' else 1e9):.4g} " in sentence
        assert abs(off(family, nearest, to, setting)) > TOLERANCE
        side = {"no less than half": 1, "no more than 4 times": -1}
        for words, sign in side.items():
            assert words not in sentence or off(family, nearest, to, setting) * sign > 0
        return
    assert abs(off(family, found, to, setting)) <= TOLERANCE
    assert (found.width - own.width) % steps(entry, size)[-1] == 0
    assert found == entry.dimensions(size, entry.options(), **found._asdict())  # it can be built
    for now, before in zip(found[:2], own[:2], strict=True):
        assert 0.5 <= now / before <= 4
    assert 1 / 1.51 <= (found.width / found.depth) / (own.width / own.depth) <= 1.51
    if family == to:
        assert found == own


@settings(max_examples=40)
@given(**{**cases, "size": st.just("XXS")})
def test_nothing_changes_that_need_not(family, to, size, patch, tokens, by):
    """All sizes tried one by one: own, then width, then width and depth, then the MLP."""
    setting, entry = MatchSetting(size, patch, patch * tokens, by), FAMILIES[family]
    own = entry.dimensions(size, entry.options())
    coarse, finest = steps(entry, size)[0], steps(entry, size)[-1]
    fits = []
    for width in range(own.width - own.width // 2, 4 * own.width + 1):
        if (width - own.width) % finest:
            continue
        for depth in range(math.ceil(own.depth / 2), 4 * own.depth + 1):
            tried = entry.dimensions(size, entry.options(), width=width, depth=depth)
            wide, deep = width * own.depth, depth * own.width
            if max(wide, deep) <= 1.5 * min(wide, deep) and abs(off(family, tried, to, setting)) <= TOLERANCE:
                fits.append(tried)
    try:
        found = match(entry, entry.options(), FAMILIES[to], setting)
    except ModelError:
        assert not fits
        return
    coarsely = [tried for tried in fits if (tried.width - own.width) % coarse == 0]
    alone = [[tried for tried in some if tried.depth == own.depth] for some in (coarsely, fits)]
    fits = coarsely or fits
    if own in fits:
        assert found == own
    elif widths := alone[0] or alone[1]:
        assert found == min(widths, key=lambda tried: abs(off(family, tried, to, setting)))
    elif fits:
        assert found in fits
        skews = [abs(math.log(tried.width * own.depth / (tried.depth * own.width))) for tried in (found, *fits)]
        # Another width of the same depth may be in a little better proportion, but is farther in cost.
        assert all(skew >= skews[0] for skew, tried in zip(skews[1:], fits, strict=True) if tried.depth != found.depth)
    else:
        assert found.mlp_hidden != entry.dimensions(size, entry.options(), width=found.width).mlp_hidden
        assert found.mlp_hidden % 4 == 0


@pytest.mark.parametrize(
    ("family", "to", "setting", "expected"),
    [
        ("DiT", "DiT", MatchSetting("S", 2, 32, "macs"), (12, 384, 6, 1536)),  # the reference
        ("Mamba-DiT", "DiT", MatchSetting("S", 4, 32, "params"), (12, 384, None, 948)),  # near as it is
        ("PDE-SSM-DiT", "DiT", MatchSetting("XXS", 4, 32, "params"), (4, 136, None, 544)),  # width
        ("PDE-SSM-DiT", "DiT", MatchSetting("S", 4, 256, "macs"), (18, 568, None, 2272)),  # both, to 3.6 times the MACs
        ("DiT", "PDE-SSM-DiT", MatchSetting("S", 4, 32, "params"), (11, 384, 6, 1436)),  # heads of 64: depth and MLP
        ("DiT", "PDE-SSM-DiT", MatchSetting("L", 2, 32, "macs"), (22, 960, 15, 3840)),  # width and depth
    ],
)
def test_sizes_that_are_found(family, to, setting, expected):
    entry = FAMILIES[family]
    assert match(entry, entry.options(), FAMILIES[to], setting) == expected


@pytest.mark.parametrize("by", ["params", "macs"])
@pytest.mark.parametrize(("family", "to"), [("PDE-SSM-DiT", "DiT"), ("DiT", "PDE-SSM-DiT"), ("Mamba-DiT", "DiT")])
def test_the_models_that_are_built_cost_the_same(family, to, by):
    entry = FAMILIES[family]
    found = match(entry, entry.options(), FAMILIES[to], MatchSetting("XS", 4, 64, by))
    build: dict[str, Any] = {"input_size": 64, "in_channels": 3, "num_classes": None}
    counts = [count_by_name(f"{family}-XS/4", **build, **found._asdict()), count_by_name(f"{to}-XS/4", **build)]
    ours, theirs = [params if by == "params" else counted.macs for counted, params in counts]
    assert abs(ours / theirs - 1) <= TOLERANCE + 1e-4  # the counter rounds


def test_options_of_a_family_are_part_of_its_cost():
    entry, setting = FAMILIES["PDE-SSM-DiT"], MatchSetting("S", 4, 32, "params")
    plain, gated = (match(entry, entry.options(gate=gate), FAMILIES["DiT"], setting) for gate in (False, True))
    assert gated.width < plain.width
    assert abs(off(entry.name, gated, "DiT", setting, gate=True)) <= TOLERANCE


def test_the_reference_with_other_options_gets_the_cost_of_its_defaults():
    entry, setting = FAMILIES["PDE-SSM-DiT"], MatchSetting("S", 4, 32, "params")
    gated = match(entry, entry.options(gate=True), entry, setting)
    assert gated.width < entry.size("S").width
    assert abs(off(entry.name, gated, entry.name, setting, gate=True)) <= TOLERANCE


def test_weights_that_grow_with_the_grid_outgrow_what_can_be_matched():
    entry = FAMILIES["GFNet-DiT"]
    with pytest.raises(ModelError) as caught:
        match(entry, entry.options(), FAMILIES["DiT"], MatchSetting("S", 2, 1024, "params"))
    assert str(caught.value) == (
        "GFNet-DiT-S/2 at 1024 px cannot be matched to DiT by params: DiT has 133.1 M parameters, and the nearest that "
        "GFNet-DiT comes to, at no less than half its own width and depth, is 354.7 M parameters that act (depth 6, "
        "width 192, MLP 384)"
    )


def test_a_global_filter_is_not_matched_by_what_never_acts():
    """Of a small grid a quarter of the filter is idle: it is no part of what is called equal."""
    entry, reference = FAMILIES["GFNet-DiT"], FAMILIES["DiT"]
    setting = MatchSetting("XXS", 8, 32, "params")
    found = match(entry, entry.options(), reference, setting)
    whole = backbone_cost(
        entry, found, 8, entry.options(), input_size=32, in_channels=3, num_classes=None
    )  # 4 x 4 tokens: half spectra of 4 x 3 complex numbers, of which 16 real ones act
    assert whole.idle == found.depth * found.width * (2 * 4 * 3 - 4 * 4)
    theirs = cost(reference, reference.dimensions("XXS", reference.options()), setting)
    assert abs((whole.params - whole.idle) / theirs - 1) <= TOLERANCE


def test_a_reference_with_idle_parameters_says_that_they_are_left_out():
    entry = FAMILIES["DiT"]
    with pytest.raises(ModelError, match=r"GFNet-DiT has 5260 M parameters that act, and .* M parameters \("):
        match(entry, entry.options(), FAMILIES["GFNet-DiT"], MatchSetting("S", 2, 2048, "params"))
