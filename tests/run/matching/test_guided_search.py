"""With a cost that is made up in a clock's place, sizes come within 2% of a reference's, in few measurements."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from pdebench.errors import ModelError
from pdebench.models.registry import Dimensions
from pdebench.run.matching.guided_search import MOST, guide_of, search
from pdebench.run.matching.paired_ratio import Ratio, measure_ratio
from pdebench.suite.load import load_suite
from pdebench.suite.measured_sizes import SizeQuestion

Cost = Callable[[Dimensions], float]

SUITE = """\
suite: fake
data: {{name: noise, resolution: 32}}
model: {{family: {family}, size: {size}, patch: 4}}
train: {{steps: 0, batch_size: 32, lr: 1e-3}}
evaluate: {{samples: 0}}
"""


@pytest.fixture
def question(tmp_path):
    def ask(family: str, size: str = "XXS", by: str = "step_time", to: str = "DiT") -> SizeQuestion:
        (tmp_path / "fake.yaml").write_text(SUITE.format(family=family, size=size))
        (cell,) = load_suite(tmp_path / "fake.yaml").planned()
        return SizeQuestion(cell, by, to)

    return ask


def launches(factor: float) -> Cost:
    """A device on which a block takes its launches first, and its width hardly anything until it is large."""
    return lambda d: factor * (3 + d.depth * (20 + 4e-4 * d.width * (4 * d.width + 2 * (d.mlp_hidden or 0))))


def tiles(factor: float) -> Cost:
    """A device that works in tiles of 32 channels, and does nothing for fewer."""

    def cost(d: Dimensions) -> float:
        width, hidden = (32 * math.ceil(n / 32) for n in (d.width, d.mlp_hidden or 0))
        return factor * (5 + d.depth * (1e-3 * width * (4 * width + 2 * hidden) + 0.05 * width + 0.2 * d.width))

    return cost


def exactly(cost: Cost, reference: float) -> tuple[Callable[[Dimensions], Ratio], list[Dimensions]]:
    """A clock without noise, and what it was asked for."""
    asked: list[Dimensions] = []

    def measure(dimensions: Dimensions) -> Ratio:
        asked.append(dimensions)
        return measure_ratio(itertools.repeat(cost(dimensions) / reference).__next__)

    return measure, asked


FAMILIES = ("PDE-SSM-DiT", "GFNet-DiT", "DiG", "Mamba-DiT", "AFNO-DiT", "DiCo", "DiS")


@pytest.mark.parametrize("size", ["XXS", "S"])
@pytest.mark.parametrize(
    ("family", "device"),
    # of a family without an MLP few sizes differ in tiles, and none of them need be near
    [(family, device) for family in FAMILIES for device in (launches, tiles) if (family, device) != ("DiS", tiles)],
)
def test_a_family_comes_to_the_time_of_another(question, family, size, device):
    """Though a family's MACs say neither how fast its device is at it nor what its launches take."""
    asked = question(family, size)
    dit = device(1.0)(question("DiT", size).own)
    for factor in (0.6, 1.5):
        measure, tried = exactly(device(factor), dit)
        found = search(asked, measure)[-1]
        assert 0.98 <= device(factor)(found.dimensions) / dit <= 1.02
        assert found.dimensions == tried[-1]
        assert len(set(tried)) == len(tried) <= MOST


def test_it_is_done_in_few_measurements(question):
    counts = []
    for family, factor in itertools.product(FAMILIES, (0.5, 0.8, 1.25, 2.0)):
        measure, tried = exactly(launches(factor), launches(1.0)(question("DiT", "S").own))
        search(question(family, "S"), measure)
        counts.append(len(tried))
    assert sorted(counts)[len(counts) // 2] <= 5


def test_what_is_equal_already_stays_as_it_is(question):
    asked = question("PDE-SSM-DiT")
    measure, tried = exactly(launches(1.0), launches(1.0)(asked.own))
    assert search(asked, measure)[-1].dimensions == asked.own
    assert tried == [asked.own]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "Mamba-DiT"])
def test_where_time_is_as_macs_are_the_size_is_that_of_equal_macs(question, family):
    """The order is that of the closed search, which changes as little as it can."""
    asked, dit = question(family, "S"), question("DiT", "S")
    measure, tried = exactly(guide_of(asked), guide_of(dit)(dit.own))
    search(asked, measure)
    assert asked.until_measured() in tried[:2]


def test_memory_has_a_guide_of_its_own(question):
    asked, dit = question("DiG", by="peak_memory"), question("DiT", by="peak_memory")
    measure, tried = exactly(lambda d: 2e7 + 1.7 * guide_of(asked)(d), 2e7 + guide_of(dit)(dit.own))
    search(asked, measure)
    assert len(tried) <= 6


def test_a_cost_that_no_size_has_is_refused_with_how_near_it_comes(question):
    measure, _ = exactly(launches(40.0), launches(1.0)(question("DiT").own))
    with pytest.raises(ModelError) as caught:
        search(question("PDE-SSM-DiT"), measure)
    said = str(caught.value)
    assert said.startswith("PDE-SSM-DiT-XXS/4 at 32 px, batch 32 cannot be matched to DiT by step_time")
    assert "at no less than half its own width and depth" in said
    assert "times its time of a training step (depth 2, width 64" in said


def test_noise_is_refused_as_noise(question):
    asked = question("PDE-SSM-DiT")
    pairs = itertools.cycle([0.9, 1.1, 0.95, 1.05, 1.0])
    with pytest.raises(ModelError, match=r"this machine is too noisy to tell.*at depth 4, width 128.* 16 pairs"):
        search(asked, lambda dimensions: measure_ratio(pairs.__next__, tolerance=0.05))


def test_a_search_ends_with_its_time(question):
    measure, tried = exactly(launches(3.0), launches(1.0)(question("DiT").own))
    with pytest.raises(ModelError, match=r"the nearest, of 1 that were measured until match\.seconds were over, has"):
        search(question("PDE-SSM-DiT"), measure, lambda: True)
    assert len(tried) == 1
