"""Our Fréchet distance of features over torch-fidelity's: means, covariances and the distance, in one process.

Features are float32, as extractors give them; torch-fidelity fits its Gaussians by numpy and takes the eigenvalues of
the product of covariances. Peak memory, over the features themselves, is of a fresh process each, `python -m
benchmarks.frechet ours`. Both distances are first compared with one that shares nothing with either.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch_fidelity import metric_fid

from benchmarks.ratio import Effort, Row, compare, single
from pdebench.measure.memory import PeakMemory
from pdebench.metrics.gaussian import fitted, frechet

COUNT, DIMENSION = 50_000, 2048
TARGET, EXACT = 1.0, 1e-6
_AT_ONCE = 5000


def features(count: int, dimension: int, seed: int) -> Tensor:
    """Rectified, correlated features of a spectrum that falls as Inception's does, (count, dimension) float32."""
    shared = torch.Generator().manual_seed(0)
    mixing = torch.randn(dimension, dimension, generator=shared) * torch.logspace(0, -1.5, dimension)[:, None]
    random = torch.Generator().manual_seed(seed)
    found = torch.empty(count, dimension)
    for rows in found.split(_AT_ONCE):
        rows.copy_((torch.randn(len(rows), dimension, generator=random) @ mixing / 4 + 0.1 * seed).relu_())
    return found


def _ours(first: Tensor, second: Tensor) -> float:
    return frechet(fitted(first), fitted(second))


def _theirs(first: Tensor, second: Tensor) -> float:
    fits = [metric_fid.fid_features_to_statistics(side) for side in (first, second)]
    return float(metric_fid.fid_statistics_to_metric(*fits, verbose=False)[metric_fid.KEY_METRIC_FID])


def _independent(first: Tensor, second: Tensor) -> float:
    """In float64 by singular values: with thin factors X = Q R of centred features the shared trace is that of R S'."""
    roots, means = [], []
    for side in (first, second):
        wide = side.double()
        means.append(wide.mean(dim=0))
        wide -= means[-1]
        # rows are folded into a triangle some at a time, so that no covariance is ever formed
        triangle = wide[:0]
        for rows in wide.split(_AT_ONCE):
            triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
        roots.append(triangle / (len(side) - 1) ** 0.5)
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spread = sum(root.square().sum() for root in roots)
    return float((means[0] - means[1]).square().sum() + spread - 2 * shared)


WAYS: dict[str, Callable[[Tensor, Tensor], float]] = {"ours": _ours, "theirs": _theirs}


def run(effort: Effort) -> Iterator[Row]:
    """Time and peak memory, after the distance was found right to 1e-6.

    Raises:
        ArithmeticError: it was not.
    """
    count, dimension = (5_000, 512) if effort.quick else (COUNT, DIMENSION)
    sides = features(count, dimension, 1), features(count, dimension, 2)
    expected = _independent(*sides)
    for name, way in WAYS.items():
        error = abs(way(*sides) / expected - 1)
        print(f"  {name}: off by {error:.1e} of {expected:.4f}", file=sys.stderr)
        if name == "ours" and error > EXACT:
            raise ArithmeticError(f"the Fréchet distance is off by {error:.1e}, which is more than {EXACT:g}")

    few = Effort(seconds=0.0, pairs=2 if effort.quick else 4)  # each takes the better part of a minute
    title = f"{count:,} x {dimension:,} features: ours / torch-fidelity"
    yield Row(
        "frechet", title, compare(partial(_seconds, _ours, *sides), partial(_seconds, _theirs, *sides), few), TARGET
    )
    del sides
    peaks = [_peak_of_a_process(name, count, dimension) for name in WAYS]
    if all(peaks):
        yield Row("frechet", "the same, peak memory beside the features", single(*peaks), TARGET, "MiB")


def _seconds(way: Callable[[Tensor, Tensor], float], first: Tensor, second: Tensor) -> float:
    began = time.perf_counter()
    way(first, second)
    return time.perf_counter() - began


def _peak_of_a_process(way: str, count: int, dimension: int) -> int:
    """Bytes that one distance takes at its peak, beside its features; 0 where the system does not say."""
    command = [sys.executable, "-m", "benchmarks.frechet", way, str(count), str(dimension)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak(way: str, count: int, dimension: int) -> int:
    """The same, of this process."""
    WAYS[way](*(features(80, 16, seed) for seed in (1, 2)))  # what the first call of anything takes
    sides = features(count, dimension, 1), features(count, dimension, 2)
    memory = PeakMemory(torch.device("cpu"))
    WAYS[way](*sides)
    return memory.read() or 0


if __name__ == "__main__":
    print(_peak(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
