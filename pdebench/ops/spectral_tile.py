"""What the kernels in Fourier space share: a tile of tokens to its coefficients, times a symbol, and back.

A program holds a tile in its registers: one image and a few of its channels, which lie side by side in memory. It takes
the tile to Fourier space by two products with a small real DFT matrix, multiplies by the symbol and takes it back, and
goes on to the next image. Tokens are read once and written once.

**Transforms.** Tokens are real, so a side of n tokens has n real coefficients, in a basis that is orthogonal:

    R[m, j] = sqrt(2 / n) cos(2 pi m j / n)    R[n / 2 + m, j] = sqrt(2 / n) sin(2 pi m j / n)    m = 0 ... n / 2 - 1

but that the row of sin at m = 0, which would be zero, is the Nyquist frequency, and it and the row of cos at m = 0 are
scaled by sqrt(1 / n). `R X R^T` is what a half spectrum holds, in as many real numbers as there are tokens: 4 n
multiply-accumulates a token there and back, where half spectra of complex numbers take 6 n (`matrices.py`), and two
channels that ride in one complex plane 8 n and a gather of `-k`, to tell one from the other. The inverse is `R^T`, so
backward has the same products. They run on the matrix units, in the tokens' precision, and add up in float32.

**The product.** The four coefficients of |k_y| and |k_x|, cos or sin in y times cos or sin in x, are the two numbers
`X(k_y, k_x) = A - i B` and `X(k_y, -k_x) = A' - i B'`, turned by 45 degrees; each is multiplied by the symbol there.
Where k_y or k_x is 0 they are two frequencies as they stand, 0 and Nyquist. Where both are, four real ones. The symbol
at a Nyquist frequency is the mean over both of its signs (`symbol.py` says why).

**Padding** by zeros is a torus of twice the image's side: R has twice as many rows as columns, and no zero is stored,
moved or multiplied.

Sides below 16 are filled up to 16, which is what matrix units take.
"""

# mypy: disable-error-code="no-untyped-def"
# a kernel's arguments are Triton's values, which have no types in Python

from __future__ import annotations

import triton
import triton.language as tl

HALF = tl.constexpr(0.5**0.5)


@triton.jit
def _operand(x, OPERANDS: tl.constexpr):
    """`x` (float32) as a factor of a product; "rounded" are values of bf16 in float32, for Triton's interpreter."""
    if OPERANDS == "bf16":
        x = x.to(tl.bfloat16)
    elif OPERANDS == "fp16":
        x = x.to(tl.float16)
    elif OPERANDS == "rounded":
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = bits.to(tl.float32, bitcast=True)
    return x


@triton.jit
def _product(matrix, x, OPERANDS: tl.constexpr):
    """`matrix @ x` in float32; of float32 to nearly its rounding, by three products of its parts."""
    PRECISION: tl.constexpr = "tf32x3" if OPERANDS == "fp32" or OPERANDS == "rounded" else "tf32"
    return tl.dot(matrix, _operand(x, OPERANDS), input_precision=PRECISION)


@triton.jit
def _turned(x, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    """(A, B C) to (B, A C): the other axis first."""
    return x.reshape(A, B, C).permute(1, 0, 2).reshape(B, A * C)


@triton.jit
def _transform(x, matrix, S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, OPERANDS: tl.constexpr):
    """Tokens (S, S C) to coefficients (N / 2, N / 2, C), x's frequencies first: of y and x cos cos, cos sin, ..."""
    rows = _turned(_product(matrix, x, OPERANDS), N, S, C)
    both = _product(matrix, rows, OPERANDS).reshape(2, N // 2, 2, N // 2, C).permute(1, 3, 4, 0, 2)
    cos_y, sin_y = both.split()
    cos_cos, cos_sin = cos_y.split()
    sin_cos, sin_sin = sin_y.split()
    return cos_cos, cos_sin, sin_cos, sin_sin


@triton.jit
def _inverse(
    cos_cos, cos_sin, sin_cos, sin_sin, matrix,
    S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """The transpose of `_transform`."""
    back = tl.trans(matrix)
    both = tl.join(tl.join(cos_cos, cos_sin), tl.join(sin_cos, sin_sin))  # (N / 2, N / 2, C, x's kind, y's kind)
    both = both.permute(3, 0, 4, 1, 2).reshape(N, N * C)
    columns = _turned(_product(back, both, OPERANDS), S, N, C)
    return _product(back, columns, OPERANDS)


@triton.jit
def _paired(cos_cos, cos_sin, sin_cos, sin_sin, first_y, first_x):
    """Coefficients to A, B, A', B'; where k_y is 0 the second pair is Nyquist's of y, elsewhere at k_x = 0 that of x.

    Where both are 0, B is at Nyquist of x and B' at that of both.
    """
    edge = first_y | first_x
    a = tl.where(edge, cos_cos, (cos_cos - sin_sin) * HALF)
    b = tl.where(first_y, cos_sin, tl.where(first_x, sin_cos, (sin_cos + cos_sin) * HALF))
    c = tl.where(first_y, sin_cos, tl.where(first_x, cos_sin, (cos_cos + sin_sin) * HALF))
    d = tl.where(edge, sin_sin, (sin_cos - cos_sin) * HALF)
    return a, b, c, d


@triton.jit
def _unpaired(a, b, c, d, first_y, first_x):
    """The inverse of `_paired`, and its transpose."""
    edge = first_y | first_x
    cos_cos = tl.where(edge, a, (a + c) * HALF)
    cos_sin = tl.where(first_y, b, tl.where(first_x, c, (b - d) * HALF))
    sin_cos = tl.where(first_y, c, tl.where(first_x, b, (b + d) * HALF))
    sin_sin = tl.where(edge, d, (c - a) * HALF)
    return cos_cos, cos_sin, sin_cos, sin_sin


@triton.jit
def frequencies(N: tl.constexpr):
    """|k_y| (1, N / 2, 1) and |k_x| (N / 2, 1, 1) as whole numbers, and where each of them is 0."""
    y, x = tl.arange(0, N // 2)[None, :, None], tl.arange(0, N // 2)[:, None, None]
    return y.to(tl.float32), x.to(tl.float32), y == 0, x == 0


@triton.jit
def share(images, channels, groups, SIDE: tl.constexpr, S: tl.constexpr, C: tl.constexpr):
    """What a program takes: its block of `images` and the first of them; its channels, and which of them there are.

    And where the tokens of a tile (S, S C) stand in an image, and which of them there are.
    """
    block, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    channel = group * C + tl.arange(0, C)
    row = tl.arange(0, S)[:, None]
    column = tl.arange(0, S * C)[None, :]
    channel_of_token = group * C + column % C
    place = (row * SIDE + column // C) * channels + channel_of_token
    there = (row < SIDE) & (column // C < SIDE) & (channel_of_token < channels)
    return block, block * images, channel, channel < channels, place, there


@triton.jit
def matrix_of_basis(matrix, S: tl.constexpr, N: tl.constexpr):
    """R, (N, S)."""
    return tl.load(matrix + tl.arange(0, N)[:, None] * S + tl.arange(0, S)[None, :])


@triton.jit
def convolve(
    x, y, at, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
    S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """Tokens of `x` to those of `y`, by the symbol `g` of the first pair and `h` of the second.

    `mirrored` are the real factors of B and B', which where k is 0 are others than those of A and A'.
    """
    _, _, first_y, first_x = frequencies(N)
    tokens = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
    p, q, s, t = _transform(tokens, r, S, N, C, OPERANDS)
    a, b, c, d = _paired(p, q, s, t, first_y, first_x)
    ya, yb = g_real * a + g_imaginary * b, g_mirrored * b - g_imaginary * a
    yc, yd = h_real * c + h_imaginary * d, h_mirrored * d - h_imaginary * c
    p, q, s, t = _unpaired(ya, yb, yc, yd, first_y, first_x)
    mixed = _inverse(p, q, s, t, r, S, N, C, OPERANDS)
    tl.store(y + at, mixed.to(y.dtype.element_ty), mask=there)


@triton.jit
def convolve_backward(
    x, dy, dx, at, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
    dg_real, dg_imaginary, dh_real, dh_imaginary,
    S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """The gradient of `x`, written to `dx`, and those of the real and imaginary parts of `g` and of `h`, added up.

    Where k is 0 the symbol is real, and what stands in the place of the imaginary part's is that of the other factor.
    """
    _, _, first_y, first_x = frequencies(N)
    both = first_y & first_x
    tokens = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
    p, q, s, t = _transform(tokens, r, S, N, C, OPERANDS)
    a, b, c, d = _paired(p, q, s, t, first_y, first_x)
    tokens = tl.load(dy + at, mask=there, other=0.0).to(tl.float32)
    p, q, s, t = _transform(tokens, r, S, N, C, OPERANDS)
    ga, gb, gc, gd = _paired(p, q, s, t, first_y, first_x)
    dg_real += a * ga + tl.where(both, 0.0, b * gb)
    dg_imaginary += tl.where(both, b * gb, b * ga - a * gb)
    dh_real += c * gc + tl.where(both, 0.0, d * gd)
    dh_imaginary += tl.where(both, d * gd, d * gc - c * gd)
    ya, yb = g_real * ga - g_imaginary * gb, g_mirrored * gb + g_imaginary * ga
    yc, yd = h_real * gc - h_imaginary * gd, h_mirrored * gd + h_imaginary * gc
    p, q, s, t = _unpaired(ya, yb, yc, yd, first_y, first_x)
    mixed = _inverse(p, q, s, t, r, S, N, C, OPERANDS)
    tl.store(dx + at, mixed.to(dx.dtype.element_ty), mask=there)
    return dg_real, dg_imaginary, dh_real, dh_imaginary
