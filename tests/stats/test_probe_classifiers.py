"""The two classifiers of frozen features, and the interval of what they get right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdebench.stats import linear_probe as linear
from pdebench.stats.linear_probe import linear_probe, tuning_images
from pdebench.stats.nearest_neighbours import NEIGHBOURS, TEMPERATURE, neighbours_vote
from pdebench.stats.proportion import Share
from pdebench.stats.standardised import standardised

Split = tuple[NDArray[np.float32], NDArray[np.int64]]


def drawn(count: int, classes: int, seed: int, apart: float, width: int = 12) -> Split:
    """Balls of unit deviation around corners that are so far from 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return (rng.standard_normal((count, width)) + apart * np.eye(classes, width)[labels]).astype(np.float32), labels


def test_classes_that_a_plane_divides_are_all_told_apart() -> None:
    training, held_out = drawn(200, 4, 0, 20), drawn(100, 4, 1, 20)
    found = linear_probe(*training, *held_out)
    assert found.held_out == Share(100, 100)
    assert found.tuning.value == 1
    assert found.penalty == 1.0  # the strongest of those that are equally good: 10 confuses some
    assert found.converged
    assert neighbours_vote(*training, *held_out) == Share(100, 100)


def test_shuffled_labels_are_guessed_at_chance() -> None:
    (training, labels), (held_out, wanted) = drawn(400, 5, 0, 20), drawn(500, 5, 1, 20)
    labels = np.random.default_rng(2).permutation(labels)
    for found in (
        linear_probe(training, labels, held_out, wanted).held_out,
        neighbours_vote(training, labels, held_out, np.random.default_rng(3).permutation(wanted)),
    ):
        low, high = found.interval
        assert low < 1 / 5 < high


def test_the_probe_is_the_minimum_of_mean_loss_and_penalty() -> None:
    features, labels = drawn(120, 3, 0, 1)
    (x,) = standardised(features)
    for penalty in (1e-1, 1e-3):
        model = linear._regression()
        assert linear._fit(model, x, labels, penalty)
        error = (model.predict_proba(x) - np.eye(3)[labels]) / len(x)
        np.testing.assert_allclose(error.T @ x + penalty * model.coef_, 0, atol=1e-5)
        np.testing.assert_allclose(error.sum(0), 0, atol=1e-5)  # the intercept has no penalty


def test_held_out_images_choose_nothing() -> None:
    training, (held_out, labels) = drawn(150, 3, 0, 1.5), drawn(60, 3, 1, 1.5)
    found = linear_probe(*training, held_out, labels)
    other = linear_probe(*training, -held_out, labels[::-1])
    assert (found.penalty, found.tuning) == (other.penalty, other.tuning)
    assert found.held_out != other.held_out


def test_a_fifth_of_each_class_chooses_the_penalty_and_lone_images_never_do() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2])
    assert tuning_images(labels).tolist() == [False, True, False, False, False] * 2 + [False, True] + [False]
    features = np.eye(3, 4, dtype=np.float32)[labels]
    assert linear_probe(features, labels, features, labels).held_out.value == 1


def by_hand(training: Split, held_out: Split) -> int:
    """The vote of neighbours as the papers write it, an image at a time."""
    known, asked = standardised(training[0], held_out[0])
    hits = 0
    for one, label in zip(asked, held_out[1], strict=True):
        cosines = known @ one / np.linalg.norm(known, axis=1) / np.linalg.norm(one)
        votes: dict[int, float] = {}
        for place in np.argsort(-cosines)[:NEIGHBOURS]:
            own = int(training[1][place])
            votes[own] = votes.get(own, 0.0) + np.exp(cosines[place] / TEMPERATURE)
        hits += max(votes, key=lambda label: votes[label]) == label
    return hits


@pytest.mark.parametrize("count", [300, 9])  # of nine training images all vote
def test_neighbours_vote_as_by_hand(count: int) -> None:
    training, held_out = drawn(count, 3, 4, 1), drawn(280, 3, 5, 1)
    assert neighbours_vote(*training, *held_out) == Share(by_hand(training, held_out), 280)


@given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4), st.lists(st.floats(-10, 10), min_size=4, max_size=4))
def test_the_unit_and_the_zero_of_a_feature_do_not_matter(units: list[float], zeros: list[float]) -> None:
    (training, labels), (held_out, wanted) = drawn(60, 2, 0, 2, 4), drawn(40, 2, 1, 2, 4)
    moved = [(one * np.array(units) + np.array(zeros)).astype(np.float32) for one in (training, held_out)]
    asked, other = (training, labels, held_out, wanted), (moved[0], labels, moved[1], wanted)
    assert abs(linear_probe(*asked).held_out.hits - linear_probe(*other).held_out.hits) <= 1  # rounding on the border
    assert abs(neighbours_vote(*asked).hits - neighbours_vote(*other).hits) <= 1


def test_a_feature_that_never_varies_says_nothing() -> None:
    (training, labels), (held_out, wanted) = drawn(60, 2, 0, 3), drawn(40, 2, 1, 3)
    still = [np.c_[one, np.full(len(one), 0.1, np.float32)] for one in (training, held_out)]
    asked = (still[0], labels, still[1], wanted)
    plain = (training, labels, held_out, wanted)
    assert linear_probe(*asked).held_out == linear_probe(*plain).held_out
    assert neighbours_vote(*asked) == neighbours_vote(*plain)
    assert np.isfinite(np.concatenate(standardised(*still))).all()


def test_the_interval_is_wilsons() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Share(0, 20).interval == pytest.approx((0, 0.1611), abs=1e-4)


def test_a_weak_penalty_is_found_behind_strong_ones_that_all_do_alike() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    common, own = rng.standard_normal(600), 0.02 * (2 * labels - 1 + 0.3 * rng.standard_normal(600))
    features = np.stack([common + own, common - own], 1).astype(np.float32)  # their small difference tells the class
    found = linear_probe(features[:400], labels[:400], features[400:], labels[400:])
    assert found.held_out.value > 0.95
    assert found.penalty <= 1e-3
