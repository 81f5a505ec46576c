"""Formulas of grids of any number of axes, against what is counted of the transforms written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pdebench.models import closed_form
from pdebench.models.mixer_context import MixerContext
from pdebench.ops.macs import frequencies, spectral_product
from pdebench.plan.cost import count_calls

GRIDS = [(16,), (15,), (8, 6), (6, 8), (7, 5), (4, 6, 8), (3, 5, 7), (2, 3, 4, 5)]
CHANNELS = 3


class Filter(nn.Module):
    """A free filter over all axes of a grid, as `torch.fft` has it."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        super().__init__()
        half = (*grid[:-1], grid[-1] // 2 + 1)
        self.filter = nn.Parameter(torch.empty(CHANNELS, *half, 2, device="meta"))

    def forward(self, u: Tensor) -> Tensor:
        axes = tuple(range(2, u.dim()))
        spectrum = torch.fft.rfftn(u, dim=axes) * torch.view_as_complex(self.filter)
        return torch.fft.irfftn(spectrum, s=u.shape[2:], dim=axes)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_spectral_product_costs_what_is_counted_of_its_transforms(grid: tuple[int, ...]) -> None:
    counted = count_calls(Filter(grid), (torch.empty(1, CHANNELS, *grid, device="meta"),)).by_kind
    by_hand = {name: CHANNELS * macs for name, macs in spectral_product(*grid).items()}
    assert counted == pytest.approx(by_hand, abs=1)  # there and back, each is rounded


@pytest.mark.parametrize("grid", GRIDS)
def test_half_a_spectrum_is_what_pytorch_makes_of_a_grid(grid: tuple[int, ...]) -> None:
    assert frequencies(*grid) == torch.fft.rfftn(torch.zeros(grid)).numel()


@pytest.mark.parametrize("grid", GRIDS)
def test_a_global_filter_by_hand_on_any_grid(grid: tuple[int, ...]) -> None:
    """As many of its parameters act as there are tokens."""
    place = MixerContext(CHANNELS, 1, grid, 0, 1)
    by_hand = closed_form.gfnet(place, None)
    assert place.tokens == math.prod(grid)
    assert by_hand.params == sum(parameter.numel() for parameter in Filter(grid).parameters())
    assert by_hand.params - by_hand.idle == CHANNELS * place.tokens
    counted = count_calls(Filter(grid), (torch.empty(1, CHANNELS, *grid, device="meta"),))
    assert counted.macs == pytest.approx(by_hand.macs, abs=1)


def test_a_grid_of_one_token_is_its_own_spectrum() -> None:
    assert spectral_product(1, 1) == spectral_product(1) == {"fft": 0, "complex product": 3}
