"""The PDE operator as an operator of `torch.library`: what it computes off a GPU, in graphs, and what it takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from pdebench.models.backbone import create_model
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers import pde
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops import pde_kernel, pde_symbol, spectral
from pdebench.ops.operand import Operand
from pdebench.ops.pde_mixing import HANDLES
from pdebench.ops.spectral_coverage import not_covered
from pdebench.ops.spectral_launch import basis

OPTIONS: list[dict[str, Any]] = [
    {},
    {"diffusion": "diagonal", "states": 3, "selective": True},
    {"diffusion": "isotropic", "padding": "zero", "selective": True},
    {"diffusion": "off", "reaction": False, "padding": "zero"},
    {"convection": False, "states": 2, "selective": True},
]


def operator(side: int, **options: Any) -> PDEOperator:
    torch.manual_seed(0)
    built = PDEOperator(3, (side, side), PDEOptions.model_validate(options)).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def outcome(op: PDEOperator, x: Tensor, tau: Tensor | None) -> list[Tensor]:
    y = op(x, tau)
    wanted = [x, *op.parameters(), *([] if tau is None else [tau])]
    return [y, *torch.autograd.grad((y * y.detach().flip(0)).sum(), wanted)]


@pytest.mark.parametrize("options", OPTIONS)
def test_off_a_gpu_it_computes_the_same(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    op = operator(6, **options)
    x = torch.randn(2, 6, 6, 3, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    tau = torch.rand(2, 3, dtype=torch.float64).add(0.5).requires_grad_() if op.options.selective else None
    wanted = outcome(op, x, tau)
    monkeypatch.setattr(pde, "not_covered", lambda *_: "")
    for got, known in zip(outcome(op, x, tau), wanted, strict=True):
        torch.testing.assert_close(got, known)


@pytest.mark.parametrize("options", OPTIONS[:3])
def test_it_keeps_the_rules_of_pytorchs_operators(options: dict[str, Any]) -> None:
    op = operator(4, **options)
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    tau = torch.rand(2, 3, dtype=torch.float64, requires_grad=True) if op.options.selective else None
    torch.library.opcheck(torch.ops.pdebench.pde_mixing.default, (x, *op.pde_parameters(), tau, op.domain))


def test_a_compiled_mixer_has_it_once_in_either_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pde, "not_covered", lambda *_: "")
    found: list[list[str]] = []

    def look(graph: torch.fx.GraphModule, _: object) -> Any:
        found.append([str(node.target) for node in graph.graph.nodes if "pde_mixing" in str(node.target)])
        return make_boxed_func(graph.forward)

    mixer = PDEMixer(MixerContext(16, 1, (8, 8), 0, 1), PDEOptions())
    compiled = torch.compile(mixer, backend=aot_autograd(fw_compiler=look), fullgraph=True)
    x, c = torch.randn(2, 64, 16, requires_grad=True), torch.randn(2, 16)
    y = compiled(x, c)
    y.sum().backward()
    assert found == [["pdebench.pde_mixing.default"], ["pdebench.pde_mixing_backward.default"]]
    torch.testing.assert_close(y, mixer(x, c))


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "GFNet-DiT"])
def test_an_exported_model_has_it_in_every_layer(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pde, "not_covered", lambda *_: "")
    monkeypatch.setattr(spectral, "not_covered", lambda *_: "")
    model = create_model(f"{family}-XXS/2", input_size=16, in_channels=3, num_classes=None, depth=2).eval()
    torch.nn.init.normal_(model.final_layer.linear.weight)
    given = torch.randn(2, 3, 16, 16), torch.rand(2)
    exported = torch.export.export(model, given)
    targets = [str(node.target) for node in exported.graph.nodes]
    assert sum(target.endswith("_mixing.default") for target in targets) == 2
    assert not any("fft" in target for target in targets)
    torch.testing.assert_close(exported.module()(*given), model(*given))


def test_what_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    bf16, fp32 = torch.bfloat16, torch.float32
    assert "PDEBENCH_SPECTRAL_KERNELS=1" in not_covered("cuda", (16, 16), torch.bfloat16, 1), "nobody gets it unasked"
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    assert not any(not_covered("cuda", (side, side), bf16, 1) for side in (8, 16, 32, 64))
    assert not any(not_covered("cuda", (side, side), fp32, 2) for side in (8, 16))
    assert "on squares of 8, 16 or 32" in not_covered("cuda", (64, 64), fp32, 1)
    assert all(not_covered("cuda", grid, bf16, 1) for grid in ((15, 15), (16, 32), (4, 4), (128, 128)))
    assert not_covered("cuda", (64, 64), bf16, 2)
    assert not_covered("cuda", (16, 16), torch.float64, 1) == "not in float64"
    assert not_covered("cpu", (16, 16), fp32, 1)


def test_a_compiled_graph_asks_it_too_of_grids_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")

    def covered(x: Tensor) -> Tensor:
        return x * 0 if not_covered("cuda", (x.shape[0], x.shape[1]), x.dtype, 1) else x

    torch.compiler.reset()
    compiled = torch.compile(covered, fullgraph=True, backend="eager")
    found = {side: bool(compiled(torch.ones(side, side, dtype=torch.bfloat16))[0, 0]) for side in (16, 12, 32, 64, 8)}
    assert found == {16: True, 12: False, 32: True, 64: False, 8: True}


def test_the_kernel_has_the_operators_bounds() -> None:
    assert (pde_kernel.LEAST_LOG_LENGTH.value, pde_kernel.MOST_LOG_LENGTH.value) == pde_symbol.LOG_LENGTH_RANGE
    assert pde_kernel.MOST_REACTION.value == pde_symbol.MAX_REACTION
    assert math.isclose(pde_kernel.REACTION_AT_ZERO.value, pde_symbol.AT_ZERO)
    assert math.isclose(pde_kernel.REACTION_SLOPE.value, pde_symbol.SLOPE)


@pytest.mark.parametrize(("torus", "side"), [(8, 8), (16, 16), (64, 64), (32, 16)])
def test_the_basis_is_orthogonal(torus: int, side: int) -> None:
    matrix = basis(torus, side, like=torch.ones(1, dtype=torch.float64))
    there = torch.zeros(len(matrix[0]), dtype=torch.float64)
    there[:side] = 1
    torch.testing.assert_close(matrix.T @ matrix, there.diag())


def test_it_is_counted_like_every_product_in_fourier_space() -> None:
    handle = HANDLES["pdebench::pde_mixing"]
    given = [Operand((2, 16, 16, 24)), *[None] * 6, None]
    one, padded = (handle([*given, domain], []) for domain in (1, 2))
    assert one is not None
    assert padded is not None
    assert one == {"fft": 2 * 24 * 2 * 1.25 * 256 * 8, "complex product": 2 * 24 * 3 * 16 * 9}
    assert padded["fft"] == 2 * 24 * 2 * 1.25 * 1024 * 10
