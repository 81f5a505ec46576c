"""Of a matrix over families, the few that always run where a property is the shell's; `nox -s chaos` runs the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

FEW = ("DiT", "PDE-SSM-DiT", "Mamba-DiT", "ZigMa")  # attention, FFT, a scan, and a scan of another order in each layer


def few(families: Iterable[str], with_: object = None) -> list[Any]:
    """Parameters of a test: every family, beside `with_` if that is given; all but FEW are exhaustive."""
    more = () if with_ is None else (with_,)
    return [pytest.param(name, *more, marks=() if name in FEW else pytest.mark.exhaustive) for name in families]
