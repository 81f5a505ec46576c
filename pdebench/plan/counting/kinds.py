"""Kinds of arithmetic: what a table shows of a model's MACs, and what a device has a rate for."""

from __future__ import annotations

_NAMES = {
    "linear": ("linear", "matmul"),
    "attention": ("attention",),
    "fft": ("fft",),
    "scan": ("scan",),
    "conv": ("conv",),
    "pointwise": (),
}
KINDS = tuple(_NAMES)
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names}


def kind_of(name: str) -> str:
    """The kind that a name belongs to which a handle counts under; what is in no other is `pointwise`."""
    return _KIND_OF.get(name, "pointwise")
