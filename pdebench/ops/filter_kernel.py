"""The convolution by a free symbol as one Triton kernel forward and one backward, as `pde_kernel.py` has the PDE's.

The symbol is read as it lies, a half spectrum for each channel, once for all images that a program takes. A program
writes the symbol's gradient of its images, and a sum over the programs follows. Of a frequency and its mirror image
that the half spectrum both holds one is read and gets the gradient of the two: the symbol is a real kernel's.
"""

# mypy: disable-error-code="no-untyped-def"
# a kernel's arguments are Triton's values, which have no types in Python

from __future__ import annotations

import triton
import triton.language as tl

from pdebench.ops.spectral_tile import convolve, convolve_backward, matrix_of_basis, share


@triton.jit
def _places(N: tl.constexpr, NYQUIST: tl.constexpr):
    """Where in a half spectrum the first pair's frequency stands, and the second's, of which the last is mirrored.

    Also whether it is one of the tile's, and whether the second is there as its conjugate, (N / 2, N / 2, 1) each.
    """
    x, y = tl.arange(0, N // 2)[:, None, None], tl.arange(0, N // 2)[None, :, None]
    WIDTH: tl.constexpr = NYQUIST + 1
    there = (x < NYQUIST) & (y < NYQUIST)
    mirrored = (x > 0) & (y > 0)
    second = tl.where(y == 0, NYQUIST * WIDTH + x, tl.where(x == 0, y * WIDTH + NYQUIST, (2 * NYQUIST - y) * WIDTH + x))
    return y * WIDTH + x, second, there, mirrored, (x == 0) & (y == 0), (x == 0) & (y > 0), y


@triton.jit
def _symbol(symbol, channel, inside, N: tl.constexpr, NYQUIST: tl.constexpr):
    """The symbol of either pair: real and imaginary part, and the real factor of B or B'."""
    first, second, there, mirrored, both, _, _ = _places(N, NYQUIST)
    WIDTH: tl.constexpr = NYQUIST + 1
    base = symbol + (channel * (4 * NYQUIST * WIDTH))[None, None, :]
    mask = there & inside[None, None, :]
    g_real = tl.load(base + 2 * first, mask=mask, other=0.0).to(tl.float32)
    g_imaginary = tl.load(base + 2 * first + 1, mask=mask & (both == 0), other=0.0).to(tl.float32)
    h_real = tl.load(base + 2 * second, mask=mask, other=0.0).to(tl.float32)
    h_imaginary = tl.load(base + 2 * second + 1, mask=mask & (both == 0), other=0.0).to(tl.float32)
    h_imaginary = tl.where(mirrored, -h_imaginary, h_imaginary)
    corner_x = tl.load(base + 2 * NYQUIST, mask=inside[None, None, :], other=0.0).to(tl.float32)
    corner = tl.load(base + 2 * NYQUIST * (WIDTH + 1), mask=inside[None, None, :], other=0.0).to(tl.float32)
    return g_real, g_imaginary, tl.where(both, corner_x, g_real), h_real, h_imaginary, tl.where(both, corner, h_real)


@triton.jit
def forward(
    x, y, matrix, symbol, batch, images, channels, groups,
    SIDE: tl.constexpr, S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, NYQUIST: tl.constexpr,
    OPERANDS: tl.constexpr,
):  # fmt: skip
    """`y` of `x`, both (B, SIDE, SIDE, D) and contiguous, by `symbol` (D, SIDE, SIDE // 2 + 1, 2)."""
    _, first, channel, inside, place, there = share(images, channels, groups, SIDE, S, C)
    r = matrix_of_basis(matrix, S, N)
    g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored = _symbol(symbol, channel, inside, N, NYQUIST)
    start = first.to(tl.int64) * SIDE * SIDE * channels
    for _ in range(first, tl.minimum(first + images, batch)):
        convolve(
            x, y, start + place, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
            S, N, C, OPERANDS,
        )  # fmt: skip
        start += SIDE * SIDE * channels


@triton.jit
def backward(
    x, dy, dx, matrix, symbol, partial, batch, images, channels, groups,
    SIDE: tl.constexpr, S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, NYQUIST: tl.constexpr,
    OPERANDS: tl.constexpr,
):  # fmt: skip
    """`dx`, and each program's share of the symbol's gradient, `partial` (ceil(B / images), D, SIDE, SIDE // 2 + 1, 2).

    Of columns that are their own mirror image the lower half gets 0.
    """
    block, first, channel, inside, place, there = share(images, channels, groups, SIDE, S, C)
    r = matrix_of_basis(matrix, S, N)
    g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored = _symbol(symbol, channel, inside, N, NYQUIST)
    dg_real, dg_imaginary = tl.zeros_like(g_real), tl.zeros_like(g_real)
    dh_real, dh_imaginary = tl.zeros_like(g_real), tl.zeros_like(g_real)
    start = first.to(tl.int64) * SIDE * SIDE * channels
    for _ in range(first, tl.minimum(first + images, batch)):
        dg_real, dg_imaginary, dh_real, dh_imaginary = convolve_backward(
            x, dy, dx, start + place, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
            dg_real, dg_imaginary, dh_real, dh_imaginary, S, N, C, OPERANDS,
        )  # fmt: skip
        start += SIDE * SIDE * channels

    one, other, wanted, mirrored, both, lower, row = _places(N, NYQUIST)
    WIDTH: tl.constexpr = NYQUIST + 1
    base = partial + (block.to(tl.int64) * channels + channel)[None, None, :] * (4 * NYQUIST * WIDTH)
    mask = wanted & inside[None, None, :]
    tl.store(base + 2 * one, dg_real, mask=mask)
    tl.store(base + 2 * one + 1, tl.where(both, 0.0, dg_imaginary), mask=mask)
    tl.store(base + 2 * other, dh_real, mask=mask)
    turned = tl.where(mirrored, -dh_imaginary, tl.where(both, 0.0, dh_imaginary))
    tl.store(base + 2 * other + 1, turned, mask=mask)
    none = tl.zeros_like(dg_real)
    below = base + 2 * (2 * NYQUIST - row) * WIDTH + one * 0  # in the first column, and in the last
    tl.store(below, none, mask=mask & lower)
    tl.store(below + 1, none, mask=mask & lower)
    tl.store(below + 2 * NYQUIST, none, mask=mask & lower)
    tl.store(below + 2 * NYQUIST + 1, none, mask=mask & lower)
    corner_x = base + 2 * NYQUIST + one * 0
    tl.store(corner_x, dg_imaginary, mask=mask & both)
    tl.store(corner_x + 1, none, mask=mask & both)
    corner = corner_x + 2 * NYQUIST * WIDTH
    tl.store(corner, dh_imaginary, mask=mask & both)
    tl.store(corner + 1, none, mask=mask & both)
