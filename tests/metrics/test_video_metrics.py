"""Metrics of clips: of their frames, under names of their own, and of whole clips by a network that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pdebench.data.registry import SOURCES
from pdebench.errors import MetricError
from pdebench.metrics import quality
from pdebench.metrics.extractor_weights import I3D_VARIABLE
from pdebench.metrics.frames import FrameRows, frames_of
from pdebench.metrics.gaussian import fitted, frechet
from pdebench.metrics.metric import EFFICIENTNET, I3D, Metric, Score
from pdebench.metrics.reference import Reference
from pdebench.metrics.registry import METRICS
from pdebench.suite.config import DataConfig
from pdebench.tasks.scores import scores_among

CPU = torch.device("cpu")


class StandIn(nn.Module):
    """As StyleGAN-V's `i3d_torchscript.pt` is called: 400 numbers of a clip, another projection of its values."""

    def __init__(self, features: int = 400) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(12, features, generator=random))

    def forward(
        self, clips: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        seen = clips.float()
        if rescale:
            seen = seen / 127.5 - 1
        if not (resize and return_features):
            seen = seen * 0
        moved = (seen[:, :, 1:] - seen[:, :, :-1]).abs()
        told = [seen.mean((2, 3, 4)), seen.std((2, 3, 4)), moved.mean((2, 3, 4)), moved.std((2, 3, 4))]
        return torch.cat(told, 1) @ self.weight


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(StandIn()).save(str(path))
    monkeypatch.setenv(I3D_VARIABLE, str(path))
    return path


def clips(count: int, frames: int = 10, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, frames, 8, 8), generator=random, dtype=torch.uint8)


def test_the_video_distance_is_that_of_the_networks_answers(network: Path) -> None:
    made, real = clips(9), clips(12, seed=1).numpy()
    real[:, :, 5:] = real[:, :, 4:5]  # half of it stands still
    with torch.no_grad():
        answers = [StandIn()(torch.as_tensor(one), True, True, True) for one in (made, real)]
    expected = frechet(*(fitted(one) for one in answers))
    found = quality.evaluate(["fvd"], made, Reference("real", real), device=CPU)
    assert found["fvd"] == pytest.approx(expected, rel=1e-3)
    assert found["fvd"] > 1
    assert found["metric_extractor"] == I3D
    assert found["metric_reference"] == "real (12 clips)"
    assert found["metric_small_sample"] is True
    assert len(str(found["metric_weights_sha256"])) == 64
    alike = quality.evaluate(["fvd"], clips(12, seed=1), Reference("real", clips(12, seed=1)), device=CPU)
    assert alike["fvd"] == pytest.approx(0, abs=1e-3)


def test_the_video_distance_sees_the_order_of_frames(network: Path) -> None:
    steps = torch.arange(10) * 20
    real = (clips(8, frames=1) // 8 + steps[:, None, None]).to(torch.uint8)
    mixed = real[:, :, [5, 0, 8, 3, 9, 1, 7, 2, 6, 4]]
    found = quality.evaluate(["fvd"], mixed, Reference("real", real), device=CPU)
    assert found["fvd"] > 1


def test_a_distance_of_frames_is_that_of_images_under_another_name(network: Path) -> None:
    made, real = clips(3, frames=2, seed=3), Reference("x", clips(3, frames=2))
    found = quality.evaluate(["frame_fd_efficientnet_lite0"], made, real, device=CPU)
    images = Reference("y", frames_of(clips(3, frames=2)))
    of_images = quality.evaluate(["fd_efficientnet_lite0"], frames_of(made), images, device=CPU)
    assert found["frame_fd_efficientnet_lite0"] == of_images["fd_efficientnet_lite0"] > 0
    assert "fd_efficientnet_lite0" not in found, "nobody shall take it for a distance of images"
    assert found["metric_samples"] == 3
    mixed = quality.evaluate(["frame_fd_efficientnet_lite0"], made.flip(2), Reference("x", made), device=CPU)
    assert mixed["frame_fd_efficientnet_lite0"] == pytest.approx(0, abs=1e-3), "it says nothing of motion"


def test_frames_of_clips_are_rows_in_their_order() -> None:
    whole = clips(3, frames=4).numpy()
    rows = FrameRows(whole)
    expected = whole.transpose(0, 2, 1, 3, 4).reshape(12, 3, 8, 8)
    assert np.array_equal(rows[:], expected)
    assert np.array_equal(rows[[11, 0, 5]], expected[[11, 0, 5]])


def test_what_cannot_be_measured_is_said_before_training(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = SOURCES["noise"]
    still = DataConfig(name="noise", resolution=16)
    moving = DataConfig(name="noise", resolution=16, frames=8)
    with pytest.raises(MetricError, match=r"'fvd' is of clips, and data set 'noise' has still images"):
        quality.check_images(["fvd"], noise, still)
    with pytest.raises(MetricError, match=r"'fid' is of images, and data set 'noise' has clips: .*frame_fid, fvd"):
        quality.check_images(["fid"], noise, moving)
    with pytest.raises(MetricError, match="at least 9 frames, and those of data set 'noise' have 8"):
        quality.check_images(["fvd"], noise, moving)
    quality.check_images(["frame_fid"], noise, moving)
    quality.check(["fvd"], 2)
    monkeypatch.delenv(I3D_VARIABLE)
    with pytest.raises(MetricError, match=r"a program that is run: fetch i3d_torchscript\.pt"):
        quality.check(["fvd"], 2)


def test_another_file_is_refused(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network.write_bytes(network.read_bytes()[:300])
    with pytest.raises(MetricError, match=r"cannot be loaded as TorchScript .*; give i3d_torchscript\.pt"):
        quality.check(["fvd"], 2)
    torch.jit.script(nn.Linear(3, 3)).save(str(network))
    with pytest.raises(MetricError, match="takes no rescale, resize, return_features"):
        quality.check(["fvd"], 2)
    torch.jit.script(StandIn(features=7)).save(str(network))
    with pytest.raises(MetricError, match=r"its network answers \(2, 7\), and I3D \(2, 400\)"):
        quality.evaluate(["fvd"], clips(4), Reference("real", clips(4, seed=1)), device=CPU)
    monkeypatch.setenv(I3D_VARIABLE, str(tmp_path / "nowhere.pt"))
    with pytest.raises(MetricError, match="which is not a file"):
        quality.check(["fvd"], 2)


def test_a_metric_of_clips_reads_a_network_of_clips() -> None:
    with pytest.raises(MetricError, match="has features of clips"):
        Metric("x", "", (Score("x", "X", "frechet"),), "a:b", I3D)
    with pytest.raises(MetricError, match="has features of clips"):
        Metric("x", "", (Score("x", "X", "frechet"),), "a:b", EFFICIENTNET, of="clips")


def test_every_score_that_a_metric_of_ours_fills_is_one_of_a_table() -> None:
    """Or no page, ranking or gate would show it: distances of clips were left out."""
    filled = [score.column for metric in METRICS.built_in.values() for score in metric.scores]
    assert {score.column for score in scores_among(filled)} == set(filled)
