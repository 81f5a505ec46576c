"""A classifier of frozen features without parameters: nearest training images vote, the nearer the louder.

As in Wu et al. (arXiv 1805.01978) and DINO (arXiv 2104.14294): each of the k training images of the highest cosine
similarity s votes for its class with exp(s / T), T = .07; k = 20. Theirs are features of a network that was trained by
cosines. Here features are standardised first, as for the linear probe: what all tokens of a residual stream share would
bring all cosines near to 1, and all votes near to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.proportion import Share
from pdebench.stats.standardised import standardised

NEIGHBOURS = 20
TEMPERATURE = 0.07
ROWS = 256  # held-out images whose similarities stand in memory at once


def neighbours_vote(
    training: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_out: NDArray[np.float32],
    held_out_labels: NDArray[np.int64],
) -> Share:
    """Held-out images, of features (M, D), that are voted into their class by training ones, of features (N, D).

    Labels are (N,) and (M,). With fewer than k training images all vote. Of equal votes the first class wins.
    """
    known, asked = (_directions(features) for features in standardised(training, held_out))
    classes, named = np.unique(labels, return_inverse=True)
    k, hits = min(NEIGHBOURS, len(known)), 0
    for begin in range(0, len(asked), ROWS):
        cosines = asked[begin : begin + ROWS] @ known.T
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        weights = np.exp(np.take_along_axis(cosines, nearest, 1) / TEMPERATURE)
        votes = np.zeros((len(cosines), len(classes)))
        np.add.at(votes, (np.arange(len(cosines))[:, None], named[nearest]), weights)
        hits += int((classes[votes.argmax(axis=1)] == held_out_labels[begin : begin + ROWS]).sum())
    return Share(hits, len(asked))


def _directions(features: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    found: NDArray[np.float32] = directions.astype(np.float32)
    return found
