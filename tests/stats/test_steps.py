"""Steps in a history: found where they are, not where chance or one bad night is."""

from __future__ import annotations

import numpy as np
import pytest

from pdebench.stats.steps import steps

TOLERANCE = 0.01


def noisy(*levels: float, nights: int = 12, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([level + random.normal(0, 0.005, nights) for level in levels])


@pytest.mark.parametrize("size", [0.05, -0.05])
def test_a_step_is_found_on_its_night_for_good_or_ill(size: float) -> None:
    (step,) = steps(noisy(1.0, 1.0 + size), TOLERANCE)
    assert step.at == 12
    assert step.size == pytest.approx(size, abs=0.01)


def test_two_steps_are_both_found() -> None:
    assert [step.at for step in steps(noisy(0.0, 0.06, 0.02), TOLERANCE)] == [12, 24]


def test_noise_has_no_steps() -> None:
    found = [steps(np.random.default_rng(seed).normal(0, 0.02, 25), TOLERANCE) for seed in range(40)]
    assert sum(map(bool, found)) <= 2


def test_one_bad_night_is_no_step() -> None:
    levels = noisy(0.0, 0.0)
    levels[9] += 0.5
    assert steps(levels, TOLERANCE) == []


def test_a_short_history_and_a_small_step_say_nothing() -> None:
    assert steps([0.0, 0.0, 1.0, 1.0], TOLERANCE) == []
    assert steps(noisy(0.0, 0.005, nights=30), TOLERANCE) == []
