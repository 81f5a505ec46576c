"""S4D along the raster order, both ways: the linear, time-invariant state space in one dimension.

    h_t = exp(dt A) h_(t-1) + (exp(dt A) - 1) / A u_t        y_t = 2 Re(C . h_t) + D u_t        A diagonal, complex

(arXiv 2206.11893, with zero-order hold and B = 1, since only B C matters). Its output is the convolution of `u` with
`K_l = 2 Re sum_n C_n (exp(dt A_n) - 1) / A_n exp(l dt A_n)`. The way back has a C of its own and the same A and dt,
and starts at the token after, as in state-spaces/s4: the two kernels do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.macs import spectral_product
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.parameter_cache import ParameterCache
from pdebench.ops.precision import as_given
from pdebench.ops.symbol import NEGLIGIBLE

STATES = 32  # complex, each with its conjugate: the published 64
DT_MIN, DT_MAX = 1e-3, 1e-1
# clamped: beyond either end a kernel is one point, or decays on no image, and float32 overflows in the end
LOG_DT_RANGE = (-20.0, 5.0)
LOG_DECAY_RANGE = (-14.0, 10.0)


class Powers(torch.autograd.Function):
    """`Re sum_n g_n exp(l z_n)` for l = 0 ... L - 1: `gain` (D, C, N) and `z` (D, N), complex, to (D, C, L).

    With `l = m j + i` the Vandermonde matrix is a product, `exp(l z) = exp(m j z) exp(i z)`, and with m about sqrt(L)
    the sum over the states is a matrix product of two thin factors: (N, L) is never formed, in either direction. No
    real part of `z` may be positive, so no factor exceeds 1.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, gain: Tensor, z: Tensor, length: int) -> Tensor:  # type: ignore[override]
        if z.is_meta:
            return torch.empty(*gain.shape[:2], length, dtype=z.real.dtype, device=z.device)
        stride = math.isqrt(length - 1) + 1
        steps = torch.arange(stride, dtype=z.real.dtype, device=z.device)
        jumps = stride * torch.arange(-(-length // stride), dtype=z.real.dtype, device=z.device)
        coarse, fine = _exp(z, jumps), _exp(z, steps)  # (D, J, N), (D, I, N)
        ctx.save_for_backward(gain, coarse, fine, jumps, steps)
        # Re(a b) = Re conj(a) Re b + Im conj(a) Im b
        left = torch.conj_physical(gain.unsqueeze(2) * coarse.unsqueeze(1))  # (D, C, J, N)
        with as_given(z):
            kernel = _as_real(left).flatten(1, 2) @ _as_real(fine).transpose(1, 2)  # (D, C J, I)
        return kernel.view(*gain.shape[:2], -1)[..., :length]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        # moments of the gradient, sum_l grad_l exp(l z) and sum_l grad_l l exp(l z): over the steps, then the jumps
        gain, coarse, fine, jumps, steps = ctx.saved_tensors  # type: ignore[attr-defined]
        channels, directions, states = gain.shape
        grid = F.pad(grad, (0, len(jumps) * len(steps) - grad.shape[-1])).view(channels, -1, len(steps))
        basis = torch.stack((fine, fine * steps[:, None]), 2).flatten(2)  # (D, I, 2 N)
        with as_given(grad):
            thin = grid @ _as_real(basis)
        thin = torch.view_as_complex(thin.view(channels, directions, len(jumps), 2, states, 2))
        zeroth, first = thin.unbind(-2)  # (D, C, J, N)
        coarse = coarse.unsqueeze(1)
        moment = (coarse * zeroth).sum(2)
        moment_of_l = (coarse * torch.addcmul(first, zeroth, jumps[:, None])).sum(2)
        return moment.conj(), (gain * moment_of_l).sum(1).conj(), None


def _exp(z: Tensor, times: Tensor) -> Tensor:
    """`exp(t z)` (D, T, N) of `z` (D, N), exactly 0 where negligible: subnormal numbers are slow on a CPU."""
    exponent = z.unsqueeze(1) * times[:, None]
    return torch.polar(F.threshold(exponent.real, -NEGLIGIBLE, -torch.inf).exp_(), exponent.imag)


def _as_real(z: Tensor) -> Tensor:
    """Complex (..., N) as real (..., 2 N)."""
    return torch.view_as_real(z).flatten(-2)


class LongConvolution(torch.autograd.Function):
    """`y_t = sum_s k_(t - s) u_s` of `u` (B, D, L) with `kernel` (D, 2 L), lag l at index l mod 2 L.

    Transforms of 2 L points, so that nothing wraps around. Autograd would differentiate through each of them; the
    adjoint of a convolution is a convolution, so backward is three real transforms.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, u: Tensor, kernel: Tensor) -> Tensor:  # type: ignore[override]
        points = kernel.shape[-1]
        spectrum, symbol = torch.fft.rfft(u, n=points), torch.fft.rfft(kernel)
        ctx.save_for_backward(spectrum, symbol)
        ctx.points = points  # type: ignore[attr-defined]
        return torch.fft.irfft(spectrum * symbol, n=points)[..., : u.shape[-1]]  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        spectrum, symbol = ctx.saved_tensors  # type: ignore[attr-defined]
        points = ctx.points  # type: ignore[attr-defined]
        grad_spectrum = torch.fft.rfft(grad, n=points)
        grad_u = grad_kernel = None
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            correlation = torch.conj_physical(spectrum).mul_(grad_spectrum).sum(0)
            grad_kernel = torch.fft.irfft(correlation, n=points)
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            grad_u = torch.fft.irfft(grad_spectrum.mul_(symbol.conj()), n=points)[..., : grad.shape[-1]]
        return grad_u, grad_kernel


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of every padded sequence; the kernel's own transform is once a batch."""
    u, kernel = inputs[:2]
    sequences = math.prod(u.shape[:2])
    return {name: sequences * number for name, number in spectral_product(kernel.shape[-1]).items()}


HANDLES: Handles = {f"prim::PythonOp.{LongConvolution.__name__}": _macs}


class S4D(nn.Module):
    """The convolution of each channel with its own state space, both ways.

    Args:
        channels: D.
        states: complex states of a channel.
    """

    def __init__(self, channels: int, states: int = STATES) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(torch.empty(channels))
        self.log_decay = nn.Parameter(torch.empty(channels, states))  # A = -exp(log_decay) + i frequency
        self.frequency = nn.Parameter(torch.empty(channels, states))
        self.readout = nn.Parameter(torch.empty(channels, 2, states, 2))  # C: directions; real and imaginary parts
        self.skip = nn.Parameter(torch.empty(channels))  # D
        self._kernel = ParameterCache()
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """S4D-Lin, `A_n = -1/2 + i pi n`; C complex N(0, 1); step sizes log-uniform in [DT_MIN, DT_MAX]; D = 1."""
        nn.init.uniform_(self.log_dt, math.log(DT_MIN), math.log(DT_MAX))
        nn.init.constant_(self.log_decay, math.log(0.5))
        states = torch.arange(self.frequency.shape[1], device=self.frequency.device)
        self.frequency.copy_((math.pi * states).expand_as(self.frequency))
        nn.init.normal_(self.readout, std=0.5**0.5)
        nn.init.ones_(self.skip)

    def kernel(self, length: int) -> Tensor:
        """Two-sided kernel (D, 2 L): lags 0 ... L - 1, then -L ... -1; D stands at lag 0."""
        dt = self.log_dt.clamp(*LOG_DT_RANGE).exp().unsqueeze(-1)
        a = torch.complex(-self.log_decay.clamp(*LOG_DECAY_RANGE).exp(), self.frequency)
        z = a * dt
        gain = torch.view_as_complex(self.readout) * (2 * torch.expm1(z) / a).unsqueeze(1)
        causal, back = Powers.apply(gain, z, length).unbind(1)
        return torch.cat((causal[:, :1] + self.skip.unsqueeze(-1), causal[:, 1:], back.flip(-1)), -1)

    def forward(self, u: Tensor) -> Tensor:
        """Apply to sequences `u` (B, D, L), float32 or float64."""
        length = int(u.shape[-1])
        kernel = self._kernel.get(self, length, lambda: self.kernel(length))
        return LongConvolution.apply(u, kernel)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        """As in every module; also forgets the kernel."""
        self._kernel.forget()
        return super().train(mode)


class S4DMixer(Mixer):
    """in-projection, S4D along the raster order in both directions, out-projection.

    After DiffuSSM (arXiv 2311.18257), whose blocks run a bidirectional S4D over the flattened image; over a flattened
    clip, frame after frame, as in ViS4mer (arXiv 2204.01692). Kept: S4D
    (arXiv 2206.11893) with 64 states, S4D-Lin, zero-order hold, an A for each channel as in its authors' minimal code
    (state-spaces/s4, models/s4/s4d.py), and its bidirectional form. Changed, so that S4D stands exactly where PDE-SSM's
    operator stands: no gate, no GELU and GLU after the convolution, DiT's MLP for DiffuSSM's hourglass, patches for its
    whole latents, and D starts at 1 instead of N(0, 1). A and dt learn at the rate of all weights, where their example
    holds them to at most 1e-3.
    """

    implementation = "rfft"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.in_proj = nn.Linear(place.width, place.width)
        self.operator = S4D(place.width)
        self.out_proj = nn.Linear(place.width, place.width)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D); the transforms run in float32 under any autocast."""
        u = self.in_proj(x).transpose(1, 2)
        u = u.to(torch.promote_types(u.dtype, torch.float32), memory_format=torch.contiguous_format)
        return self.out_proj(self.operator(u).transpose(1, 2))  # type: ignore[no-any-return]
