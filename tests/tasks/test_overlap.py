"""Mean IoU, accuracy and the boundary F score, each against another's computation or by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import confusion_matrix, jaccard_score
from torchmetrics.functional.classification import multiclass_jaccard_index

from pdebench.tasks.segmentation.boundaries import boundary_f, tolerance
from pdebench.tasks.segmentation.overlap import confusion_of, iou_of_classes, mean_iou, pixel_accuracy


def maps(seed, classes, shape=(3, 9, 7), ignored=0.1):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, shape).astype(np.uint8)
    predicted = np.where(random.random(shape) < 0.5, truth, random.integers(0, classes, shape)).astype(np.uint8)
    truth[random.random(shape) < ignored] = 255
    return truth, predicted


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_the_confusion_matrix_is_sklearns_and_its_iou_torchmetrics(seed, classes):
    truth, predicted = maps(seed, classes)
    known = truth != 255
    found = confusion_of(truth, predicted, classes, 255)
    assert (found == confusion_matrix(truth[known], predicted[known], labels=range(classes))).all()
    expected = multiclass_jaccard_index(
        torch.from_numpy(predicted).long(), torch.from_numpy(truth).long(), classes, ignore_index=255
    )
    assert mean_iou(found) == pytest.approx(expected.item(), abs=1e-6)
    assert pixel_accuracy(found) == pytest.approx((truth[known] == predicted[known]).mean())


def test_a_class_that_does_not_occur_does_not_count_and_one_that_is_only_predicted_does():
    truth, predicted = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]])
    found = confusion_of(truth, predicted, 5, 255)
    assert iou_of_classes(found)[:3].tolist() == [1, 0.5, 0]
    assert np.isnan(iou_of_classes(found)[3:]).all()
    assert mean_iou(found) == 0.5
    labels = [0, 1, 2]
    assert jaccard_score(truth[0], predicted[0], labels=labels, average="macro", zero_division=0) == 0.5


def test_confusions_add_up():
    truth, predicted = maps(0, 4)
    whole = confusion_of(truth, predicted, 4, 255)
    assert (sum(confusion_of(t, p, 4, 255) for t, p in zip(truth, predicted, strict=True)) == whole).all()


def test_nothing_known_is_no_number():
    nothing = confusion_of(np.full((2, 2), 255), np.zeros((2, 2), int), 3, 255)
    assert np.isnan(mean_iou(nothing))
    assert np.isnan(pixel_accuracy(nothing))


# ---- boundaries


def square(left, side=10, size=40):
    found = np.zeros((size, size), np.uint8)
    found[10 : 10 + side, left : left + side] = 1
    return found


def test_outlines_that_agree_score_one_and_far_ones_nothing():
    assert boundary_f(square(10), square(10), 255) == 1
    assert boundary_f(square(4, 6), square(24, 6), 255) == 0


def test_a_shift_within_the_tolerance_is_forgiven():
    assert tolerance(40, 40) == 1
    assert tolerance(512, 512) == pytest.approx(5.43, abs=0.01)
    assert boundary_f(square(10), square(11), 255) == 1
    assert boundary_f(square(10), square(13), 255) < 0.8


def by_distances(truth, predicted, ignored):
    """The same by hand: distances to the nearest pixel of the other outline."""
    scores, near = [], tolerance(*truth.shape)
    for number in range(int(max(truth[truth != ignored].max(), predicted.max())) + 1):
        lines = []
        for of in (truth, predicted):
            line = np.zeros(of.shape, bool)
            for y, x in np.argwhere((of == number) & (truth != ignored)):
                for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    there = (y + down, x + right)
                    if 0 <= there[0] < of.shape[0] and 0 <= there[1] < of.shape[1]:
                        line[y, x] |= of[there] != number and truth[there] != ignored
            lines.append(line)
        if not any(line.any() for line in lines):
            continue
        if not all(line.any() for line in lines):
            scores.append(0.0)
            continue
        away = [ndimage.distance_transform_edt(~line) for line in lines]
        precision, recall = (away[0][lines[1]] <= near).mean(), (away[1][lines[0]] <= near).mean()
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.mean(scores)


@given(st.integers(0, 10**6))
def test_the_boundary_score_is_that_of_distances(seed):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 3, (2, 6, 5)).repeat(4, 1).repeat(5, 2).astype(np.uint8)
    truth, predicted = coarse[0], np.roll(coarse[random.integers(0, 2)], random.integers(-2, 3), 1)
    truth[random.random(truth.shape) < 0.03] = 255
    assert boundary_f(truth, predicted, 255) == pytest.approx(by_distances(truth, predicted, 255))


def test_one_class_everywhere_has_no_outline():
    assert boundary_f(np.ones((8, 8), int), np.ones((8, 8), int), 255) is None
    assert boundary_f(np.ones((8, 8), int), square(2, 4, 8) * 0 + np.eye(8, dtype=int), 255) == 0
