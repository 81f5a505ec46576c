"""Parameters that never act, found by brute force, and what a family's cost by hand says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.base import Mixer
from pdebench.models.mixers.gfnet import hermitian
from pdebench.models.registry import FAMILIES

OFF: dict[str, Any] = {"diffusion": "off", "convection": False, "reaction": False}


def gradients(mixer: Mixer, place: MixerContext) -> Tensor:
    """More gradients than there are parameters, each of other parameters, tokens and weights of the output."""
    parameters = list(mixer.parameters())
    initial = [parameter.detach().clone() for parameter in parameters]
    count = sum(parameter.numel() for parameter in parameters)
    rows: list[Tensor] = []
    while len(rows) < count + 40:
        with torch.no_grad():
            for parameter, start in zip(parameters, initial, strict=True):
                parameter.copy_(start + torch.randn_like(parameter) / 2)
        x, c = torch.randn(2, place.tokens, place.width).double(), torch.randn(2, place.width).double()
        y = mixer(x, c)
        for _ in range(4):
            found = torch.autograd.grad(y, parameters, torch.randn_like(y), retain_graph=True, allow_unused=True)
            parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            row = torch.cat([part.flatten() for part in parts])
            rows.append(row / row.norm())
    return torch.stack(rows)


def idle(family: str, width: int, grid: tuple[int, int], heads: int = 1, **options: Any) -> tuple[int, int]:
    """Directions in which no gradient ever points, and how many the family's cost by hand has."""
    entry, place = FAMILIES[family], MixerContext(width, heads, grid, 1, 2)
    chosen = entry.options(**options)
    mixer = entry.mixer_class()(place, chosen).double()  # type: ignore[call-arg]
    mixer.initialise()
    found = gradients(mixer, place)
    found = found / found.norm(dim=0).clamp(min=1e-6)  # parameters of any scale alike; rounding alone stays nothing
    values = torch.linalg.svdvals(found)
    return found.shape[1] - int((values > 1e-8 * values[0]).sum()), entry.cost(place, chosen).idle


@pytest.mark.parametrize(
    ("family", "width", "heads", "grid", "options"),
    [
        *(("GFNet-DiT", 2, 1, grid, {}) for grid in [(4, 4), (3, 5), (4, 3), (2, 2), (3, 1)]),
        ("PDE-SSM-DiT", 4, 1, (4, 4), {}),
        ("PDE-SSM-DiT", 4, 1, (3, 5), {"states": 2, "gate": True, "selective": True}),
        ("PDE-SSM-DiT", 4, 1, (3, 3), {"diffusion": "isotropic", "convection": False, "padding": "zero"}),
        ("PDE-SSM-DiT", 4, 1, (3, 4), {"diffusion": "diagonal", "convection": False, "boundary": "neumann"}),
        ("PDE-SSM-DiT", 4, 1, (3, 3), OFF | {"diffusion": "isotropic", "states": 2, "boundary": "dirichlet"}),
        ("PDE-SSM-DiT", 4, 1, (4, 4), OFF),
        ("PDE-SSM-DiT", 4, 1, (3, 5), OFF | {"states": 3}),
        ("PDE-SSM-DiT", 4, 1, (3, 3), OFF | {"states": 2, "selective": True}),
        ("PDE-SSM-DiT", 4, 1, (3, 3), OFF | {"reaction": True, "selective": True}),
        ("AFNO-DiT", 16, 1, (4, 4), {}),
        ("S4D-DiT", 1, 1, (2, 3), {}),
        ("DiG", 4, 1, (2, 3), {}),
        ("ZigMa", 4, 1, (2, 3), {}),
        ("vHeat-DiT", 3, 1, (2, 3), {}),
        ("Wave-DiT", 3, 1, (3, 4), {}),
        ("DiCo", 3, 1, (2, 3), {}),
        ("Linear-DiT", 4, 2, (2, 3), {}),
        ("SSM2D-DiT", 2, 1, (3, 3), {}),
        ("SSM2D-DiT", 2, 1, (2, 3), {"directions": 2}),
        ("None-DiT", 4, 1, (2, 3), {}),
    ],
)
def test_idle_parameters_are_those_that_no_gradient_ever_moves(
    family: str, width: int, heads: int, grid: tuple[int, int], options: dict[str, Any]
) -> None:
    found, by_hand = idle(family, width, grid, heads, **options)
    assert found == by_hand


def test_the_bias_of_dits_keys_is_idle_and_not_held_against_it() -> None:
    found, by_hand = idle("DiT", 8, (3, 3), heads=2)
    assert (found, by_hand) == (8, 0)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (4, 1), (1, 6), (4, 6), (5, 4), (3, 5), (2, 2)])
def test_as_many_numbers_of_a_global_filter_act_as_its_kernel_has_points(h: int, w: int) -> None:
    """The rank of the map from the filter to the kernel, by all of its columns."""
    half = h * (w // 2 + 1)
    filters = torch.eye(2 * half, dtype=torch.float64).view(2 * half, h, w // 2 + 1, 2)
    kernels = torch.fft.irfft2(torch.view_as_complex(hermitian(filters, w).contiguous()), s=(h, w)).flatten(1)
    cost = FAMILIES["GFNet-DiT"].cost(MixerContext(3, 1, (h, w), 0, 1), None)
    assert torch.linalg.matrix_rank(kernels) == h * w
    assert cost.params - cost.idle == 3 * h * w
