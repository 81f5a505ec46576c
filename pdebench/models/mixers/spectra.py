"""Half and whole spectra of real kernels: a half spectrum is (D, h, w // 2 + 1), a whole one (D, h, w)."""

from __future__ import annotations

import torch
from torch import Tensor


def full_spectrum(symbol: Tensor, w: int) -> Tensor:
    """(D, h, w // 2 + 1) to (D, h, w) by `G(-k) = conj G(k)`."""
    half = symbol.shape[-1]
    full = symbol.new_empty(*symbol.shape[:-1], w)
    full[..., :half] = symbol
    mirrored = symbol[..., 1 : 1 + w - half].flip(-1).conj()
    full[..., :1, half:] = mirrored[..., :1, :]
    full[..., 1:, half:] = mirrored[..., 1:, :].flip(-2)
    return full


def full_spectrum_adjoint(conjugate: Tensor) -> Tensor:
    """Adjoint of `full_spectrum`, of the conjugate of its argument (D, h, w).

    What is anti-Hermitian in the argument cancels: between a column and its mirror image here, and in the
    self-conjugate columns when the gradient is pulled back to a real kernel's parameters.
    """
    w = conjugate.shape[-1]
    half = w // 2 + 1
    grad = torch.conj_physical(conjugate[..., :half])
    mirrored = conjugate[..., half:].flip(-1)
    grad[..., :1, 1 : 1 + w - half] += mirrored[..., :1, :]
    grad[..., 1:, 1 : 1 + w - half] += mirrored[..., 1:, :].flip(-2)
    return grad
