"""ADM's evaluation, written out here in numpy and scipy, against ours: on files that numpy writes, as ADM's are.

Nothing but the network is shared, which is a random one: what is proved is all that comes before it and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.special import softmax
from torch import Tensor, nn
from torch_fidelity import metric_isc, metric_kid, metric_prc

from pdebench.data.image_npz import write_images
from pdebench.errors import CellWarning, MetricError
from pdebench.metrics import extractor_weights, features, quality, statistics
from pdebench.metrics.extractor_weights import INCEPTION_VARIABLE
from pdebench.metrics.metric import DIMENSIONS, INCEPTION
from pdebench.metrics.reference import Reference, read_reference

CPU = torch.device("cpu")
ADM = ["fid", "sfid", "is_adm", "precision_recall"]
SIDES = {"pooled": 40, "spatial": 24, "logits": 12}

Array = NDArray[np.float64]


class Network(nn.Module):
    """A random network in Inception's place: each feature is a rectified sum of pixels."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.sums = {
            layer: torch.randn(3 * 6 * 6, side, generator=torch.Generator().manual_seed(side)) / 300
            for layer, side in SIDES.items()
        }

    def forward(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        return {layer: (images.float().flatten(1) @ self.sums[layer]).relu() for layer in layers}


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"of no use to this network")
    monkeypatch.setenv(INCEPTION_VARIABLE, str(weights))
    monkeypatch.setitem(extractor_weights.SHA256, INCEPTION, extractor_weights._sha256(weights))
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(features._NETWORKS, INCEPTION, Network)
    monkeypatch.setitem(DIMENSIONS, INCEPTION, SIDES)  # type: ignore[arg-type]


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """(count, 6, 6, 3), as ADM stores them."""
    random = np.random.default_rng(seed)
    return random.integers(0, 200 + seed, (count, 6, 6, 3), dtype=np.uint8)


def activations(images: NDArray[np.uint8]) -> dict[str, Array]:
    """Features (N, D) of images (N, H, W, 3), one by one."""
    network = Network(Path())
    rows = [network(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), SIDES) for image in images]
    return {layer: np.concatenate([row[layer].double().numpy() for row in rows]) for layer in SIDES}


def adm_frechet(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    root = sqrtm(sigma1 @ sigma2)
    return float(((mu1 - mu2) ** 2).sum() + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(root).real)


def adm_inception_score(logits: Array, split: int) -> float:
    probabilities = softmax(logits, axis=1)
    scores = []
    for begin in range(0, len(probabilities), split):
        part = probabilities[begin : begin + split]
        divergence = part * (np.log(part) - np.log(np.expand_dims(part.mean(0), 0)))
        scores.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(scores))


def adm_precision_recall(reference: Array, samples: Array) -> tuple[float, float]:
    def squared(first: Array, second: Array) -> Array:
        return ((first[:, None] - second[None]) ** 2).sum(-1)

    radii = [np.sort(squared(side, side), axis=1)[:, 3] for side in (reference, samples)]
    across = squared(reference, samples)
    return float((across <= radii[0][:, None]).any(0).mean()), float((across <= radii[1][None]).any(1).mean())


def adm(samples: Path, reference: Path, split: int) -> dict[str, float]:
    """What ADM's evaluator says of two files."""
    files = [np.load(path) for path in (samples, reference)]
    found = [activations(file["arr_0"]) for file in files]
    fits = []
    for file, acts in zip(files, found, strict=True):
        if "mu" in file:
            fits.append((file["mu"], file["sigma"], file["mu_s"], file["sigma_s"]))
        else:
            fits.append(sum(((acts[x].mean(0), np.cov(acts[x], rowvar=False)) for x in ("pooled", "spatial")), ()))
    precision, recall = adm_precision_recall(found[1]["pooled"], found[0]["pooled"])
    return {
        "fid": adm_frechet(*fits[0][:2], *fits[1][:2]),
        "sfid": adm_frechet(*fits[0][2:], *fits[1][2:]),
        "is_adm": adm_inception_score(found[0]["logits"], split),
        "precision": precision,
        "recall": recall,
    }


@pytest.mark.filterwarnings("ignore::pdebench.errors.CellWarning")
def as_samples_are_written(path: Path, images: NDArray[np.uint8]) -> None:
    """As `pdebench sample` does."""
    with path.open("wb") as file:
        write_images(images.transpose(0, 3, 1, 2), file)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed, as_samples_are_written])
@pytest.mark.parametrize("given", [True, False])
def test_every_number_of_adms_evaluator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., None], given: bool
) -> None:
    monkeypatch.setattr(statistics, "_ADM_SPLIT", 25)
    monkeypatch.setattr(features, "_READ", 16)
    samples, reference = tmp_path / "samples.npz", tmp_path / "reference.npz"
    write(samples, pictures(120, 1))
    more = {}
    if given:  # of a whole set, of which the images are a part
        acts = activations(pictures(300, 2))
        for layer, end in (("pooled", ""), ("spatial", "_s")):
            more |= {f"mu{end}": acts[layer].mean(0), f"sigma{end}": np.cov(acts[layer], rowvar=False)}
    (np.savez if write is as_samples_are_written else write)(reference, pictures(90, 3), **more)

    images = read_reference(samples).images
    assert images is not None
    record = quality.evaluate(ADM, images, read_reference(reference), device=CPU)
    expected = adm(samples, reference, 25)
    for name in ("fid", "sfid", "is_adm"):
        assert record[name] == pytest.approx(expected[name], rel=1e-6), name
    assert (record["precision"], record["recall"]) == (expected["precision"], expected["recall"])
    assert 0 < expected["precision"] < 1
    assert record.get("metric_reference_statistics") == ("given" if given else None)
    assert record["metric_reference"] == f"reference.npz (90 images{' and statistics' if given else ''})"
    assert record["metric_samples"] == 120


def test_statistics_alone_serve_a_frechet_distance_and_nothing_else(tmp_path: Path) -> None:
    acts = activations(pictures(300, 2))["pooled"]
    np.savez(tmp_path / "edm.npz", mu=acts.mean(0), sigma=np.cov(acts, rowvar=False))
    reference, samples = read_reference(tmp_path / "edm.npz"), pictures(120, 1)
    generated = torch.from_numpy(samples.transpose(0, 3, 1, 2).copy())
    record = quality.evaluate(["fid"], generated, reference, device=CPU)
    mine = activations(samples)["pooled"]
    expected = adm_frechet(mine.mean(0), np.cov(mine, rowvar=False), acts.mean(0), np.cov(acts, rowvar=False))
    assert record["fid"] == pytest.approx(expected, rel=1e-6)
    assert record["metric_reference"] == "edm.npz (statistics)"
    assert "metric_reference_count" not in record
    assert record["metric_small_sample"] is False
    for name, lacking in (("kid", "images"), ("precision_recall", "images"), ("sfid", "images, or mu_s and sigma_s")):
        with pytest.raises(MetricError, match=f"'{name}' compares with {lacking}, which edm.npz has not"):
            quality.check_reference(["fid", name], reference)
    with pytest.warns(CellWarning, match="last of 120 samples' has 120"):
        assert quality.evaluate(["is_adm"], generated, reference, device=CPU)["is_adm"] > 1


def test_statistics_of_a_file_stand_beside_computed_ones(tmp_path: Path) -> None:
    acts = activations(pictures(300, 2))["pooled"]
    np.savez(tmp_path / "some.npz", pictures(90, 3), mu=acts.mean(0), sigma=np.cov(acts, rowvar=False))
    generated = torch.from_numpy(pictures(50, 1).transpose(0, 3, 1, 2).copy())
    record = quality.evaluate(["fid", "sfid"], generated, read_reference(tmp_path / "some.npz"), device=CPU)
    assert record["metric_reference_statistics"] == "fid: given; sfid: computed from 90 images"


def test_splits_in_order_tell_classes_from_a_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that come class by class: each split of ADM's has few classes, and torch-fidelity's has all."""
    monkeypatch.setattr(statistics, "_ADM_SPLIT", 50)
    logits = 9 * torch.eye(10).repeat_interleave(50, dim=0)

    class Ordered:
        pass

    samples: Any = Ordered()
    samples.logits = logits
    in_order, shuffled = (statistics.inception_score_in_order(samples)["is_adm"], statistics.inception_score)
    assert in_order == pytest.approx(1)
    with pytest.warns(CellWarning, match="cannot pass"):
        assert shuffled(samples)["is"] > 8


def test_scores_of_shuffled_splits_and_subsets_are_torch_fidelitys() -> None:
    random = torch.Generator().manual_seed(0)
    x, y, logits = (torch.randn(n, side, generator=random) for n, side in ((130, 8), (90, 8), (137, 12)))

    class Drawn:
        features, reference_features, extractor = x, y, type("E", (), {"device": CPU})

    Drawn.logits = logits  # type: ignore[attr-defined]
    samples: Any = Drawn
    with pytest.warns(CellWarning):
        mine = statistics.inception_score(samples)
    theirs = metric_isc.isc_features_to_metric(logits)
    assert mine["is"] == pytest.approx(theirs[metric_isc.KEY_METRIC_ISC_MEAN], rel=1e-12)
    assert mine["is_std"] == pytest.approx(theirs[metric_isc.KEY_METRIC_ISC_STD], rel=1e-9)

    kid = statistics.kernel_inception(samples)
    theirs = metric_kid.kid_features_to_metric(
        x.double(), y.double(), kid_subsets=100, kid_subset_size=45, rng_seed=2020, verbose=False
    )
    assert kid["metric_kid_subset_size"] == 45
    assert kid["kid"] == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_MEAN], rel=1e-12)
    assert kid["kid_std"] == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_STD], rel=1e-12)

    theirs = metric_prc.prc_features_to_metric(x.double(), y.double(), save_cpu_ram=True, verbose=False)
    found = statistics.precision_recall(samples)
    assert found["precision"] == pytest.approx(theirs["precision"], abs=1e-7)  # theirs are means in float32
    assert found["recall"] == pytest.approx(theirs["recall"], abs=1e-7)


def test_precision_and_recall_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from pdebench.metrics import neighbours

    random = torch.Generator().manual_seed(1)
    x, y = torch.randn(53, 4, generator=random), 0.7 * torch.randn(41, 4, generator=random)
    whole = neighbours.precision_and_recall(x, y, CPU)
    monkeypatch.setattr(neighbours, "ROWS", 7)
    monkeypatch.setattr(neighbours, "COLUMNS", 5)
    assert neighbours.precision_and_recall(x, y, CPU) == whole
    assert whole == adm_precision_recall(y.double().numpy(), x.double().numpy())


def test_one_pass_over_either_side_serves_all_metrics_and_the_second_time_the_cache_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = Network.forward
    monkeypatch.setattr(
        Network, "forward", lambda self, images, layers: seen.append(len(images)) or forward(self, images, layers)
    )
    np.savez(tmp_path / "reference.npz", pictures(40, 3))
    generated = torch.from_numpy(pictures(32, 1).transpose(0, 3, 1, 2).copy())
    names = ["fid", "sfid", "kid", "precision_recall"]
    first = quality.evaluate(names, generated, read_reference(tmp_path / "reference.npz"), device=CPU)
    assert sum(seen) == 32 + 40
    seen.clear()
    assert quality.evaluate(names, generated, read_reference(tmp_path / "reference.npz"), device=CPU) == first
    assert sum(seen) == 32
    seen.clear()
    np.savez(tmp_path / "reference.npz", pictures(40, 4))  # other images under the same name
    assert (
        quality.evaluate(names, generated, read_reference(tmp_path / "reference.npz"), device=CPU)["fid"]
        != first["fid"]
    )
    assert sum(seen) == 32 + 40


def test_generated_images_may_be_rows_that_are_read_some_at_a_time() -> None:
    class Counted:
        """Rows that say how many were asked for at once."""

        shape, dtype, ndim = (700, 3, 6, 6), np.dtype(np.uint8), 4
        most = 0

        def __len__(self) -> int:
            return 700

        def __getitem__(self, index: slice) -> NDArray[np.uint8]:
            found = pictures(700, 1).transpose(0, 3, 1, 2)[index]
            Counted.most = max(Counted.most, len(found))
            return found

    whole = torch.from_numpy(pictures(700, 1).transpose(0, 3, 1, 2).copy())
    reference = Reference("set", pictures(90, 3).transpose(0, 3, 1, 2), "0")
    names = ["fid", "kid", "precision_recall"]
    assert quality.evaluate(names, Counted(), reference, device=CPU) == quality.evaluate(
        names, whole, reference, device=CPU
    )
    assert Counted.most == 256
