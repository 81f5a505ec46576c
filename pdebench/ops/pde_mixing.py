"""The PDE operator on tokens as an operator of `torch.library`: on a GPU one Triton kernel (`pde_kernel.py`).

`torch.compile` keeps it as one node of its graph. On other devices it computes the same in PyTorch, so that graphs that
have it can be formed, counted and run there; `PDEOperator` takes it only where `not_covered` has nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops import macs
from pdebench.ops.half_spectrum import HalfSpectrumProduct
from pdebench.ops.operand import Handles, Macs, backward
from pdebench.ops.pde_symbol import Context, PDEParameters, pde_symbol, pde_symbol_gradients
from pdebench.ops.spectral import backend_of, told
from pdebench.ops.spectral_coverage import KERNEL, not_covered, road_device
from pdebench.ops.trigonometric import Basis

BASES: dict[str, Basis] = {"neumann": "cosine", "dirichlet": "sine"}
"""Of a boundary that has edges, the functions that meet its conditions."""


def described(device: str, grid: tuple[int, ...], domain: int, *, by_sample: bool, boundary: str = "periodic") -> str:
    """What a mixer's `implementation` says of a grid of tokens on a device, in bf16 and in fp32."""
    reason = not_covered(device, grid, torch.bfloat16, domain, boundary)
    unless = f"; no Triton kernel: {reason}" if reason and road_device(device) == "cuda" else ""
    if boundary != "periodic":
        return f"{BASES[boundary]} matrices{unless}"
    torus = tuple(domain * side for side in grid)
    bf16, fp32 = (
        backend_of(device, torus, dtype, by_sample=by_sample) if not_covered(device, grid, dtype, domain) else KERNEL
        for dtype in (torch.bfloat16, torch.float32)
    )
    return told(bf16, fp32, grid) + unless


@torch.library.custom_op("pdebench::pde_mixing", mutates_args=())
def _mix(
    x: Tensor,
    log_length: Tensor | None,
    shear: Tensor | None,
    velocity: Tensor | None,
    reaction: Tensor | None,
    readout: Tensor,
    skip: Tensor,
    tau: Tensor | None,
    domain: int,
) -> Tensor:
    """`y` (B, h, w, D)."""
    parameters = PDEParameters(log_length, shear, velocity, reaction, readout, skip)
    if x.is_cuda:
        from pdebench.ops.spectral_launch import mix  # Triton is not everywhere

        return mix(x.contiguous(), parameters, tau, domain)
    h, w = x.shape[1:3]
    symbol = pde_symbol(parameters, (domain * h, domain * w), domain, tau)
    y = HalfSpectrumProduct.forward(Context(), _on_torus(x, domain), symbol)  # type: ignore[arg-type]
    return y[..., :h, :w].permute(0, 2, 3, 1).to(x.dtype, memory_format=torch.contiguous_format, copy=True)


@_mix.register_fake
def _output(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("pdebench::pde_mixing_backward", mutates_args=())
def _mix_backward(
    dy: Tensor,
    x: Tensor,
    log_length: Tensor | None,
    shear: Tensor | None,
    velocity: Tensor | None,
    reaction: Tensor | None,
    readout: Tensor,
    skip: Tensor,
    tau: Tensor | None,
    domain: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `x`, of the parameters one after the other, flat, and of `tau`, empty where there is none."""
    parameters = PDEParameters(log_length, shear, velocity, reaction, readout, skip)
    if x.is_cuda:
        from pdebench.ops.spectral_launch import gradients

        return gradients(x.contiguous(), dy.to(x.dtype).contiguous(), parameters, tau, domain)
    h, w = x.shape[1:3]
    torus = (domain * h, domain * w)
    context, symbol = Context(needs_input_grad=(True, True)), pde_symbol(parameters, torus, domain, tau)
    HalfSpectrumProduct.forward(context, _on_torus(x, domain), symbol)  # type: ignore[arg-type]
    dx, of_symbol = HalfSpectrumProduct.backward(context, _on_torus(dy, domain))  # type: ignore[arg-type]
    assert dx is not None
    assert of_symbol is not None
    found, dtau = pde_symbol_gradients(parameters, *torus, domain, tau, of_symbol)
    dx = dx[..., :h, :w].permute(0, 2, 3, 1).to(x.dtype, memory_format=torch.contiguous_format, copy=True)
    return dx, torch.cat([of.flatten() for of in found]), x.new_empty(0) if dtau is None else dtau


@_mix_backward.register_fake
def _gradients(dy: Tensor, x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    *parameters, tau, _ = given
    readout = parameters[4]
    count = sum(parameter.numel() for parameter in parameters if parameter is not None)
    dtau = readout.new_empty(0) if tau is None else torch.empty_like(tau, dtype=readout.dtype)
    return torch.empty_like(x, memory_format=torch.contiguous_format), readout.new_empty(count), dtau


def _on_torus(x: Tensor, domain: int) -> Tensor:
    """Tokens (B, h, w, D) to (B, D, domain h, domain w), in float32 at least."""
    _, h, w, _ = x.shape
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).permute(0, 3, 1, 2)
    return F.pad(wide, (0, (domain - 1) * w, 0, (domain - 1) * h))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.domain = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, *parameters, tau = ctx.saved_tensors
    dx, flat, dtau = _mix_backward(dy, x, *parameters, tau, ctx.domain)
    pieces = iter(flat.split([p.numel() for p in parameters if p is not None]))
    found = [None if p is None else next(pieces).view(p.shape).to(p.dtype) for p in parameters]
    return dx, *found, None if tau is None else dtau.to(tau.dtype), None


_mix.register_autograd(_backward, setup_context=_save)


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """By convention those of real transforms, whatever computes them, as of every product in Fourier space."""
    (batch, h, w, channels), domain = inputs[0].shape, inputs[8]
    product = macs.spectral_product(domain * h, domain * w)
    return {name: batch * channels * number for name, number in product.items()}


HANDLES: Handles = {"pdebench::pde_mixing": _macs, "pdebench::pde_mixing_backward": backward(_macs)}


def pde_mixing(x: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int) -> Tensor:
    """Solve for tokens `x` (B, h, w, D) for a time `tau` (B, D), 1 where not given, on a torus of `domain` images.

    The result has the shape and the precision of `x` and is contiguous. Symbol and sums are in float32.
    """
    return _mix(x, *parameters, tau, domain)  # type: ignore[no-any-return]
