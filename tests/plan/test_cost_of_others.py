"""What mixers of other packages cost: every product, convolution and transform is counted, or listed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_up import NAME, install, parameter
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench import create_model
from pdebench.measure.memory import analytic_bytes
from pdebench.plan.cost import CountedCost, count_by_name, count_one_block

D, H, W = 128, 8, 8


def of_mixers(monkeypatch: pytest.MonkeyPatch, build: Any, mix: Any, **more: Any) -> CountedCost:
    """What the mixer costs in one block: the model less one whose mixer does nothing."""
    install(monkeypatch, lambda self: None, lambda self, u: u)
    nothing, _ = count_by_name(NAME, depth=1)
    install(monkeypatch, build, mix, **more)
    cost, _ = count_by_name(NAME, depth=1)
    mixers = {name: macs - nothing.by_kind.get(name, 0) for name, macs in cost.by_kind.items()}
    left = {name: calls - nothing.uncounted.get(name, 0) for name, calls in cost.uncounted.items()}
    return CountedCost(*({name: number for name, number in found.items() if number} for found in (mixers, left)))


def layer(make: Callable[[], nn.Module]) -> Callable[[Any], None]:
    """A mixer with one layer, made where it is asked for: on the meta device."""
    return lambda self: setattr(self, "layer", make())


CONVOLUTIONS = [
    (lambda: nn.Conv2d(D, D, 3, padding=1), D * D * 9 * H * W),
    (lambda: nn.Conv2d(D, D, 3, padding=1, groups=D), D * 9 * H * W),
    (lambda: nn.Conv2d(D, D, 3, padding="same", groups=8), D * (D // 8) * 9 * H * W),
    (lambda: nn.Conv2d(D, D, (3, 5), padding=(2, 4), dilation=2), D * D * 15 * H * W),
    (lambda: nn.Sequential(nn.Conv2d(D, 2 * D, 2, stride=2), nn.ConvTranspose2d(2 * D, D, 2, stride=2)),
     2 * (D * 2 * D * 4 * (H // 2) * (W // 2))),
    (lambda: nn.ConvTranspose2d(D, D, 3, padding=1, groups=4), D * (D // 4) * 9 * H * W),
    (lambda: nn.Conv2d(D, D, 3, padding="same", padding_mode="circular"), D * D * 9 * H * W),
    (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(D, D, 4, padding="same", groups=D), nn.Unflatten(2, (H, W))),
     D * 4 * H * W),
    (lambda: nn.Sequential(nn.Unflatten(1, (4, D // 4)), nn.Conv3d(4, 4, 3, padding=1), nn.Flatten(1, 2)),
     4 * 4 * 27 * (D // 4) * H * W),
]  # fmt: skip


@pytest.mark.parametrize(("made", "macs"), CONVOLUTIONS)
def test_convolutions(made: Any, macs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, layer(made), lambda self, u: self.layer(u))
    assert cost.of_kinds()["conv"] == cost.macs == macs
    assert not cost.uncounted


def test_a_convolution_of_one_image_without_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(
        monkeypatch,
        layer(lambda: nn.Conv2d(D, D, 3, padding=1)),
        lambda self, u: torch.stack([self.layer(one) for one in u]),
    )
    assert cost.by_kind == {"conv": D * D * 9 * H * W}


def shared(self: Any) -> None:
    self.rows, self.columns = parameter(H, H), parameter(W, W)


PRODUCTS = [
    (shared, lambda self, u: self.rows @ u @ self.columns, D * (H * H * W + H * W * W)),
    (shared, lambda self, u: torch.einsum("hk,bdkw,wv->bdhv", self.rows, u, self.columns), D * 2 * H * H * W),
    (shared, lambda self, u: torch.tensordot(u, self.columns, 1), D * H * W * W),
    (shared, lambda self, u: u @ self.columns[0, :, None] * u, D * H * W),
    (shared, lambda self, u: (u @ self.columns[0])[..., None] * u, D * H * W),
    (shared, lambda self, u: torch.mv(u.flatten(0, 2), self.columns[0]).view(-1, D, H, 1) * u, D * H * W),
    (shared, lambda self, u: torch.dot(u.flatten(), u.flatten()) * u, D * H * W),
    (shared, lambda self, u: torch.outer(u[0, :, 0, 0], self.rows.flatten()).view(D, H, W).expand_as(u), D * H * H),
    (shared, lambda self, u: torch.inner(u, self.columns), D * H * W * W),
    (shared, lambda self, u: torch.baddbmm(u[0], u[0], self.columns.expand(D, W, W)).expand_as(u), D * H * W * W),
    (shared, lambda self, u: torch.addbmm(u[0, 0], u[0], u[0].mT) * u, D * H * W * H),
    (shared, lambda self, u: torch.addmm(u[0, 0], u[0, 0], self.columns) * u, H * W * W),
    (shared, lambda self, u: torch.addmv(u[0, 0, 0], u[0, 0], self.columns[0]) * u, H * W),
    (shared, lambda self, u: torch.linalg.vecdot(u, self.columns)[..., None] * u, D * H * W),
    (shared, lambda self, u: F.bilinear(u, u, self.columns.expand(W, W, W).contiguous()), D * H * W * (W * W + W)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "mix", "macs"), PRODUCTS)
def test_products(build: Any, mix: Any, macs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, build, mix)
    assert cost.of_kinds()["linear"] == cost.macs == macs
    assert cost.uncounted.keys() <= {"aten::mul"}  # the conventions leave what is pointwise out


def test_complex_products_and_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any) -> None:
        self.rows, self.layer = parameter(H, H, dtype=torch.complex64), nn.Linear(W, W, bias=False).to(torch.complex64)

    def mix(self: Any, u: Tensor) -> Tensor:
        return self.layer(self.rows @ u.to(torch.complex64)).real

    cost = of_mixers(monkeypatch, build, mix)
    assert cost.macs == 4 * D * (H * H * W + H * W * W)  # 4 real multiply-accumulates each
    _, params = count_by_name(NAME, depth=3)
    assert params == count_one_block(NAME, depth=3)[1]
    assert analytic_bytes(create_model(NAME, depth=3))["weights_bytes"] == 4 * params
    install(monkeypatch, lambda self: None, lambda self, u: u)
    assert params - count_by_name(NAME, depth=3)[1] == 3 * 2 * (H * H + W * W)  # 2 numbers each


def test_a_global_filter_written_plainly_costs_what_the_built_in_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any) -> None:
        self.filter = parameter(D, H, W // 2 + 1, 2)

    def mix(self: Any, u: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(u) * torch.view_as_complex(self.filter), s=(H, W))

    cost = of_mixers(monkeypatch, build, mix)
    assert cost.by_kind.keys() == {"fft", "complex product"}
    whole = count_by_name(NAME)
    built_in = count_by_name("GFNet-DiT-XXS/4")
    assert (whole[0].by_kind, whole[1]) == (built_in[0].by_kind, built_in[1])
    assert count_one_block(NAME) == whole


def real(points: int) -> float:
    """MACs of a real transform: half of 5/2 N log2 N FLOPs."""
    return 1.25 * points * math.log2(points)


TRANSFORMS = [
    (lambda u: torch.fft.fft(u).real, D * H * 2 * real(W) / 2),
    (lambda u: torch.fft.fft(torch.complex(u, u)).real, D * H * 2 * real(W)),
    (lambda u: torch.fft.ifft(torch.complex(u, u), dim=1).real, H * W * 2 * real(D)),
    (lambda u: torch.fft.rfft(u, n=16).real[..., :W], D * H * real(16)),
    (lambda u: torch.fft.rfft(u, n=u.shape[-1] * 2).real[..., :W], D * H * real(16)),
    (lambda u: torch.fft.irfft(torch.complex(u, u), n=W), D * H * real(W)),
    (lambda u: torch.fft.irfft(torch.complex(u, u), dim=2)[:, :, :H], D * W * real(14)),
    (lambda u: torch.fft.fft2(torch.complex(u, u)).real, D * 2 * real(H * W)),
    (lambda u: torch.fft.ifft2(torch.complex(u, u), s=(16, 4)).real.reshape(-1, D, H, W), D * 2 * real(64)),
    (lambda u: torch.fft.rfft2(u, s=(16, 16)).real[..., :H, :W], D * real(256)),
    (lambda u: torch.fft.irfft2(torch.complex(u, u), s=(H, W)), D * real(H * W)),
    (lambda u: torch.fft.fftn(torch.complex(u, u)).real, 2 * real(D * H * W)),
    (lambda u: torch.fft.fftn(torch.complex(u, u), s=(W,)).real, D * H * 2 * real(W)),
    (lambda u: torch.fft.ifftn(torch.complex(u, u), dim=(1, 3)).real, H * 2 * real(D * W)),
    (lambda u: torch.fft.rfftn(u, dim=(2, 1)).real.sum(1, keepdim=True) * u, W * real(D * H)),
    (lambda u: torch.fft.irfftn(torch.complex(u, u), s=(H, W), dim=(2, 3)), D * real(H * W)),
    (lambda u: torch.fft.hfft(torch.complex(u, u), n=W), D * H * real(W)),
    (lambda u: torch.fft.ihfft(u).real.sum(-1, keepdim=True) * u, D * H * real(W)),
    (lambda u: torch.fft.hfft2(torch.complex(u, u), s=(H, W)), D * real(H * W)),
    (lambda u: torch.fft.ihfftn(u, dim=(2, 3)).real.sum(-1, keepdim=True) * u, D * real(H * W)),
]  # fmt: skip


@pytest.mark.parametrize(("mix", "macs"), TRANSFORMS)
def test_transforms(mix: Any, macs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, lambda self: None, lambda self, u: mix(u))
    assert cost.of_kinds()["fft"] == cost.macs == round(macs)


class Square(torch.autograd.Function):
    """A product behind autograd's back."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        return u @ u


class RealTransform(torch.autograd.Function):
    """Not AFNO's of the same name: it transforms nothing."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        return u.clone()


LISTED = [
    ("prim::PythonOp.Square", lambda u: Square.apply(u)),
    ("prim::PythonOp.RealTransform", lambda u: RealTransform.apply(u)),
    ("aten::relu", lambda u: F.relu(u)),
    ("aten::clamp", lambda u: u.clamp(0, 1)),
    ("aten::clamp_", lambda u: u.clone().clamp_(0, 1)),
    ("aten::max", lambda u: u.max(-1, keepdim=True)[0] * u),
    ("aten::floor", lambda u: u.floor()),
    ("aten::floor_divide", lambda u: u // 2),
    ("aten::remainder", lambda u: u % 2),
    ("aten::index_put_", lambda u: u.clone().index_put_((u[0, 0] > 0,), u[0, 0, 0, 0])),
    ("aten::cumsum", lambda u: u.cumsum(-1)),
    ("aten::sort", lambda u: u.sort()[0]),
    ("aten::argsort", lambda u: u.gather(-1, u.argsort())),
    ("aten::argmax", lambda u: u + u.argmax()),
    ("aten::index_add", lambda u: u.index_add(0, torch.zeros(len(u), dtype=torch.int64, device=u.device), u)),
    ("aten::scatter_add", lambda u: u.scatter_add(0, torch.zeros_like(u, dtype=torch.int64), u)),
    ("aten::upsample_nearest2d", lambda u: F.interpolate(u, scale_factor=2)[..., :H, :W]),
    ("aten::upsample_bilinear2d", lambda u: F.interpolate(u, size=(H, W), mode="bilinear")),
    ("aten::adaptive_avg_pool2d", lambda u: F.adaptive_avg_pool2d(u, 1) * u),
    ("aten::grid_sampler", lambda u: F.grid_sample(u, u[:, :2].permute(0, 2, 3, 1), align_corners=False)),
    ("aten::linalg_matrix_exp", lambda u: torch.linalg.matrix_exp(u)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "mix"), LISTED)
def test_what_is_not_counted_is_listed(name: str, mix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, lambda self: None, lambda self, u: mix(u))
    assert name in cost.uncounted
    assert cost.macs == 0


@torch.jit.script
def looped(u: Tensor) -> Tensor:
    for _ in range(3):
        u = u @ u
    return u


def test_a_scripted_function_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, lambda self: None, lambda self, u: looped(u))
    assert cost.uncounted.keys() == {"prim::CallFunction.looped"}


NORMS = [
    lambda: nn.GroupNorm(8, D),
    lambda: nn.BatchNorm2d(D),
    lambda: nn.InstanceNorm2d(D),
    lambda: nn.InstanceNorm2d(D, affine=True),
]


@pytest.mark.parametrize("made", NORMS)
def test_every_norm_is_one_mac_an_element(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = of_mixers(monkeypatch, layer(made), lambda self, u: self.layer(u))
    assert cost.by_kind == {"norm": D * H * W}


@pytest.mark.parametrize(("made", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_recurrent_layers(made: Any, gates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any) -> None:
        self.layer = made(D, D // 2, num_layers=2, bidirectional=True, batch_first=True)

    def mix(self: Any, u: Tensor) -> Tensor:
        return self.layer(u.flatten(2).mT)[0].mT.view_as(u)

    cost = of_mixers(monkeypatch, build, mix)
    assert cost.of_kinds()["linear"] == H * W * 2 * 2 * gates * (D // 2) * (D + D // 2)


def test_attention_of_torchs_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: Any) -> None:
        self.layer = nn.MultiheadAttention(D, 4, batch_first=True)

    def mix(self: Any, u: Tensor) -> Tensor:
        tokens = u.flatten(2).mT
        return self.layer(tokens, tokens, tokens, need_weights=False)[0].mT.view_as(u)

    assert of_mixers(monkeypatch, build, mix).macs == H * W * 4 * D * D + 2 * (H * W) ** 2 * D


def test_what_is_formed_from_weights_alone_is_formed_once_a_batch_and_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def mix(self: Any, u: Tensor) -> Tensor:
        return (self.rows @ self.columns) @ u

    cost = of_mixers(monkeypatch, shared, mix)
    assert cost.macs == D * H * H * W
    assert cost.uncounted.keys() == {"aten::matmul of weights alone"}


def test_a_family_can_count_operations_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def square(inputs: Any, outputs: Any) -> dict[str, float]:
        return {"scan": math.prod(outputs[0].shape) * inputs[0].shape[-1]}

    cost = of_mixers(
        monkeypatch, lambda self: None, lambda self, u: Square.apply(u), handles={"prim::PythonOp.Square": square}
    )
    assert cost.of_kinds()["scan"] == cost.macs == D * H * W * W
    assert not cost.uncounted
