"""vHeat's mixer against the matrix exponential of the heat equation, SciPy's cosines and its published sizes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.models import closed_form
from pdebench.models.backbone import create_model
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.vheat import HeatConduction
from pdebench.models.options import NoOptions
from pdebench.ops.heat import decay
from pdebench.ops.trigonometric import TrigonometricProduct

WIDTH = 8


def mixer(h: int, w: int) -> HeatConduction:
    """A float64 mixer whose conductivities are of order 1."""
    built = HeatConduction(MixerContext(WIDTH, 1, (h, w), 0, 1), NoOptions()).double()
    built.initialise()
    with torch.no_grad():
        built.frequencies.mul_(50)
        built.conductivity.weight.mul_(20)
    return built


def laplacian(points: int) -> np.ndarray:
    """Of cells of side 1 with no flux over either end: the even half of a torus of twice as many, by Fourier."""
    frequencies = 2 * np.pi * np.fft.fftfreq(2 * points)
    second = np.fft.ifft(-(frequencies**2)[:, None] * np.fft.fft(np.eye(2 * points), axis=0), axis=0).real
    return second[:points, :points] + second[:points, points:][:, ::-1]


def test_a_constant_conductivity_solves_the_heat_equation_with_closed_edges() -> None:
    h, w, k = 5, 4, 0.7
    built = mixer(h, w)
    with torch.no_grad():
        built.conductivity.weight.zero_()
        built.conductivity.bias.fill_(k)
    generator = np.kron(laplacian(h), np.eye(w)) + np.kron(np.eye(h), laplacian(w))
    solution = torch.from_numpy(scipy.linalg.expm(k * generator))
    u = torch.randn(2, h, w, WIDTH, dtype=torch.float64)
    warmed = TrigonometricProduct.apply(u, decay(built.conductivities()), "cosine").flatten(1, 2)
    torch.testing.assert_close(warmed, torch.einsum("ts,bsd->btd", solution, u.flatten(1, 2)))
    torch.testing.assert_close(warmed.mean(1), u.mean((1, 2)))  # no heat is lost


@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5), (1, 6)])
def test_equals_the_formula(h: int, w: int) -> None:
    built = mixer(h, w)
    x = torch.randn(2, h * w, WIDTH, dtype=torch.float64)
    weight, bias = built.convolution.weight, built.convolution.bias
    image = F.conv2d(x.transpose(1, 2).view(2, WIDTH, h, w), weight, bias, padding=1, groups=WIDTH)
    u, z = built.in_proj(image.permute(0, 2, 3, 1)).chunk(2, -1)
    k = F.relu(built.frequencies @ built.conductivity.weight.t() + built.conductivity.bias).detach().numpy()
    assert (k > 0).any()
    assert (k == 0).any()
    squares = (np.pi * np.arange(h) / h)[:, None, None] ** 2 + (np.pi * np.arange(w) / w)[:, None] ** 2
    spectrum = scipy.fft.dctn(u.detach().numpy(), type=2, axes=(1, 2)) * np.exp(-k * squares)
    warmed = torch.from_numpy(scipy.fft.idctn(spectrum, type=2, axes=(1, 2)))
    expected = built.out_proj(F.layer_norm(warmed, (WIDTH,), built.norm.weight, built.norm.bias) * F.silu(z))
    torch.testing.assert_close(built(x, None), expected.flatten(1, 2))


def test_mirrors_and_does_not_commute_with_translations() -> None:
    built = mixer(4, 6)
    u = torch.randn(1, 4, 6, WIDTH, dtype=torch.float64)

    def run(u: Tensor) -> Tensor:
        return TrigonometricProduct.apply(u, decay(built.conductivities()), "cosine")

    for axis in (1, 2):
        torch.testing.assert_close(run(u.flip(axis)), run(u).flip(axis))
        assert (run(u.roll(1, axis)) - run(u).roll(1, axis)).norm() > 0.1 * u.norm()


def test_a_fresh_operator_mostly_passes_tokens_on_and_its_parts_are_small() -> None:
    built = HeatConduction(MixerContext(384, 6, (14, 14), 0, 1), NoOptions())
    built.initialise()
    assert built.frequencies.std().item() == pytest.approx(0.02, rel=0.02)
    assert built.conductivity.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert 0.9 < decay(built.conductivities()).mean().item() < 1
    assert decay(built.conductivities())[0, 0].eq(1).all()


def test_what_is_kept_in_eval_follows_the_weights() -> None:
    built = mixer(3, 3).eval()
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        before = built(x, None)
        built.conductivity.bias.add_(1)
        assert not torch.allclose(built(x, None), before)


@pytest.mark.parametrize(("size", "width", "third", "params", "gmacs"), [
    ("T", 96, 6, 29, 4.6), ("S", 96, 18, 50, 8.5), ("B", 128, 18, 87, 14.9),
])  # fmt: skip
def test_published_sizes_by_our_formula(size: str, width: int, third: int, params: int, gmacs: float) -> None:
    """vHeat's four stages of ours: as published for inference, where each layer has its k in the embeddings' place.

    224 px; a stem and three downsamplings of 3 x 3 convolutions, norms, and a head of 1000 classes (arXiv v1, table 1).
    """
    total = closed_form.Cost(3 * 9 * width // 2, 112**2 * 27 * width // 2)
    total += closed_form.Cost(9 * width**2 // 2, 56**2 * 9 * width**2 // 2)
    for stage, depth in enumerate((2, 2, third, 2)):
        d, side = width * 2**stage, 56 // 2**stage
        mixer = closed_form.vheat(MixerContext(d, 1, (side, side), 0, 1), None)
        mlp = closed_form.linear(d, 4 * d, side**2) + closed_form.linear(4 * d, d, side**2)
        block = mixer + mlp + closed_form.Cost(4 * d - d * d - d, 0)  # two norms; no layer for k
        total += block.times(depth)
        if stage:
            total += closed_form.Cost(9 * d * d // 2, side**2 * 9 * d * d // 2)
    total += closed_form.linear(8 * width, 1000, 1)
    assert total.params / 1e6 == pytest.approx(params, rel=0.02)
    assert total.macs / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_weights_of_one_grid_fit_no_other() -> None:
    small, large = (create_model("vHeat-DiT-XXS/4", input_size=side, num_classes=None) for side in (16, 32))
    with pytest.raises(RuntimeError, match=r"size mismatch for blocks\.0\.mixer\.frequencies"):
        large.load_state_dict(small.state_dict(), strict=False)


def test_compiles_without_a_graph_break() -> None:
    built, x = mixer(4, 4), torch.randn(2, 16, WIDTH, dtype=torch.float64)
    compiled = torch.compile(built, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, None), built(x, None))
