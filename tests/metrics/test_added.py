"""A metric of another package: what it is given, and what is said where it fails."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from pdebench.errors import CellWarning, MetricError
from pdebench.metrics import quality
from pdebench.metrics.metric import EFFICIENTNET, Metric, Score
from pdebench.metrics.reference import Reference
from pdebench.metrics.registry import METRICS
from pdebench.results.record import dtype_of
from pdebench.run import preflight
from pdebench.tasks import scores
from pdebench.tasks.scores import SCORES, is_metric, scores_among

GENERATED = torch.arange(6 * 3 * 4 * 4).remainder(256).to(torch.uint8).reshape(6, 3, 4, 4)
REFERENCE = np.ascontiguousarray(GENERATED.numpy()[:5])
HALF = (Score("half", "Half", "signed", spread="half_std"),)

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Have a metric `half` computed by a function, as if a package had added it."""

    def install(function: Callable[..., object], **more: object) -> None:
        module = ModuleType("half_package")
        module.half = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        metric = Metric("half", "", HALF, "half_package:half", **more)
        monkeypatch.setattr(METRICS, "_added", lambda: {"half": []})
        monkeypatch.setitem(METRICS._imported, "half", metric)

    yield install
    for known in (scores._added, dtype_of):
        known.cache_clear()


def evaluate() -> dict[str, float | int | str | bool]:
    device = torch.device("cpu")
    return quality.evaluate(["half"], GENERATED, Reference("set/train/4px", REFERENCE, "0"), device=device)


def test_it_is_given_both_sets_of_images_and_leaves_the_random_state_alone(install: Install) -> None:
    given = []

    def half(samples):
        given.append((samples.generated, samples.reference))
        return {"half": torch.tensor(0.5), "half_std": float(torch.rand(()))}

    install(half)
    before = torch.get_rng_state()
    record = evaluate()
    assert torch.equal(torch.get_rng_state(), before)
    assert given[0][0] is GENERATED
    assert given[0][1] is REFERENCE
    assert record["half"] == 0.5
    assert (record["metric_samples"], record["metric_reference_count"]) == (6, 5)
    assert record["metric_source"] == "half unknown"
    assert not {"metric_extractor", "metric_resize", "metric_weights_sha256", "metric_small_sample"} & set(record)


def test_it_is_given_features_of_the_extractor_that_it_names(
    install: Install, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path))
    install(
        lambda samples: {"half": len(samples.features), "half_std": samples.reference_features.shape[1]},
        extractor=EFFICIENTNET,
    )
    record = evaluate()
    assert (record["half"], record["half_std"]) == (6, 1280)
    assert record["metric_extractor"] == EFFICIENTNET


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda samples: 1 / 0, "metric 'half' fails in half_package:half: ZeroDivisionError: division by zero"),
        (lambda samples: sys.exit(3), "metric 'half' fails in half_package:half: SystemExit: 3"),
        (lambda samples: {"half": 1.0}, "metric 'half' fails in half_package:half: lacks 'half_std'"),
        (lambda samples: {"half": 1.0, "half_std": 0, "params": 3}, "metric 'half': half_package:half fills params un"),
        (lambda samples: samples.features, "features are asked for by a metric that names no extractor"),
    ],
)
def test_one_that_fails_is_named_in_a_sentence(install: Install, function: Callable, why: str) -> None:
    install(function)
    with pytest.raises(MetricError) as caught:
        evaluate()
    assert str(caught.value).startswith(why)


def test_memory_that_runs_out_is_no_fault_of_the_metric(install: Install) -> None:
    def half(samples):
        raise MemoryError

    install(half)
    with pytest.raises(MemoryError):
        evaluate()


def test_a_score_that_is_not_finite_is_left_out_and_said(install: Install) -> None:
    install(lambda samples: {"half": 0.5, "half_std": math.nan})
    with pytest.warns(CellWarning, match="metric 'half': half_std is not finite"):
        record = evaluate()
    assert record["half"] == 0.5
    assert "half_std" not in record


def test_a_function_that_is_not_there_is_known_before_anything_trains(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(lambda samples: {})
    monkeypatch.delattr(sys.modules["half_package"], "half")
    with pytest.raises(MetricError, match="'half': half_package:half cannot be imported: AttributeError"):
        quality.check(["half"], samples=4)


def test_a_column_of_every_record_is_not_taken_over() -> None:
    with pytest.raises(MetricError, match=r"'params', which .* is a column of every record"):
        preflight.refuse_taken_columns("generation", [Score("params", "Parameters", "positive")])


def test_its_columns_are_scores_and_every_other_package_stays_where_it_is(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(lambda samples: {})
    monkeypatch.setattr(METRICS, "_added", lambda: {"half": [], "other": []})
    monkeypatch.setattr(METRICS, "_import", lambda name: METRICS._imported[name])  # of `other` there is nothing
    assert is_metric("half")
    assert is_metric("half_std")
    assert not is_metric("half_way")
    assert not is_metric("params")
    assert dtype_of("half_std") == "Float64"
    assert dtype_of("half_way") is None
    assert SCORES["half"].title == "Half"
    assert [score.column for score in scores_among(["half_std", "half", "params", "kid", "fid"])] == [
        "fid",
        "kid",
        "half",
    ]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"extractor": "efficientnet"}, "unknown extractor 'efficientnet'; did you mean 'efficientnet_lite0'"),
        ({"compute": "half_package"}, "compute must be MODULE:FUNCTION, not 'half_package'"),
        ({"scores": ()}, "needs at least one score"),
    ],
)
def test_a_metric_that_could_not_be_computed_cannot_be_made(more: dict[str, object], why: str) -> None:
    with pytest.raises(MetricError, match=why):
        Metric(**{"name": "half", "summary": "", "scores": HALF, "compute": "half_package:half", **more})
