"""The one table of model sizes."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """Depth (blocks), width (channels of a token) and heads (of an attention mixer)."""

    depth: int
    width: int
    heads: int


# S to XL are DiT's (Peebles & Xie 2022, arXiv 2212.09748, table 1); smaller ones are ours, for CPUs and for the low end
# of scaling laws: .2, .6, 1.3, 4.1 and 8.1 M parameters of DiT.
SIZES: dict[str, Size] = {
    "4XS": Size(2, 64, 1),
    "3XS": Size(3, 96, 2),
    "XXS": Size(4, 128, 2),
    "XS": Size(6, 192, 3),
    "Ti": Size(12, 192, 3),
    "S": Size(12, 384, 6),
    "B": Size(12, 768, 12),
    "L": Size(24, 1024, 16),
    "XL": Size(28, 1152, 16),
}
