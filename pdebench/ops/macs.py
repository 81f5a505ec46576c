"""Multiply-accumulates of the operations that mixers are made of, by their sizes: every formula stands here, once.

1 MAC is 2 FLOPs. The handles of the operations ask here, each of which stands beside its operation; the counter
(`plan/cost.py`) and the trace of a training step (`plan/trace.py`) ask the handles. The closed forms of the families
and the probe of a device ask here directly. Importing this imports no torch.
"""

from __future__ import annotations

import math

COMPLEX_PRODUCT = 3  # of two complex numbers, added to nothing: 4 multiplications and 2 additions


def attention(pairs: int, key_width: int, value_width: int) -> int:
    """MACs of `q k^T` and of its product with v, for so many pairs of a query and a key, masked or not."""
    return pairs * (key_width + value_width)


def attention_backward(pairs: int, key_width: int, value_width: int) -> int:
    """MACs of five products: the scores again, then the gradients of the scores, v, q and k (arXiv 2205.14135)."""
    return pairs * (3 * key_width + 2 * value_width)


def convolution(elements: int, taps: int) -> int:
    """MACs where each element is multiplied with so many weights: of the output, or, transposed, of the input."""
    return elements * taps


def cosine_transform(*grid: int) -> int:
    """MACs of a cosine transform of a grid by one matrix for each axis."""
    return math.prod(grid) * sum(grid)


def frequencies(*grid: int) -> int:
    """Points of the half spectrum of a real grid: its last axis of n points has n // 2 + 1 frequencies."""
    *others, last = grid
    return math.prod(others) * (last // 2 + 1)


def fft(*grid: int, times: int = 1) -> float:
    """MACs of so many real transforms of a grid of N points in all; a complex one is twice that.

    Half of 5/2 N log2 N FLOPs, the convention of FFTW's benchmarks (fftw.org/speed/method.html).
    """
    points = math.prod(grid)
    return 1.25 * times * points * math.log2(points) if points > 1 else 0.0


def norm(elements: int) -> int:
    """MACs of a norm of so many elements: by convention one each, which is what DiT's published figures have."""
    return elements


def scan(states: int) -> int:
    """MACs of a recurrence that is in so many states altogether, over all tokens: decay, input and read-out of each."""
    return 3 * states


def spectral_product(*grid: int) -> dict[str, float]:
    """MACs by name of the circular convolution of one real grid: there, a product a frequency, and back."""
    return {"fft": 2 * fft(*grid), "complex product": COMPLEX_PRODUCT * frequencies(*grid)}
