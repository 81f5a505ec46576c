"""Multiply-accumulates of the operations that mixers are made of, by their sizes. Importing this imports no torch.

The counter of a trace and the closed forms of the families both ask here. 1 MAC is 2 FLOPs, a complex product 3 MACs.
"""

from __future__ import annotations

import math


def fft(points: int) -> float:
    """MACs of one real transform of `points` points, in one dimension or two: half of 5/2 N log2 N FLOPs."""
    return 1.25 * points * math.log2(points) if points > 1 else 0.0


def spectral_product(h: int, w: int) -> float:
    """MACs of a convolution of one h x w plane: there, 3 a frequency of the half spectrum, and back."""
    return 2 * fft(h * w) + 3 * h * (w // 2 + 1)


def scan(states: int) -> int:
    """MACs of a recurrence that is in so many states altogether, over all tokens: decay, input and read-out of each."""
    return 3 * states
