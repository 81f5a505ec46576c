"""2-D SSM by its closed form and FFT against the state space itself in float64, one token at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.ssm2d import SSM2D, SSM2DMixer
from pdebench.models.options import SSM2DOptions
from pdebench.ops.roesser import impulse_responses
from pdebench.plan.cost import count_by_name

GRIDS = [(1, 1), (1, 4), (5, 1), (2, 2), (3, 4), (5, 3), (4, 4)]
CORNERS = {4: [(), (-1,), (-2,), (-2, -1)], 2: [(), (-2, -1)]}


def published_responses(a: Tensor, b: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """x and z after a 1 at [0, 0], step by step: sums of two states but 0 are halved, then edges doubled."""

    def summed(first: Tensor, second: Tensor) -> Tensor:
        return (first + second) / (1 + ((first != 0) & (second != 0)))

    zero = torch.zeros_like(b[0])
    x, z = ({(i, j): zero for i in range(-1, h) for j in range(-1, w)} for _ in "xz")
    for i in range(h):
        for j in range(w):
            x[i, j] = summed(a[0] * x[i, j - 1], a[1] * z[i, j - 1]) + (b[0] if i == j == 0 else 0)
            z[i, j] = summed(a[2] * x[i - 1, j], a[3] * z[i - 1, j]) + (b[1] if i == j == 0 else 0)

    def grid(states: dict[tuple[int, int], Tensor]) -> Tensor:
        edges = torch.tensor([[2.0 if (i == 0) != (j == 0) else 1.0 for j in range(w)] for i in range(h)])
        return torch.stack([torch.stack([states[i, j] for j in range(w)], -1) for i in range(h)], -2) * edges

    return grid(x), grid(z)


def systems(h: int, w: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(n, 3, dtype=torch.float64, generator=generator) for n in (4, 2))
    return a.requires_grad_(), b.requires_grad_()


@given(h=st.integers(1, 9), w=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_closed_form_is_the_published_recurrence_with_all_gradients(h: int, w: int, seed: int) -> None:
    a, b = systems(h, w, seed)
    ours, oracle = impulse_responses(a.log(), b, h, w), published_responses(a, b, h, w)
    weights = torch.randn(2, 3, h, w, dtype=torch.float64)
    totals = []
    for got, wanted, weight in zip(ours, oracle, weights, strict=True):
        torch.testing.assert_close(got, wanted)
        totals.append(((got * weight).sum(), (wanted * weight).sum()))
    found, expected = (torch.autograd.grad(total[0] + total[1], (a, b)) for total in zip(*totals, strict=True))
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-9)


def state_space(a: Tensor, b: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """What a direction makes of an image `u` (h, w), token by token: the edges' states, and the interior's they feed.

    `a` (4, N), `b` and `c` (2, N). Roesser's recurrence with four states in the place of two.
    """
    h, w = u.shape
    zero = torch.zeros_like(b[0])
    row, column, x, z = ({(i, j): zero for i in range(-1, h) for j in range(-1, w)} for _ in range(4))
    p, q = (a[0] * b[0] + a[1] * b[1]) / 2, (a[2] * b[0] + a[3] * b[1]) / 2
    y = {}
    for i in range(h):
        for j in range(w):
            left, above = u[i, j - 1] if j else 0, u[i - 1, j] if i else 0
            row[i, j] = a[0] * row[i, j - 1] + p * left
            column[i, j] = a[3] * column[i - 1, j] + q * above
            x[i, j] = (a[0] * x[i, j - 1] + a[1] * z[i, j - 1]) / 2 + a[1] * column[i, j - 1]
            z[i, j] = (a[2] * x[i - 1, j] + a[3] * z[i - 1, j]) / 2 + a[2] * row[i - 1, j]
            across, down = b[0] * u[i, j] + 2 * row[i, j] + x[i, j], b[1] * u[i, j] + 2 * column[i, j] + z[i, j]
            y[i, j] = (c[0] * across + c[1] * down).sum() / len(c[0]) ** 0.5
    return torch.stack([torch.stack([y[i, j] for j in range(w)]) for i in range(h)])


def recurrence(operator: SSM2D, u: Tensor) -> Tensor:
    """The state spaces of each channel of `u` (B, D, h, w), on the image turned to each corner and back."""
    channels = u.shape[1]
    shared = channels // operator.a.shape[2]
    samples = []
    for image in u:
        outputs = []
        for d in range(channels):
            total = operator.skip[d] * image[d]
            for k, flips in enumerate(CORNERS[operator.directions]):
                a, b = (logits[:, k, d // shared].sigmoid() for logits in (operator.a, operator.b))
                seen = state_space(a, b, operator.readout[:, k, d], image[d].flip(flips))
                total = total + seen.flip(flips)
            outputs.append(total)
        samples.append(torch.stack(outputs))
    return torch.stack(samples)


def operator(channels: int = 2, directions: int = 4, states: int = 2) -> SSM2D:
    """A float64 operator with every parameter moved away from its initial value."""
    built = SSM2D(channels, directions, states).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter))
    return built


@pytest.mark.parametrize("directions", [4, 2])
@pytest.mark.parametrize(("h", "w"), GRIDS)
def test_equals_the_state_space_of_every_token_with_all_gradients(h: int, w: int, directions: int) -> None:
    built = operator(4 if (h, w) == (3, 4) else 2, directions)
    u = torch.randn(2, built.readout.shape[2], h, w, dtype=torch.float64, requires_grad=True)
    ours, oracle = built(u), recurrence(built, u)
    torch.testing.assert_close(ours, oracle)
    weights = torch.randn_like(oracle)
    wanted = torch.autograd.grad(oracle, (u, *built.parameters()), weights)
    for got, expected in zip(torch.autograd.grad(ours, (u, *built.parameters()), weights), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("a", "b"), [(-1e4, 0.0), (1e4, 1e4), (-30.0, -1e4), (30.0, 0.0), (0.0, 30.0)])
def test_nothing_overflows_at_extreme_parameters_on_a_large_grid(a: float, b: float) -> None:
    built = SSM2D(2, states=3)
    with torch.no_grad():
        built.a.fill_(a)
        built.b.fill_(b)
    u = torch.randn(1, 2, 96, 64, requires_grad=True)
    y = built(u)
    assert torch.isfinite(y).all()
    for grad in torch.autograd.grad(y, (u, *built.parameters()), torch.randn_like(y)):
        assert torch.isfinite(grad).all()


def test_no_state_grows_whatever_its_parameters() -> None:
    a, b = torch.rand(4, 200).pow(0.02), torch.rand(2, 200)  # close to 1
    for states in impulse_responses(a.log(), b, 128, 128):
        assert (states >= 0).all()
        assert (states <= b.sum(0)[:, None, None] * 1.001).all()


def test_float32_stays_close_to_float64_where_states_hardly_decay() -> None:
    built = SSM2D(8)
    with torch.no_grad():
        built.a.add_(4)
    u = torch.randn(2, 8, 64, 64)
    single = built(u)
    exact = built.double()(u.double())
    assert single.dtype == torch.float32
    assert (single - exact).norm() < 1e-4 * exact.norm()


def test_each_direction_sees_its_corner_and_nothing_wraps_around() -> None:
    for directions, corners in CORNERS.items():
        built = operator(directions=directions)
        u = torch.zeros(1, 2, 5, 6, dtype=torch.float64)
        u[..., 2, 3] = 1
        reached = torch.zeros(5, 6, dtype=torch.bool)
        for flips in corners:
            quadrant = (
                slice(None, 3) if -2 in flips else slice(2, None),
                slice(None, 4) if -1 in flips else slice(3, None),
            )
            reached[quadrant] = True
        found = built(u)[0].abs().amax(0) > 1e-12
        assert torch.equal(found, reached)
    assert not reached.all()  # two directions leave two corners out


def test_mirrored_images_are_mirrored_where_the_directions_are_swapped() -> None:
    built, mirrored = operator(), operator()
    swapped = [1, 0, 3, 2]  # left with right
    with torch.no_grad():
        mirrored.a.copy_(built.a[:, swapped])
        mirrored.b.copy_(built.b[:, swapped])
        mirrored.readout.copy_(built.readout[:, swapped])
        mirrored.skip.copy_(built.skip)
    u = torch.randn(2, 2, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(mirrored(u.flip(-1)), built(u).flip(-1))
    assert not torch.allclose(built(u.flip(-1)), built(u).flip(-1))


def test_what_moves_within_the_image_is_moved_and_over_an_edge_is_lost() -> None:
    built = operator()
    u = torch.zeros(1, 2, 6, 7, dtype=torch.float64)
    u[..., 1:3, 2:4] = torch.randn(2, 2, 2)
    y, moved = built(u), built(u.roll((2, -1), (-2, -1)))
    torch.testing.assert_close(moved[..., 2:, :-1], y[..., :-2, 1:])
    assert not torch.allclose(moved, y.roll((2, -1), (-2, -1)))


def test_the_same_weights_are_the_same_recurrence_on_a_larger_grid() -> None:
    built = operator()
    small, large = built.kernels(3, 4), built.kernels(9, 8)
    torch.testing.assert_close(large[..., :3, :4], small)


def test_initialisation_and_parameters_are_the_published() -> None:
    mixer = SSM2DMixer(MixerContext(256, 4, (4, 4), 0, 1), SSM2DOptions())
    built = mixer.operator
    assert built.a.shape == (4, 4, 2, 16)
    assert built.a.std().item() == pytest.approx(0.2, rel=0.1)
    assert built.b.std().item() == pytest.approx(0.2, rel=0.15)
    assert built.readout.std().item() == pytest.approx(1, rel=0.03)
    assert built.skip.eq(1).all()
    dynamics = 4 * 16 * (6 * 2 + 2 * 256)
    assert sum(p.numel() for p in mixer.parameters()) == 2 * (256**2 + 256) + dynamics + 256


def test_the_mixer_is_its_parts_in_order() -> None:
    built = SSM2DMixer(MixerContext(4, 1, (2, 3), 0, 1), SSM2DOptions(directions=2)).double()
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    image = built.in_proj(x).transpose(1, 2).unflatten(2, (2, 3))
    expected = built.out_proj(recurrence(built.operator, image).flatten(2).transpose(1, 2))
    torch.testing.assert_close(built(x, None), expected)


def test_in_eval_mode_the_kernel_is_formed_once_until_a_parameter_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    built = operator()
    formed: list[tuple[int, int]] = []
    form = built.symbol
    monkeypatch.setattr(built, "symbol", lambda h, w: (formed.append((h, w)), form(h, w))[1])
    u = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    for _ in range(2):
        built(u)  # in training mode each time
    assert formed == [(4, 4)] * 2
    built.eval()
    with torch.no_grad():
        first = built(u)
        assert torch.equal(built(u), first)
        built(u[..., :3])
        assert formed[2:] == [(4, 4), (4, 3)]
        built.skip.add_(1)
        torch.testing.assert_close(built(u), first + u)
    assert formed[4:] == [(4, 4)]


def test_the_kernel_is_float32_under_autocast() -> None:
    mixer = SSM2DMixer(MixerContext(16, 1, (16, 16), 0, 1), SSM2DOptions())
    x = torch.randn(2, 256, 16)
    exact, kernel = mixer(x, None), mixer.operator.kernel(16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mixer.operator.kernel(16, 16), kernel)
        y = mixer(x, None)
        grads = torch.autograd.grad(y.float().square().sum(), tuple(mixer.parameters()))
    assert y.dtype == torch.bfloat16
    assert (y - exact).norm() < 0.02 * exact.norm()
    assert all(grad.isfinite().all() for grad in grads)


def test_compiles_without_a_graph_break() -> None:
    built = SSM2DMixer(MixerContext(8, 1, (4, 6), 0, 1), SSM2DOptions()).double()
    x = torch.randn(2, 24, 8, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(built, backend="aot_eager", fullgraph=True)
    ours, eager = compiled(x, None), built(x, None)
    torch.testing.assert_close(ours, eager)
    for got, wanted in zip(
        *(torch.autograd.grad(y.square().sum(), (x, *built.parameters())) for y in (ours, eager)), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_the_counter_sees_two_transforms_of_the_padded_grid_and_lists_the_kernel() -> None:
    cost, _ = count_by_name("SSM2D-DiT-XXS/4", input_size=32)
    depth, width, points = 4, 128, 16 * 16
    assert cost.by_kind["fft"] == depth * width * 2 * (5 / 4 * points * math.log2(points))
    assert cost.by_kind["complex product"] == depth * width * 3 * 16 * 9
    assert cost.uncounted["aten::matmul of weights alone"] == depth * 4
    assert cost.uncounted["aten::fft_rfft2 of weights alone"] == depth
