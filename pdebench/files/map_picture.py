"""Maps of classes as pictures: a colour a class, the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_NOT_KNOWN = 255  # grey in the pictures; see `IGNORED` in pdebench/data/source.py


def colours(count: int) -> list[tuple[int, int, int]]:
    """RGB of the classes from 0 on, those of PASCAL VOC: bits of the number, spread over three channels; 0 is black."""
    found = []
    for number in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        found.append((channels[0], channels[1], channels[2]))
    return found


def coloured(maps: Tensor) -> Tensor:
    """Maps (N, H, W) as RGB (N, 3, H, W), uint8; what is ignored is light grey."""
    import torch

    table = torch.tensor(colours(int(maps.max()) + 1), dtype=torch.uint8)
    if maps.dtype == torch.uint8 and len(table) > _NOT_KNOWN:
        table[_NOT_KNOWN] = 224
    return table[maps.long()].permute(0, 3, 1, 2)
