"""The PDE-SSM operator with edges, against tori of twice the side and matrix exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.errors import ModelError
from pdebench.measure.spatial.physics import learned_physics
from pdebench.models.backbone import create_model
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.closed_form import pde
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.transfer import at_resolution
from pdebench.ops import macs
from pdebench.plan.cost import count_by_name, count_one_block
from pdebench.plan.trace import trace_step

EDGES = ("neumann", "dirichlet")
GRIDS = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)
TERMS = {"diffusion": "diagonal", "convection": False}


def operator(grid: tuple[int, ...], channels: int = 2, seed: int = 0, **options: object) -> PDEOperator:
    """A float64 operator with every parameter moved away from its initial value."""
    torch.manual_seed(seed)
    built = PDEOperator(channels, grid, PDEOptions(**{**TERMS, **options})).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return built


def only(grid: tuple[int, ...], length: float, **options: object) -> PDEOperator:
    """One channel of one state, of the PDE's solution alone, diffusive lengths `length` of a side."""
    built = operator(grid, 1, **{"reaction": False, **options})
    with torch.no_grad():
        built.skip.zero_()
        built.readout.fill_(1)
        built.log_length.fill_(math.log(length))
    return built


def mirrored(x: Tensor, sign: int) -> Tensor:
    """`x` (B, D, *grid) and behind it, along each axis, its mirror image with a sign."""
    for axis in range(2, x.dim()):
        x = torch.cat((x, sign * x.flip(axis)), axis)
    return x


def on_torus(op: PDEOperator, x: Tensor, tau: Tensor | None) -> Tensor:
    """What the periodic operator on a torus of two sides makes of the mirrored tokens, where they are."""
    grid = x.shape[2:]
    torus = PDEOperator(op.channels, tuple(grid), PDEOptions(**op.options.model_dump() | {"boundary": "periodic"}))
    torus.double().load_state_dict(op.state_dict())
    with torch.no_grad():
        torus.log_length -= math.log(2)  # in units of a domain of twice the side
    y = torus(mirrored(x, 1 if op.options.boundary == "neumann" else -1), tau)
    for axis, side in enumerate(grid, 2):
        y = y.narrow(axis, 0, side)
    return y


@given(
    grid=GRIDS,
    boundary=st.sampled_from(EDGES),
    states=st.sampled_from([1, 3]),
    diffusion=st.sampled_from(["diagonal", "isotropic"]),
    selective=st.booleans(),
    seed=st.integers(0, 99),
)
def test_is_the_torus_of_twice_the_side_for_mirrored_tokens(
    grid: tuple[int, ...], boundary: str, states: int, diffusion: str, selective: bool, seed: int
) -> None:
    op = operator(grid, states=states, diffusion=diffusion, boundary=boundary, seed=seed)
    x = torch.randn(3, 2, *grid, dtype=torch.float64)
    tau = 0.3 + torch.rand(3, 2, dtype=torch.float64) if selective else None
    torch.testing.assert_close(op(x, tau), on_torus(op, x, tau), atol=1e-10, rtol=0)


def differences(n: int, sign: int) -> np.ndarray:
    """u'' by finite differences at the middles of n cells of the unit interval, mirrored over its ends with a sign."""
    found = (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n)) * n**2
    found[0, 0] += sign * n**2
    found[-1, -1] += sign * n**2
    return found


def solved_by_differences(op: PDEOperator, x: np.ndarray, sign: int) -> np.ndarray:
    (k_yy, k_xx, _), n = op.diffusion_tensor(), len(x)
    rate = op.bounded_reaction().item()
    rows, columns = (scipy.linalg.expm(k.item() * differences(n, sign)) for k in (k_yy, k_xx))
    return math.exp(rate) * rows @ x @ columns.T


@pytest.mark.parametrize(("boundary", "sign"), [("neumann", 1), ("dirichlet", -1)])
def test_finite_differences_come_to_it_with_the_square_of_their_step(boundary: str, sign: int) -> None:
    errors = []
    for n in (12, 24, 48):
        op = only((n, n), 0.2, boundary=boundary, reaction=True)
        with torch.no_grad():
            op.log_length[1] += 0.7
            op.reaction.fill_(0.3)
            at = (torch.arange(n).double() + 0.5) / n
            # a smooth field that is no eigenfunction and meets the conditions at the edges
            line = torch.exp(torch.cos(math.pi * at)) * (1 if sign == 1 else torch.sin(math.pi * at))
            x = line[:, None] * line.flip(0)
            y = op(x[None, None])[0, 0].numpy()
        errors.append(np.abs(y - solved_by_differences(op, x.numpy(), sign)).max())
    assert errors[-1] < 1e-3 * np.abs(y).max()
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(4, rel=0.1)


@given(grid=GRIDS, boundary=st.sampled_from(EDGES), first=st.floats(0.1, 2), second=st.floats(0.1, 2))
def test_two_times_in_turn_are_their_sum(grid: tuple[int, ...], boundary: str, first: float, second: float) -> None:
    op = operator(grid, boundary=boundary)
    with torch.no_grad():
        op.skip.zero_()
        op.readout.fill_(1)
    x = torch.randn(1, 2, *grid, dtype=torch.float64)
    times = [torch.full((1, 2), t, dtype=torch.float64) for t in (first, second, first + second)]
    torch.testing.assert_close(op(op(x, times[0]), times[1]), op(x, times[2]), atol=1e-10, rtol=0)


@given(grid=GRIDS, length=st.floats(0.01, 3))
def test_nothing_flows_through_neumanns_edges_and_dirichlets_let_all_go(grid: tuple[int, ...], length: float) -> None:
    x = torch.rand(1, 1, *grid, dtype=torch.float64)
    kept, lost = (only(grid, length, boundary=boundary)(x) for boundary in EDGES)
    torch.testing.assert_close(kept.mean(), x.mean())
    constant = torch.ones_like(x)
    torch.testing.assert_close(only(grid, length, boundary="neumann")(constant), constant)
    assert lost.norm() < x.norm()
    if length >= 1:  # of the slowest sine exp(-pi^2 / 2) an axis is left
        assert lost.norm() <= math.exp(-(math.pi**2) / 2) * x.norm() * (1 + 1e-9)


def test_a_point_at_an_edge_stays_on_its_side() -> None:
    corner = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    corner[..., 0, 0] = 1
    seen = {boundary: only((16, 16), 0.1, boundary=boundary)(corner)[0, 0] for boundary in ("periodic", *EDGES)}
    assert seen["periodic"][-1, -1] > 0.5 * seen["periodic"][1, 1]
    for boundary in EDGES:
        assert abs(seen[boundary][-1, -1]) < 1e-9 * seen[boundary][1, 1]
    assert seen["neumann"][0, 0] > 3 * seen["periodic"][0, 0]  # three of four images are mirrored onto it
    assert seen["dirichlet"][0, 0] < 0.2 * seen["periodic"][0, 0]


@pytest.mark.parametrize(("boundary", "wave", "first"), [("neumann", torch.cos, 0), ("dirichlet", torch.sin, 1)])
def test_the_same_weights_are_the_same_operator_on_a_finer_grid(
    boundary: str, wave: Callable[[Tensor], Tensor], first: int
) -> None:
    """On thrice as many tokens, of which the middle ones of three are where the coarse ones are."""
    op = operator((6, 5), channels=3, states=2, boundary=boundary)

    def field(h: int, w: int) -> Tensor:
        torch.manual_seed(1)
        (y, x), found = ((torch.arange(side).double() + 0.5) / side for side in (h, w)), torch.zeros(1, 3, h, w)
        for m, n in product(range(first, first + 5), range(first, first + 4)):
            plane = wave(math.pi * m * y)[:, None] * wave(math.pi * n * x)
            found = found + torch.randn(3, 1, 1).double() * plane
        return found

    coarse, fine = op(field(6, 5)), op(field(18, 15))
    torch.testing.assert_close(fine[..., 1::3, 1::3], coarse, atol=1e-10, rtol=0)


@pytest.mark.parametrize("boundary", EDGES)
def test_a_trained_model_moves_to_another_grid(boundary: str) -> None:
    name, build = "PDE-SSM-DiT-XXS/4", {"input_size": 16, "num_classes": None, "boundary": boundary, **TERMS}
    model = create_model(name, depth=1, **build)
    larger = at_resolution(model, name, {**build, "depth": 1}, 32)
    assert larger(torch.randn(1, 4, 32, 32), torch.rand(1)).isfinite().all()
    assert larger.blocks[0].mixer.operator.basis == model.blocks[0].mixer.operator.basis


@pytest.mark.parametrize("boundary", EDGES)
@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize("options", [{}, {"states": 2, "diffusion": "isotropic"}, {"diffusion": "off"}])
def test_gradients(boundary: str, selective: bool, options: dict[str, object]) -> None:
    op = operator((3, 4), boundary=boundary, **options)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    tau = (0.5 + torch.rand(2, 2, dtype=torch.float64)).requires_grad_() if selective else None
    names = [name for name, _ in op.named_parameters()]

    def call(x: Tensor, tau: Tensor | None, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(op, dict(zip(names, parameters, strict=True)), (x, tau))

    assert torch.autograd.gradcheck(call, (x, tau, *op.parameters()))


@pytest.mark.parametrize("boundary", EDGES)
def test_an_exponent_beyond_float_range_is_exactly_zero_and_has_no_nan_gradient(boundary: str) -> None:
    op = PDEOperator(1, (8, 8), PDEOptions(boundary=boundary, **TERMS))
    with torch.no_grad():
        op.log_length.fill_(3.0)
        op.skip.zero_()
    assert (op.symbol(8, 8)[1:, 1:] == 0).all()
    op(torch.randn(1, 1, 8, 8, requires_grad=True)).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in op.parameters())


@pytest.mark.parametrize("boundary", EDGES)
def test_in_bf16_it_is_in_bf16_to_its_rounding_and_its_symbol_is_not(boundary: str) -> None:
    torch.manual_seed(0)
    op = PDEOperator(8, (8, 8), PDEOptions(boundary=boundary, states=2, **TERMS))
    x = torch.randn(2, 8, 8, 8)

    def outcome(x: Tensor) -> list[Tensor]:
        x = x.detach().requires_grad_()
        y = op(x)
        assert y.dtype == x.dtype
        return [y, *torch.autograd.grad(y.float().square().sum(), [x, *op.parameters()])]

    exact = outcome(x)
    for rounded, wanted in zip(outcome(x.bfloat16()), exact, strict=True):
        assert (rounded.float() - wanted).square().sum() < 1e-4 * wanted.square().sum()
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which enters an autograd Function's forward pass
        assert all(torch.equal(got, wanted) for got, wanted in zip(outcome(x), exact, strict=True))


@pytest.mark.parametrize(
    ("boundary", "grid", "options"),
    [("neumann", (3, 4), {"states": 2, "selective": True}), ("dirichlet", (2, 3, 2), {"diffusion": "isotropic"})],
)
def test_compiles_as_one_graph(boundary: str, grid: tuple[int, ...], options: dict[str, object]) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    place = MixerContext(4, 1, grid, 0, 1)
    mixer = PDEMixer(place, PDEOptions.model_validate({"boundary": boundary, **TERMS, **options}))
    x, c = torch.randn(2, place.tokens, 4, requires_grad=True), torch.randn(2, 4)
    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
    wanted = [x, *mixer.parameters()]
    for found, plain in zip(
        torch.autograd.grad(compiled(x, c).square().sum(), wanted),
        torch.autograd.grad(mixer(x, c).square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, plain)


def test_sampling_reuses_the_symbol_until_a_parameter_changes() -> None:
    op = operator((4, 4), boundary="neumann").eval()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        first = op(x)
        assert op._current_symbol((4, 4), None) is op._current_symbol((4, 4), None)
        op.readout.mul_(2)
        assert not torch.equal(op(x), first)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "neumann needs convection: false and diffusion: diagonal, isotropic or off"),
        ({"diffusion": "diagonal"}, "needs convection: false"),
        ({"convection": False}, "needs convection: false and diffusion: diagonal"),
        ({**TERMS, "padding": "zero"}, "padding: zero is of a torus"),
    ],
)
def test_what_an_edge_would_not_preserve_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ModelError, match=f"XXS/4: option 'boundary': .*{told}"):
        create_model("PDE-SSM-DiT-XXS/4", boundary="neumann", **options)


def test_a_mixer_says_that_no_kernel_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def implementation(boundary: str) -> str:
        options = PDEOptions.model_validate({"boundary": boundary, **TERMS})
        return PDEMixer(MixerContext(16, 1, (16, 16), 0, 1), options).implementation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [implementation(boundary) for boundary in EDGES] == ["cosine matrices", "sine matrices"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    for asked in ("0", "1"):
        monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", asked)
        assert implementation("dirichlet") == "sine matrices; no Triton kernel: not with this boundary"


# ---- what it costs


@pytest.mark.parametrize("boundary", EDGES)
@pytest.mark.parametrize("options", [{}, {"states": 4, "selective": True, "gate": True}])
def test_costs_by_hand_are_those_counted(boundary: str, options: dict[str, object]) -> None:
    entry, build = FAMILIES["PDE-SSM-DiT"], {"boundary": boundary, **TERMS, **options}
    chosen = entry.options(**build)
    counted, params = count_by_name("PDE-SSM-DiT-XXS/2", **build)
    by_hand = backbone_cost(entry, entry.dimensions("XXS", chosen), 2, chosen, input_size=32)
    assert params == by_hand.params
    assert counted.macs == pytest.approx(by_hand.macs, rel=1e-4)
    assert count_one_block("PDE-SSM-DiT-XXS/2", **build) == (counted, params)


def test_of_edges_it_has_matrices_where_the_torus_has_transforms() -> None:
    place = MixerContext(8, 1, (6, 4), 0, 1)
    edges, torus = (
        pde(place, PDEOptions.model_validate({"boundary": boundary, **TERMS})) for boundary in ("neumann", "periodic")
    )
    assert edges.params == torus.params
    assert edges.macs - 2 * 24 * 64 == 2 * 8 * (6 * 6 * 4 + 6 * 4 * 4)
    assert torus.macs - 2 * 24 * 64 == 8 * sum(macs.spectral_product(6, 4).values())


def test_a_training_step_is_traced() -> None:
    step, torus = (
        trace_step(
            "PDE-SSM-DiT-XXS/2", batch_size=2, precision="bf16", device="cuda", capability=9, depth=2, input_size=32,
            in_channels=3, num_classes=None, **TERMS, **options,
        )
        for options in ({"boundary": "neumann"}, {})
    )  # fmt: skip
    assert step.road is None  # of products in Fourier space; those of the torus have one
    assert torus.road is not None
    names = {one.name for one in step.operations}
    assert not any("fft" in name for name in names)
    assert "arange" not in names  # the matrices are there after the first step
    assert step.parameter_bytes == torus.parameter_bytes


# ---- what is measured of it


@pytest.mark.parametrize(("boundary", "back"), [("periodic", 0.236), ("neumann", 0.236), ("dirichlet", 0.0)])
def test_what_comes_back_over_an_edge_is_told(boundary: str, back: float) -> None:
    options = PDEOptions.model_validate({"boundary": boundary, **TERMS, "reaction": False})
    mixer = PDEMixer(MixerContext(4, 1, (8, 8), 0, 1), options)
    with torch.no_grad():
        mixer.operator.log_length.fill_(math.log(0.1581))
    found = learned_physics(mixer, torch.randn(1, 64, 4), None)
    assert found.median_length == pytest.approx(0.1581 * 8, rel=1e-3)
    assert found.wrapped == pytest.approx(back, abs=0.01)
    assert (found.error is None) == (boundary != "periodic")
