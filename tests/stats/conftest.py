"""What the tests of `pdebench fit` share."""

from __future__ import annotations

import functools

import pytest

from pdebench.stats import scaling


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to see that two tables have the same intervals, not to believe them."""
    monkeypatch.setattr(scaling, "scale", functools.partial(scaling.scale, resamples=20))
