"""Quality metrics against formulas written out here, their cache, and what is said when they fail."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import urllib.error
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from pdebench.errors import CellWarning, MetricError
from pdebench.installing import install_extra
from pdebench.metrics import extractor_weights, features, quality
from pdebench.metrics.extractor_weights import EFFICIENTNET, INCEPTION, INCEPTION_VARIABLE
from pdebench.metrics.gaussian import fitted
from pdebench.metrics.reference import Reference

CPU = torch.device("cpu")
FD, KID = "fd_efficientnet_lite0", "kid_efficientnet_lite0"


def _images(count: int, seed: int, tint: int = 0) -> np.ndarray:
    """Smooth random images of 16 px: (count, 3, 16, 16) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256 - tint, (count, 3, 4, 4))
    return (np.kron(coarse, np.ones((1, 1, 4, 4))) + tint).astype(np.uint8)


GENERATED = torch.from_numpy(_images(12, seed=1, tint=60))
REFERENCE = _images(14, seed=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no Inception weights given."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(INCEPTION_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def extractor() -> features.Extractor:
    return features.Extractor(EFFICIENTNET, extractor_weights.locate(EFFICIENTNET, FD), CPU)


def _evaluate(
    names: list[str], generated: torch.Tensor = GENERATED, reference: np.ndarray | torch.Tensor = REFERENCE
) -> dict[str, float | int | str | bool]:
    compared = Reference("squares/train/16px", reference, "0" * 64)
    return quality.evaluate(names, generated, compared, device=CPU)


def _of_features(name: str, features: torch.Tensor, reference: torch.Tensor) -> Mapping[str, float | str]:
    """A metric of these features, (N, D) and (M, D), whatever images they are of."""
    samples = SimpleNamespace(
        features=features,
        reference_features=reference,
        gaussians=lambda layer: (fitted(features), fitted(reference)),
        extractor=SimpleNamespace(device=CPU),
    )
    return quality.METRICS[name].function()(samples)


def test_the_registry_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, pdebench.metrics.quality as q; q.METRICS['fid']; q.check(['fd_efficientnet_lite0'], 9);"
        "heavy = {'torch', 'numpy', 'pandas', 'torch_fidelity'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_photograph_of_a_cat_is_seen_as_a_cat(extractor: features.Extractor) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    photograph = torch.from_numpy(skimage_data.chelsea()[:, 75:375].copy()).permute(2, 0, 1)[None]
    extractor.features(photograph)  # builds the network
    logits = extractor._network.classify(photograph)
    assert 281 <= int(logits.argmax()) <= 285  # ImageNet's five domestic cats


def test_both_distances_agree_with_formulas_written_out(extractor: features.Extractor) -> None:
    record = _evaluate([FD, KID])
    x = extractor.features(GENERATED)["pooled"].double().numpy()
    y = extractor.features(REFERENCE)["pooled"].double().numpy()

    # The trace of a square root, from the small Gram matrix: as many eigenvalues as there are samples.
    a = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    b = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    cross = a @ b.T
    root = sqrtm(cross @ cross.T + 1e-15 * np.eye(len(x))).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * np.trace(root)
    assert record[FD] == pytest.approx(expected, rel=1e-4)
    assert record[FD] > 1

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first @ second.T / 1280 + 1) ** 3

    def mmd2(p: np.ndarray, q: np.ndarray) -> float:
        m = len(p)
        inside = sum(k.sum() - np.trace(k) for k in (kernel(p, p), kernel(q, q))) / (m * (m - 1))
        return float(inside - 2 * kernel(p, q).mean())

    random = np.random.RandomState(2020)
    draws = [(random.choice(12, 6, replace=False), random.choice(14, 6, replace=False)) for _ in range(100)]
    subsets = [mmd2(x[first], y[second]) for first, second in draws]
    assert record[KID] == pytest.approx(np.mean(subsets), rel=1e-6)
    assert record[f"{KID}_std"] == pytest.approx(np.std(subsets), rel=1e-6)
    assert record["metric_kid_subset_size"] == 6


@pytest.mark.parametrize("name", [FD, "fid"])
def test_a_set_is_at_no_distance_from_itself(name: str) -> None:
    some = torch.randn(24, 64)
    assert _of_features(name, some, some)[name] == pytest.approx(0, abs=1e-5)
    assert _of_features(name, some, some + 0.5)[name] == pytest.approx(64 * 0.25)


def test_the_record_says_how_the_number_came_about() -> None:
    record = _evaluate([KID])
    assert {name: value for name, value in record.items() if not name.startswith("kid_")} == {
        "metric_kid_subset_size": 6,
        "metric_samples": 12,
        "metric_reference": "squares/train/16px (14 images)",
        "metric_reference_count": 14,
        "metric_resize": "bicubic antialiased to 224",
        "metric_extractor": "efficientnet_lite0",
        "metric_weights_sha256": extractor_weights.SHA256[EFFICIENTNET],
        "metric_small_sample": True,  # 12 images span 11 of 1,280 dimensions
    }


def test_evaluating_leaves_random_numbers_and_output_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    assert _evaluate([KID]) == _evaluate([KID])
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_features_of_a_reference_are_computed_once(
    extractor: features.Extractor, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    whole = extractor.passed
    monkeypatch.setattr(
        extractor, "passed", lambda images, **asked: computed.append(len(images)) or whole(images, **asked)
    )
    images = REFERENCE[:4]

    def reference_features(checksum: str) -> torch.Tensor:
        return extractor.of_reference(images, checksum, features=["pooled"], statistics=[])[0]["pooled"]

    first = reference_features("a")
    assert torch.equal(reference_features("a"), first)
    assert len(computed) == 1

    (kept,) = cache.iterdir()
    one_bit = bytearray(kept.read_bytes())
    one_bit[-7] ^= 0x40
    for content in (bytes(one_bit), bytes(one_bit[:1000]), b""):
        computed.clear()
        kept.write_bytes(content)
        assert torch.equal(reference_features("a"), first)
        assert len(computed) == 1

    reference_features("b")  # another reference is another entry
    assert len(computed) == 2
    assert {path.suffix for path in cache.iterdir()} == {".safetensors"}


def test_a_cache_that_cannot_be_written_costs_no_result(
    extractor: features.Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "file"))
    found, _ = extractor.of_reference(REFERENCE[:2], "a", features=["pooled"], statistics=["pooled"])
    assert found["pooled"].shape == (2, 1280)


@pytest.mark.parametrize("which", ["generated", "reference"])
def test_images_that_are_not_uint8_are_refused(which: str) -> None:
    with pytest.raises(TypeError, match=r"must be uint8 .* not .*float32"):
        _evaluate([FD], **{which: torch.rand(12, 3, 16, 16)})


def test_too_few_images_are_refused_before_and_after_training() -> None:
    with pytest.raises(MetricError, match=r"'kid_efficientnet_lite0' needs at least 4 samples, .* is 3"):
        quality.check([FD, KID], samples=3)
    with pytest.raises(MetricError, match=r"there are 3 images in squares"):
        _evaluate([KID], reference=REFERENCE[:3])


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(MetricError, match="did you mean 'fd_efficientnet_lite0'"):
        quality.check(["fd_efficientnet"], samples=100)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "efficientnet_lite_pytorch" else find(name)
    )
    with pytest.raises(MetricError) as caught:
        quality.check([FD], samples=100)
    assert str(caught.value) == (
        "metric 'fd_efficientnet_lite0' needs the package efficientnet-lite-pytorch: " + install_extra("features")
    )


def test_fid_accepts_no_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "inception.pth"
    monkeypatch.setenv(INCEPTION_VARIABLE, str(other))
    with pytest.raises(MetricError, match=r"PDEBENCH_INCEPTION_WEIGHTS names .*, which is not a file"):
        quality.check(["fid"], samples=100)
    other.write_bytes(b"other weights")
    with pytest.raises(MetricError, match=r"'fid' means the 2015 Inception weights .* not 6726825d"):
        quality.check(["fid"], samples=100)


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no route"), TimeoutError("timed out"), RuntimeError("invalid hash value")],
)
def test_fid_without_weights_or_network_says_what_to_do(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise failure

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MetricError) as caught:
        quality.check(["fid"], samples=100)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'fid'", "no route|timed out|invalid hash", INCEPTION_VARIABLE, "use fd_efficientnet_lite0"):
        assert any(word in message for word in part.split("|"))


def test_copies_in_a_reference_are_said_before_anything_trains() -> None:
    """Four copies of each image take precision from two thirds to 0, with torch-fidelity's own function."""
    features = [torch.randn(200, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    alone, copied = (_of_features("precision_recall", features[0], features[1].repeat(times, 1)) for times in (1, 4))
    assert alone["precision"] > 0.5
    assert copied["precision"] == 0
    assert quality.copies(REFERENCE) == 0
    assert quality.copies(torch.from_numpy(np.concatenate([REFERENCE, REFERENCE[:3]]))) == 3
    with pytest.warns(CellWarning, match="3 of 17 reference images are copies"):
        quality.warn_of_copies(["fid", "precision_recall"], np.concatenate([REFERENCE, REFERENCE[:3]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quality.warn_of_copies(["fid"], np.concatenate([REFERENCE, REFERENCE[:3]]))
        quality.warn_of_copies(["precision_recall"], REFERENCE)


def test_inceptions_metrics_run_from_a_file_that_may_hold_tensors_only(
    untrained_inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true weights are not packaged: random ones in their place show that the path is sound."""
    given = untrained_inception
    small = {"generated": GENERATED[:10], "reference": REFERENCE[:10]}
    with pytest.warns(CellWarning, match="cannot pass 1, the images of a split"):
        record = _evaluate(["kid", "is", "precision_recall", KID], **small)
    assert record["is_limit"] == 1
    assert "metric_reference_copies" not in record
    copied = {"generated": GENERATED[:4], "reference": np.repeat(REFERENCE[:2], 2, axis=0)}
    assert _evaluate(["precision_recall"], **copied)["metric_reference_copies"] == 2
    assert np.isfinite([record["kid"], record["kid_std"], record["is_std"], record[KID]]).all()
    assert record["is"] >= 1
    assert 0 <= record["precision"] <= 1
    assert 0 <= record["recall"] <= 1
    assert record["metric_extractor"] == "inception_v3_2015; efficientnet_lite0"
    assert record["metric_resize"] == "bilinear as in TensorFlow 1 to 299; bicubic antialiased to 224"

    torch.save({"weights": _Surprise()}, given)
    monkeypatch.setitem(extractor_weights.SHA256, INCEPTION, extractor_weights._sha256(given))
    with pytest.raises(Exception, match="Weights only load failed"):
        _evaluate(["kid"], **small)


class _Surprise:
    """Runs code when it is un-pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a file of weights ran code",))
