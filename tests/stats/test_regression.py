"""How often the gate is wrong, on noise such as timings have; finer figures are the study's (benchmarks/gate)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pdebench.stats import ranks
from pdebench.stats.regression import LAST, LATE, Evidence, Judgement, Rule, judge, looks

RULE = Rule()
CELLS = 3
Noise = Callable[[np.random.Generator, int], np.ndarray]


def drifting(random: np.random.Generator, processes: int) -> np.ndarray:
    """A machine that gets slower and faster, on top of what each process varies by."""
    return np.cumsum(random.normal(0, 0.004, processes)) + random.normal(0, 0.01, processes)


def correlated(random: np.random.Generator, processes: int) -> np.ndarray:
    """What disturbed one process is half there in the next."""
    noise = random.normal(0, 0.015, processes)
    for i in range(1, processes):
        noise[i] += 0.5 * noise[i - 1]
    return noise


def bursts(random: np.random.Generator, processes: int) -> np.ndarray:
    """A neighbour that works a fifth of the time, for some processes on end, and costs them a third."""
    busy, noise = False, random.normal(0, 0.01, processes)
    for i in range(processes):
        busy = random.random() < (0.7 if busy else 0.08)
        noise[i] += busy * random.exponential(0.3)
    return noise


def two_modes(random: np.random.Generator, processes: int) -> np.ndarray:
    """Threads that now and then start on siblings."""
    return random.normal(0, 0.01, processes) + 0.06 * (random.random(processes) < 0.2)


NOISES = [drifting, correlated, bursts, two_modes]


def night(
    random: np.random.Generator, noise: Noise, effect: float, late: int = 12, blocks: int = 14
) -> list[Judgement]:
    """Three cells, the first slower by `effect`: blocks of A B B A or B A A B, looked at as they come."""
    found = []
    for cell in range(CELLS):
        shift = math.log1p(effect) if cell == 0 else 0.0
        evidence, differences = Evidence(), []
        shares = looks(2 * blocks) | {2 * late: LATE}
        for e in noise(random, 4 * blocks).reshape(blocks, 4):
            sign = 1 if random.random() < 0.5 else -1
            differences += [sign * (e[1] - e[0]) + shift, sign * (e[2] - e[3]) + shift]
            if (share := shares.get(len(differences))) is not None:
                evidence = evidence.look([ranks.paired(differences)], share, RULE, CELLS)
                if evidence.clear(RULE, CELLS):
                    break
        else:
            evidence = evidence.look([ranks.paired(differences)], LAST, RULE, CELLS)
        found.append(evidence)
    return judge(found, RULE)


@pytest.mark.parametrize("noise", NOISES)
def test_an_unchanged_revision_is_accused_in_few_nights(noise: Noise) -> None:
    random = np.random.default_rng(0)
    alarms = sum(any(j.verdict == "regression" for j in night(random, noise, 0.0)) for _ in range(40))
    assert alarms <= 2  # of 40, before any rerun


@pytest.mark.parametrize("noise", NOISES)
def test_a_slowdown_of_a_tenth_is_found_and_one_of_5_percent_is_not_passed(noise: Noise) -> None:
    random = np.random.default_rng(1)
    tenth = [night(random, noise, 0.10)[0].verdict for _ in range(20)]
    twentieth = [night(random, noise, 0.05)[0].verdict for _ in range(20)]
    assert tenth.count("regression") >= 16
    assert twentieth.count("regression") >= 10  # the rest is inconclusive
    assert twentieth.count("pass") <= 1


def test_a_quiet_machine_passes_and_stops_early() -> None:
    random = np.random.default_rng(2)
    quiet = [night(random, lambda r, n: r.normal(0, 0.005, n), 0.0) for _ in range(20)]
    assert all(j.verdict == "pass" for n in quiet for j in n)


def test_looking_at_every_pair_with_the_whole_error_would_cry_wolf() -> None:
    """What the shares of looks are for: the same test, naively repeated, on differences that mean nothing."""
    random, naive, shared = np.random.default_rng(3), 0, 0
    for _ in range(200):
        d = random.normal(math.log1p(RULE.tolerance), 0.03, 48)  # the edge of what is let be
        naive += any(ranks.paired(d[:n]).p_above(math.log1p(RULE.tolerance)) <= RULE.alpha for n in range(8, 49, 2))
        evidence = Evidence()
        for n, share in [*sorted(looks(48).items()), (38, LATE), (48, LAST)]:
            evidence = evidence.look([ranks.paired(d[:n])], share, RULE, 1)
        shared += evidence.p_worse <= RULE.alpha
    assert naive > 24
    assert shared <= 15


def test_the_shares_of_all_looks_are_the_whole_error_at_most() -> None:
    for planned in (0, 10, 24, 60, 5000):
        shares = looks(planned)
        assert sum(shares.values()) + LATE + LAST <= 1
        assert all(pairs < planned for pairs in shares)
    assert looks(50) == pytest.approx({24: 0.1, 12: 0.05})


def test_with_too_few_pairs_nothing_is_said() -> None:
    evidence = Evidence().look([ranks.paired([0.3, 0.3, 0.3, 0.3])], LAST, RULE, 1)
    assert judge([evidence], RULE) == [Judgement("inconclusive", improved=False)]
    assert evidence.smallest == math.inf


def test_an_improvement_is_said_and_passes() -> None:
    evidence = Evidence().look([ranks.paired([-0.1, -0.11, -0.09, -0.1] * 5)], LAST, RULE, 1)
    assert judge([evidence], RULE) == [Judgement("pass", improved=True)]


def test_where_two_ways_of_seeing_disagree_nothing_is_said() -> None:
    slower, equal = ranks.paired([0.1] * 20), ranks.paired([0.0] * 20)
    evidence = Evidence().look([slower, equal], 1.0, RULE, 1)
    assert judge([evidence], RULE)[0].verdict == "inconclusive"
    assert (evidence.low, evidence.high) == (0.0, pytest.approx(0.1))
