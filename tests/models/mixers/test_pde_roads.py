"""The PDE operator on every road of its product: gradients, backends, whole compilation and precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from functorch.compile import make_boxed_func
from moved_operators import operator
from torch._dynamo.backends.common import aot_autograd

from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops.spectral import BACKENDS, BY_MATRICES

FORMS = ("full", "diagonal", "isotropic", "off")


@pytest.mark.parametrize("options", [
    {"diffusion": form, "states": states, "padding": padding}
    for form in FORMS for states in (1, 2) for padding in ("periodic", "zero")
])  # fmt: skip
@pytest.mark.parametrize("grid", [(4, 5), (3, 4)])
@pytest.mark.parametrize("selective", [False, True])
def test_gradients(options: dict[str, object], grid: tuple[int, int], selective: bool) -> None:
    op = operator(*grid, channels=2, **options)
    x = torch.randn(2, 2, *grid, dtype=torch.float64, requires_grad=True)
    tau = (0.5 + torch.rand(2, 2, dtype=torch.float64)).requires_grad_() if selective else None
    names = [name for name, _ in op.named_parameters()]

    def call(x: torch.Tensor, tau: torch.Tensor | None, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(op, dict(zip(names, parameters, strict=True)), (x, tau))

    # all of the Jacobian of the plain forms; of the larger ones, which take seconds each, a random projection of it
    fast = selective or options["padding"] == "zero"
    assert torch.autograd.gradcheck(call, (x, tau, *op.parameters()), fast_mode=fast)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (4, 5), (1, 6), (6, 1)])
def test_every_backend_is_the_convolution_and_has_its_gradient(
    backend: str, channels_last: bool, grid: tuple[int, int]
) -> None:
    h, w = grid
    x = torch.randn(3, 2, h, w, dtype=torch.float64)
    x = (x.to(memory_format=torch.channels_last) if channels_last else x).requires_grad_()
    kernel = torch.randn(2, h, w, dtype=torch.float64, requires_grad=True)
    ours = BACKENDS[backend].apply(x, torch.view_as_real(torch.fft.rfft2(kernel)))
    plain = torch.fft.irfft2(torch.fft.rfft2(x) * torch.fft.rfft2(kernel), s=(h, w))
    torch.testing.assert_close(ours, plain)
    weights = torch.randn_like(plain)
    for got, wanted in zip(
        torch.autograd.grad((ours * weights).sum(), (x, kernel)),
        torch.autograd.grad((plain * weights).sum(), (x, kernel)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_compiles_whole(backend: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    symbol = torch.view_as_real(torch.fft.rfft2(torch.randn(2, 4, 6, dtype=torch.float64))).requires_grad_()

    def outcome(product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        y = product(x, symbol)
        return [y, *torch.autograd.grad(y.square().sum(), (x, symbol))]

    compiled = torch.compile(BACKENDS[backend].apply, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(outcome(compiled), outcome(BACKENDS[backend].apply))


GRIDS = ((3, 4), (4, 5), (1, 6))
COMPILED = (
    {},
    {"diffusion": "full", "states": 2, "padding": "zero"},
    {"diffusion": "diagonal", "states": 2},
    {"diffusion": "isotropic", "convection": False},
    {"diffusion": "off", "reaction": False},
)


def pairs() -> Iterator[object]:
    """All options on all grids; always run are each of the options once and each of the grids."""
    for i, options in enumerate(COMPILED):
        for j, grid in enumerate(GRIDS):
            yield pytest.param(options, grid, marks=[pytest.mark.exhaustive] if i % len(GRIDS) != j else [])


@pytest.mark.parametrize(("options", "grid"), pairs())
def test_a_compiled_symbol_is_the_symbol(options: dict[str, object], grid: tuple[int, int]) -> None:
    """Also for a `tau` a sample."""
    torch.compiler.reset()
    op = operator(*grid, **options)
    taus = [None, torch.rand(3, 2, dtype=torch.float64).requires_grad_()]

    def outcome(symbol: Callable[..., torch.Tensor], tau: torch.Tensor | None) -> list[torch.Tensor]:
        g = torch.view_as_real(symbol(*grid, tau=tau))
        weights = torch.linspace(-1, 2, g.numel(), dtype=g.dtype).view(g.shape)
        wanted = [p for p in [tau, *op.parameters()] if p is not None]
        return [g, *torch.autograd.grad((g * weights).sum(), wanted)]

    compiled = torch.compile(op.symbol, backend="aot_eager", fullgraph=True, dynamic=False)
    for tau in taus:
        torch.testing.assert_close(outcome(compiled, tau), outcome(op.symbol, tau))


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"diffusion": "diagonal", "states": 2}, marks=pytest.mark.exhaustive),
        pytest.param({"diffusion": "off", "gate": True}, marks=pytest.mark.exhaustive),
    ],
)
def test_compiled_by_matrices_there_are_no_complex_numbers(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's compiler fuses none, and on a GPU before PyTorch 2.14 it failed on a model of two layers with some."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    monkeypatch.setitem(BY_MATRICES, ("cpu", torch.float32), 8)
    mixer = PDEMixer(MixerContext(4, 1, (4, 6), 0, 1), PDEOptions.model_validate(options))
    x, c = torch.randn(2, 24, 4, requires_grad=True), torch.randn(2, 4)
    compiled = torch.compile(mixer, backend=aot_autograd(fw_compiler=keep), fullgraph=True)
    wanted = [x, *mixer.parameters()]
    for found, plain in zip(
        torch.autograd.grad(compiled(x, c).square().sum(), wanted),
        torch.autograd.grad(mixer(x, c).square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)
    values = [node.meta["val"] for graph in graphs for node in graph.graph.nodes if "val" in node.meta]
    assert len(graphs) == 2
    assert not any(value.is_complex() for value in values if isinstance(value, torch.Tensor))


def test_matrices_run_in_the_precision_of_the_tokens() -> None:
    """In bf16 to its rounding: of the output's and the gradients' energy it may lose a hundredth of a hundredth."""
    torch.manual_seed(0)
    op = PDEOperator(8, (8, 8), PDEOptions())
    x = torch.randn(2, 8, 8, 8).to(memory_format=torch.channels_last)

    def outcome(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.detach().requires_grad_()
        y = op(x)
        assert y.dtype == x.dtype
        return [y, *torch.autograd.grad(y.float().square().sum(), [x, *op.parameters()])]

    for rounded, exact in zip(outcome(x.bfloat16()), outcome(x), strict=True):
        assert (rounded.float() - exact).square().sum() < 1e-4 * exact.square().sum()


def test_sampling_reuses_the_symbol_until_a_parameter_changes() -> None:
    op = operator(6, 6).eval()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        first = op(x)
        assert op._current_symbol((6, 6), None) is op._current_symbol((6, 6), None)
        op.readout.mul_(2)
        assert not torch.equal(op(x), first)


@pytest.mark.parametrize("diffusion", FORMS)
@pytest.mark.parametrize("states", [1, 4])
def test_autocast_does_not_touch_the_operator(diffusion: str, states: int) -> None:
    """Autocast enters an autograd Function's forward pass, and would round the symbol's products to bf16."""
    op = operator(8, 8, channels=4, diffusion=diffusion, states=states).float()
    x = torch.randn(2, 4, 8, 8, requires_grad=True)

    def outcome() -> tuple[torch.Tensor, ...]:
        y = op(x)
        return y, *torch.autograd.grad(y.square().sum(), [x, *op.parameters()])

    exact = outcome()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = outcome()
    assert all(torch.equal(got, wanted) for got, wanted in zip(rounded, exact, strict=True))


def test_a_mixer_says_which_road_its_product_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def implementation(side: int, **options: object) -> str:
        return PDEMixer(MixerContext(16, 1, (side, side), 0, 1), PDEOptions.model_validate(options)).implementation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert implementation(4) == "matrices"
    assert implementation(4, selective=True) == "half spectra (rfft2)"
    assert implementation(128) == "packed complex fft2"
    assert (
        implementation(BY_MATRICES["cpu", torch.float32], padding="zero") == "packed complex fft2"
    )  # on a grid of twice the side
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert "PDEBENCH_SPECTRAL_KERNELS=1 asks for it" in implementation(16)
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    assert implementation(16) == implementation(8, padding="zero", selective=True) == "one Triton kernel"
    assert (
        implementation(64)
        == implementation(32, padding="zero")
        == "one Triton kernel in bf16, half spectra (rfft2) in fp32"
    )
    other = "no Triton kernel: not on"
    assert implementation(128) == f"half spectra (rfft2); {other} 128 x 128 tokens, only on squares of 8, 16, 32 or 64"
    assert implementation(4).startswith(f"matrices in bf16, half spectra (rfft2) in fp32; {other} 4 x 4 tokens")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert implementation(16) == "one Triton kernel"
    assert "no Triton kernel: the device's compute capability is below 9.0" in implementation(64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "no Triton kernel: the device's compute capability is below 8.0" in implementation(16)
