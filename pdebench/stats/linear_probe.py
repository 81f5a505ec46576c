"""A linear probe: how many held-out images a linear classifier of frozen features puts into their class.

Multinomial logistic regression with an L2 penalty, by L-BFGS, on standardised features: a deterministic fit of a convex
loss, in the place of the many epochs of SGD behind a batch norm without parameters that MAE (arXiv 2111.06377) and REPA
(arXiv 2410.06940) take for ImageNet. The penalty is chosen among `PENALTIES` on a fifth of the training images of each
class, which that fit does not see; the probe is then fitted to all of them. Held-out images choose nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.proportion import Share
from pdebench.stats.standardised import standardised

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Of half the squared length of the weights, beside the mean loss of an image: strongest first.

All are tried: several strong ones may do alike before a weak one does well.
"""

OF_EACH_CLASS = 5  # one image of so many chooses the penalty
TOLERANCE = 1e-5  # of the gradient
ITERATIONS = 1000


@dataclass(frozen=True)
class Probed:
    """What a linear probe found.

    Attributes:
        held_out: held-out images that are put into their class.
        tuning: likewise, of the training images that chose the penalty, by the probe that had not seen them.
        penalty: the chosen one.
        converged: the last fit came to its end.
    """

    held_out: Share
    tuning: Share
    penalty: float
    converged: bool


def tuning_images(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which training images (N,) choose the penalty: the second of every five of a class, in their order.

    A class of one image has none, so that no class is missing from those that are fitted.
    """
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[own] = np.arange(len(own))
    chosen: NDArray[np.bool_] = place % OF_EACH_CLASS == 1
    return chosen


def linear_probe(
    training: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_out: NDArray[np.float32],
    held_out_labels: NDArray[np.int64],
) -> Probed:
    """Fit a probe to training features (N, D) and judge it by held-out ones (M, D), with labels (N,) and (M,).

    There must be two classes or more, one of them with two training images or more. Of penalties that are equally good
    the strongest is taken.
    """
    tuning = tuning_images(labels)
    fitted, judged = standardised(training[~tuning], training[tuning])
    most, chosen = -1, PENALTIES[0]
    model = _regression(warm_start=True)  # each fit begins where the one before, of a stronger penalty, ended
    for penalty in PENALTIES:
        _fit(model, fitted, labels[~tuning], penalty)
        if (hits := _hits(model, judged, labels[tuning])) > most:
            most, chosen = hits, penalty
    fitted, judged = standardised(training, held_out)
    model = _regression()
    converged = _fit(model, fitted, labels, chosen)
    return Probed(
        Share(_hits(model, judged, held_out_labels), len(held_out)),
        Share(most, int(tuning.sum())),
        chosen,
        converged,
    )


def _regression(**how: Any) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    return LogisticRegression(solver="lbfgs", tol=TOLERANCE, max_iter=ITERATIONS, **how)


def _fit(model: LogisticRegression, features: NDArray[np.float64], labels: NDArray[np.int64], penalty: float) -> bool:
    """Whether it came to its end. scikit-learn weighs the sum of the losses by C, and the penalty by 1."""
    from sklearn.exceptions import ConvergenceWarning

    model.set_params(C=1 / (penalty * len(features)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    return not any(issubclass(one.category, ConvergenceWarning) for one in caught)


def _hits(model: LogisticRegression, features: NDArray[np.float64], labels: NDArray[np.int64]) -> int:
    return int((model.predict(features) == labels).sum())
