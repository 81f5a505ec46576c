"""The PDE operator as one Triton kernel forward and one backward: tokens are read once and written once.

How a tile of tokens goes to Fourier space and back stands in `spectral_tile.py`. The symbol is formed in the kernel
from its parameters and never stored.

**Backward** takes the tokens and the output's gradient to Fourier space, and needs nothing else of what forward knew.
The gradients of a state's parameters are read off six moments over its frequencies (`symbol.py`): a program writes
those of its images, and a sum over the programs follows.
"""

# mypy: disable-error-code="no-untyped-def"
# a kernel's arguments are Triton's values, which have no types in Python

from __future__ import annotations

import triton
import triton.language as tl

from pdebench.ops.spectral_tile import HALF, convolve, convolve_backward, frequencies, matrix_of_basis, share

# as `PDEOperator` has them, to which a test holds these: a kernel reads no other module
LEAST_LOG_LENGTH, MOST_LOG_LENGTH = tl.constexpr(-14.0), tl.constexpr(3.0)
MOST_REACTION = tl.constexpr(1.0)
REACTION_AT_ZERO = tl.constexpr(0.5413248546129181)  # log(e - 1)
REACTION_SLOPE = tl.constexpr(1.5819767068693265)  # 1 / (1 - 1 / e)

PI = tl.constexpr(3.141592653589793)
# exp(-1e4 tau) is 0 for every tau there is, and 0 times this is 0
LEAST_RATE = tl.constexpr(-1e4)
MOST_DRIFT = tl.constexpr(1e30)  # whole turns, to float32


@triton.jit
def _cos_sin(turns):
    """cos and sin of 2 pi `turns`, to 1e-6: series of half the angle, which need no table and no slow road."""
    t = (turns - tl.floor(turns + 0.5)) * PI
    u = t * t
    sin = -2.5052108385e-8 * u + 2.7557319224e-6
    sin = sin * u - 1.9841269841e-4
    sin = sin * u + 8.3333333333e-3
    sin = sin * u - 1.6666666667e-1
    sin = t + t * u * sin
    cos = 2.0876756988e-9 * u - 2.7557319224e-7
    cos = cos * u + 2.4801587302e-5
    cos = cos * u - 1.3888888889e-3
    cos = cos * u + 4.1666666667e-2
    cos = cos * u - 0.5
    cos = 1 + cos * u
    return 1 - 2 * sin * sin, 2 * sin * cos


@triton.jit
def _state(
    log_length, shear, velocity, reaction, readout, tau, at, apart, inside,
    DOMAIN: tl.constexpr, LENGTHS: tl.constexpr, SHEAR: tl.constexpr, CONVECTION: tl.constexpr,
    REACTION: tl.constexpr,
):  # fmt: skip
    """A state's parameters, each (C,), where they stand `at`, planes `apart`: L of `tau K = L L^T` and `tau v`.

    Lengths are in radians and drifts in turns of a frequency that is a whole number. What is off is 0.
    """
    gain = tl.load(readout + at, mask=inside, other=0.0).to(tl.float32)
    none = tl.zeros_like(gain)
    l_yy, l_xy, l_xx, v_y, v_x, rate = none, none, none, none, none, none
    units = tl.sqrt(tau) * (HALF * 2 * PI / DOMAIN)
    if LENGTHS > 0:
        log = tl.load(log_length + at, mask=inside, other=0.0).to(tl.float32)
        l_yy = tl.exp(tl.minimum(tl.maximum(log, LEAST_LOG_LENGTH), MOST_LOG_LENGTH)) * units
        l_xx = l_yy
    if LENGTHS > 1:
        log = tl.load(log_length + apart + at, mask=inside, other=0.0).to(tl.float32)
        l_xx = tl.exp(tl.minimum(tl.maximum(log, LEAST_LOG_LENGTH), MOST_LOG_LENGTH)) * units
    if SHEAR:
        l_xy = tl.load(shear + at, mask=inside, other=0.0).to(tl.float32) * units
    if CONVECTION:
        v_y = tl.load(velocity + at, mask=inside, other=0.0).to(tl.float32) * tau
        v_x = tl.load(velocity + apart + at, mask=inside, other=0.0).to(tl.float32) * tau
        most = 1.0 if DOMAIN == 2 else MOST_DRIFT  # with zero padding all has left the image by then
        v_y = tl.minimum(tl.maximum(v_y, -most), most) / DOMAIN
        v_x = tl.minimum(tl.maximum(v_x, -most), most) / DOMAIN
    if REACTION:
        z = tl.load(reaction + at, mask=inside, other=0.0).to(tl.float32)
        z = REACTION_AT_ZERO - REACTION_SLOPE * z
        rate = MOST_REACTION - (tl.maximum(z, 0.0) + tl.log(1 + tl.exp(-tl.abs(z))))
        rate = tl.maximum(rate, LEAST_RATE)
        gain = gain * tl.exp(rate * tau)
    return l_yy, l_xy, l_xx, v_y, v_x, rate, gain


@triton.jit
def _propagators(
    y, x, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS: tl.constexpr, SHEAR: tl.constexpr, CONVECTION: tl.constexpr
):
    """`exp(-|L^T k|^2 - i v k)` at the whole numbers `y`, `x` and at `y`, `-x`: real and imaginary parts.

    A sum of squares, so no exponent is positive and none is a difference of large numbers.
    """
    plus, minus = y * 0 + x * 0 + 1, y * 0 + x * 0 + 1
    if LENGTHS > 0:
        along = l_xx * x
        if SHEAR:
            a, b, rest = l_yy * y + l_xy * x, l_yy * y - l_xy * x, along * along
            plus, minus = tl.exp(-(a * a + rest)), tl.exp(-(b * b + rest))
        else:
            plus = tl.exp(-(l_yy * y) * (l_yy * y)) * tl.exp(-along * along)
            minus = plus
    if CONVECTION:
        cos_y, sin_y = _cos_sin(v_y * y)
        cos_x, sin_x = _cos_sin(v_x * x)
        cos_cos, sin_sin, sin_cos, cos_sin = cos_y * cos_x, sin_y * sin_x, sin_y * cos_x, cos_y * sin_x
        return (
            plus * (cos_cos - sin_sin),
            -plus * (sin_cos + cos_sin),
            minus * (cos_cos + sin_sin),
            minus * (cos_sin - sin_cos),
        )
    return plus, plus * 0, minus, minus * 0


@triton.jit
def _symbol(
    log_length, shear, velocity, reaction, readout, skip, time, channel, channels, inside,
    N: tl.constexpr, STATES: tl.constexpr, NYQUIST: tl.constexpr, DOMAIN: tl.constexpr, LENGTHS: tl.constexpr,
    SHEAR: tl.constexpr, CONVECTION: tl.constexpr, REACTION: tl.constexpr,
):  # fmt: skip
    """The symbol of the first pair and of the second, real and imaginary parts, and what is real: of B, B' at k = 0.

    Where k_y or k_x is 0 the second pair is at a Nyquist frequency, and its symbol the mean over both signs.
    """
    y, x, first_y, first_x = frequencies(N)
    direct = tl.load(skip + channel, mask=inside, other=0.0).to(tl.float32)[None, None, :]
    g_real, g_imaginary = (y + x) * 0 + direct, (y + x) * 0 + direct * 0
    h_real, h_imaginary, corner_x, corner = g_real, g_imaginary, direct, direct
    for state in range(STATES):
        l_yy, l_xy, l_xx, v_y, v_x, _, gain = _state(
            log_length, shear, velocity, reaction, readout, time, channel * STATES + state, channels * STATES, inside,
            DOMAIN, LENGTHS, SHEAR, CONVECTION, REACTION,
        )  # fmt: skip
        l_yy, l_xy, l_xx = l_yy[None, None, :], l_xy[None, None, :], l_xx[None, None, :]
        v_y, v_x, gain = v_y[None, None, :], v_x[None, None, :], gain[None, None, :]
        a, b, c, d = _propagators(y, x, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        g_real += gain * a
        g_imaginary += gain * b
        a, b, e, f = _propagators(NYQUIST, x, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        row_real, row_imaginary = 0.5 * (a + e), 0.5 * (b - f)
        a, b, e, f = _propagators(y, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        column_real, column_imaginary = 0.5 * (a + e), 0.5 * (b + f)
        h_real += gain * tl.where(first_y, row_real, tl.where(first_x, column_real, c))
        h_imaginary += gain * tl.where(first_y, row_imaginary, tl.where(first_x, column_imaginary, d))
        a, _, _, _ = _propagators(0.0, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        corner_x += gain * a
        a, _, e, _ = _propagators(NYQUIST, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        corner += gain * 0.5 * (a + e)
    return g_real, g_imaginary, h_real, h_imaginary, corner_x, corner


@triton.jit
def _time(tau, image, channel, channels, inside, C: tl.constexpr, SELECTIVE: tl.constexpr):
    """tau (C,) of an image, 1 where it is none's."""
    time = tl.full((C,), 1.0, tl.float32)
    if SELECTIVE:
        time = tl.load(tau + image.to(tl.int64) * channels + channel, mask=inside, other=1.0).to(tl.float32)
    return time


@triton.jit
def forward(
    x, y, matrix, log_length, shear, velocity, reaction, readout, skip, tau, batch, images, channels, groups,
    SIDE: tl.constexpr, S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, STATES: tl.constexpr,
    NYQUIST: tl.constexpr, DOMAIN: tl.constexpr, LENGTHS: tl.constexpr, SHEAR: tl.constexpr,
    CONVECTION: tl.constexpr, REACTION: tl.constexpr, SELECTIVE: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """`y` of `x`, both (B, SIDE, SIDE, D) and contiguous.

    A program for each group of C channels and as many `images` as one symbol serves, which it takes one after another.
    """
    _, first, channel, inside, place, there = share(images, channels, groups, SIDE, S, C)
    r = matrix_of_basis(matrix, S, N)
    _, _, first_y, first_x = frequencies(N)
    time = _time(tau, first, channel, channels, inside, C, SELECTIVE)
    g_real, g_imaginary, h_real, h_imaginary, corner_x, corner = _symbol(
        log_length, shear, velocity, reaction, readout, skip, time, channel, channels, inside,
        N, STATES, NYQUIST, DOMAIN, LENGTHS, SHEAR, CONVECTION, REACTION,
    )  # fmt: skip
    g_mirrored = tl.where(first_y & first_x, corner_x, g_real)
    h_mirrored = tl.where(first_y & first_x, corner, h_real)
    start = first.to(tl.int64) * SIDE * SIDE * channels
    for _ in range(first, tl.minimum(first + images, batch)):
        convolve(
            x, y, start + place, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
            S, N, C, OPERANDS,
        )  # fmt: skip
        start += SIDE * SIDE * channels


@triton.jit
def _moments(y, x, a, b, c, d, p_real, p_imaginary, m_real, m_imaginary):
    """What each frequency adds to six sums, over `y y`, `y x`, `x x`, `y`, `x` and 1.

    Of the propagators `a + i b` at `y`, `x` and `c + i d` at `y`, `-x`, and the symbol's gradients there.
    """
    even, mirrored = a * p_real + b * p_imaginary, c * m_real + d * m_imaginary
    odd, turned = b * p_real - a * p_imaginary, d * m_real - c * m_imaginary
    every, apart = even + mirrored, even - mirrored
    return every * y * y, apart * y * x, every * x * x, (odd + turned) * y, (odd - turned) * x, every


@triton.jit
def _total(tile, row, column, corner_x, corner, first_y, first_x):
    """The sum over all frequencies, (C,)."""
    tile += tl.where(first_y, row, 0.0) + tl.where(first_x, column, 0.0)
    return tl.sum(tl.sum(tile + tl.where(first_y & first_x, corner_x + corner, 0.0), 0), 0)


@triton.jit
def _within(x, LEAST: tl.constexpr, MOST: tl.constexpr):
    """1 where a parameter is not cut off, else 0: the gradient of a clamp."""
    return tl.where((x >= LEAST) & (x <= MOST), 1.0, 0.0)


@triton.jit
def backward(
    x, dy, dx, matrix, log_length, shear, velocity, reaction, readout, skip, tau, partial, dtau,
    batch, images, channels, groups,
    SIDE: tl.constexpr, S: tl.constexpr, N: tl.constexpr, C: tl.constexpr, STATES: tl.constexpr,
    NYQUIST: tl.constexpr, DOMAIN: tl.constexpr, LENGTHS: tl.constexpr, SHEAR: tl.constexpr,
    CONVECTION: tl.constexpr, REACTION: tl.constexpr, SELECTIVE: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """`dx`, `dtau` (B, D) where there is a tau, and each program's share of the parameters' gradients, `partial`.

    `partial` is (ceil(B / images), planes D STATES + D): planes of log_length, shear, velocity, reaction and readout,
    as far as they are, and then skip's.
    """
    block, first, channel, inside, place, there = share(images, channels, groups, SIDE, S, C)
    r = matrix_of_basis(matrix, S, N)
    fy, fx, first_y, first_x = frequencies(N)
    both = first_y & first_x
    time = _time(tau, first, channel, channels, inside, C, SELECTIVE)
    g_real, g_imaginary, h_real, h_imaginary, corner_x, corner = _symbol(
        log_length, shear, velocity, reaction, readout, skip, time, channel, channels, inside,
        N, STATES, NYQUIST, DOMAIN, LENGTHS, SHEAR, CONVECTION, REACTION,
    )  # fmt: skip
    g_mirrored, h_mirrored = tl.where(both, corner_x, g_real), tl.where(both, corner, h_real)
    dg_real, dg_imaginary = tl.zeros_like(g_real), tl.zeros_like(g_real)
    dh_real, dh_imaginary = tl.zeros_like(g_real), tl.zeros_like(g_real)
    start = first.to(tl.int64) * SIDE * SIDE * channels
    for _ in range(first, tl.minimum(first + images, batch)):
        dg_real, dg_imaginary, dh_real, dh_imaginary = convolve_backward(
            x, dy, dx, start + place, there, r, g_real, g_imaginary, g_mirrored, h_real, h_imaginary, h_mirrored,
            dg_real, dg_imaginary, dh_real, dh_imaginary, S, N, C, OPERANDS,
        )  # fmt: skip
        start += SIDE * SIDE * channels

    apart = channels * STATES
    PLANES: tl.constexpr = LENGTHS + SHEAR + 2 * CONVECTION + REACTION + 1
    found = partial + block.to(tl.int64) * (PLANES * apart + channels)
    of_skip = dg_real + dh_real + tl.where(both, dg_imaginary + dh_imaginary, 0.0)
    tl.store(found + PLANES * apart + channel, tl.sum(tl.sum(of_skip, 0), 0), mask=inside)
    of_corner_x = tl.sum(tl.sum(tl.where(both, dg_imaginary, 0.0), 0, keep_dims=True), 1, keep_dims=True)
    of_corner = 0.5 * tl.sum(tl.sum(tl.where(both, dh_imaginary, 0.0), 0, keep_dims=True), 1, keep_dims=True)
    # the second pair's gradients where it is at a Nyquist frequency, half for either sign
    row_real = 0.5 * tl.sum(tl.where(first_y, dh_real, 0.0), 1, keep_dims=True)
    row_imaginary = 0.5 * tl.sum(tl.where(first_y & (fx > 0), dh_imaginary, 0.0), 1, keep_dims=True)
    column_real = 0.5 * tl.sum(tl.where(first_x & (fy > 0), dh_real, 0.0), 0, keep_dims=True)
    column_imaginary = 0.5 * tl.sum(tl.where(first_x & (fy > 0), dh_imaginary, 0.0), 0, keep_dims=True)
    dg_imaginary = tl.where(both, 0.0, dg_imaginary)
    dh_real = tl.where(first_y | first_x, 0.0, dh_real)
    dh_imaginary = tl.where(first_y | first_x, 0.0, dh_imaginary)

    of_tau = tl.zeros_like(time)
    for state in range(STATES):
        at = channel * STATES + state
        k_yy, k_xy, k_xx, w_y, w_x, rate, gain = _state(
            log_length, shear, velocity, reaction, readout, time, at, apart, inside,
            DOMAIN, LENGTHS, SHEAR, CONVECTION, REACTION,
        )  # fmt: skip
        l_yy, l_xy, l_xx = k_yy[None, None, :], k_xy[None, None, :], k_xx[None, None, :]
        v_y, v_x = w_y[None, None, :], w_x[None, None, :]
        a, b, c, d = _propagators(NYQUIST, fx, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        r_yy, r_yx, r_xx, r_y, r_x, r_1 = _moments(
            NYQUIST, fx, a, b, c, d, row_real, row_imaginary, row_real, -row_imaginary
        )
        a, b, c, d = _propagators(fy, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        c_yy, c_yx, c_xx, c_y, c_x, c_1 = _moments(
            fy, NYQUIST, a, b, c, d, column_real, column_imaginary, column_real, column_imaginary
        )
        a, b, c, d = _propagators(0.0, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        n_yy, n_yx, n_xx, n_y, n_x, n_1 = _moments(0.0, NYQUIST, a, b, c, d, of_corner_x, 0.0, 0.0, 0.0)
        a, b, c, d = _propagators(NYQUIST, NYQUIST, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        o_yy, o_yx, o_xx, o_y, o_x, o_1 = _moments(NYQUIST, NYQUIST, a, b, c, d, of_corner, 0.0, of_corner, 0.0)
        a, b, c, d = _propagators(fy, fx, l_yy, l_xy, l_xx, v_y, v_x, LENGTHS, SHEAR, CONVECTION)
        t_yy, t_yx, t_xx, t_y, t_x, t_1 = _moments(fy, fx, a, b, c, d, dg_real, dg_imaginary, dh_real, dh_imaginary)

        # from the moments to the parameters
        plane = found + at
        if LENGTHS > 0:
            yy = _total(t_yy, r_yy, c_yy, n_yy, o_yy, first_y, first_x)
            yx = _total(t_yx, r_yx, c_yx, n_yx, o_yx, first_y, first_x)
            xx = _total(t_xx, r_xx, c_xx, n_xx, o_xx, first_y, first_x)
            of_yy = -2 * gain * (k_yy * yy + k_xy * yx)
            of_xy = -2 * gain * (k_yy * yx + k_xy * xx)
            of_xx = -2 * gain * k_xx * xx
            of_tau += 0.5 * (of_yy * k_yy + of_xy * k_xy + of_xx * k_xx) / time
            log = tl.load(log_length + at, mask=inside, other=0.0).to(tl.float32)
            of_yy = of_yy * k_yy * _within(log, LEAST_LOG_LENGTH, MOST_LOG_LENGTH)
            if LENGTHS > 1:
                log = tl.load(log_length + apart + at, mask=inside, other=0.0).to(tl.float32)
            of_xx = of_xx * k_xx * _within(log, LEAST_LOG_LENGTH, MOST_LOG_LENGTH)
            if LENGTHS > 1:
                tl.store(plane, of_yy, mask=inside)
                tl.store(plane + apart, of_xx, mask=inside)
            else:
                tl.store(plane, of_yy + of_xx, mask=inside)
            plane += LENGTHS * apart
            if SHEAR:
                tl.store(plane, of_xy * tl.sqrt(time) * (HALF * 2 * PI / DOMAIN), mask=inside)
                plane += apart
        if CONVECTION:
            of_y = gain * _total(t_y, r_y, c_y, n_y, o_y, first_y, first_x) * (2 * PI / DOMAIN)
            of_x = gain * _total(t_x, r_x, c_x, n_x, o_x, first_y, first_x) * (2 * PI / DOMAIN)
            drift_y = tl.load(velocity + at, mask=inside, other=0.0).to(tl.float32)
            drift_x = tl.load(velocity + apart + at, mask=inside, other=0.0).to(tl.float32)
            if DOMAIN == 2:
                of_y = of_y * _within(drift_y * time, -1.0, 1.0)
                of_x = of_x * _within(drift_x * time, -1.0, 1.0)
            of_tau += of_y * drift_y + of_x * drift_x
            tl.store(plane, of_y * time, mask=inside)
            tl.store(plane + apart, of_x * time, mask=inside)
            plane += 2 * apart
        of_gain = _total(t_1, r_1, c_1, n_1, o_1, first_y, first_x)
        if REACTION:
            z = tl.load(reaction + at, mask=inside, other=0.0).to(tl.float32)
            z = REACTION_AT_ZERO - REACTION_SLOPE * z
            of_tau += of_gain * gain * rate
            tl.store(plane, of_gain * gain * time * REACTION_SLOPE * tl.sigmoid(z), mask=inside)
            plane += apart
            of_gain = of_gain * tl.exp(rate * time)
        tl.store(plane, of_gain, mask=inside)
    if SELECTIVE:
        tl.store(dtau + first.to(tl.int64) * channels + channel, of_tau, mask=inside)
